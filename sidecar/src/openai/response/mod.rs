//! Responses: errors, server-sent events, and the parts that both completion routes share.

pub(super) mod error;
pub(super) mod options;
pub(super) mod sse;
