//! Changes to a header map, decided by the pure modules and applied by the HTTP context.

use std::borrow::Cow;

/// A change to the headers of one name. Envoy's header mutations have the same three kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderMutation<'a> {
    /// Replaces all headers of this name.
    Set(&'a str, Cow<'a, str>),
    /// Adds a header beside those of the same name.
    Append(&'a str, Cow<'a, str>),
    /// Removes all headers of this name.
    Remove(&'a str),
}

impl<'a> HeaderMutation<'a> {
    /// Replaces all headers of this name with a borrowed value.
    pub const fn set(name: &'a str, value: &'a str) -> Self {
        Self::Set(name, Cow::Borrowed(value))
    }

    /// Adds a header with a borrowed value.
    pub const fn append(name: &'a str, value: &'a str) -> Self {
        Self::Append(name, Cow::Borrowed(value))
    }
}
