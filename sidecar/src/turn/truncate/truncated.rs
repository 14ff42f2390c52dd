//! The result of a truncation rule.

use crate::turn::FinishReason;

/// The result of one delta.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truncated {
    /// Text for the client, possibly empty.
    pub text: String,
    /// Set at the end of the text: no more text follows, and the turn can be interrupted.
    pub end: Option<FinishReason>,
}
