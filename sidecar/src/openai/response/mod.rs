//! Responses: options, delivery, errors, ids, server-sent events, and the chunks that both completion routes share.

pub(crate) mod budget;
pub(crate) mod chunk;
pub(crate) mod delivery;
pub(crate) mod error;
pub(crate) mod field_names;
pub(crate) mod id;
pub(crate) mod json;
pub(crate) mod options;
pub(crate) mod sse;
