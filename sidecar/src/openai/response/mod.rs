//! Responses: delivery, errors, ids, server-sent events, and the parts that both completion routes share.

pub(super) mod delivery;
pub(super) mod error;
pub(super) mod id;
pub(super) mod options;
pub(super) mod sse;
