//! Responses: options, delivery, errors, ids, server-sent events, and the chunks that both completion routes share.

pub(super) mod budget;
pub(super) mod chunk;
pub(super) mod delivery;
pub(super) mod error;
pub(super) mod field_names;
pub(super) mod id;
pub(super) mod json;
pub(super) mod options;
pub(super) mod sse;
