//! A response at its end.

use std::sync::Arc;

use bytes::Bytes;

use super::conversation::ConversationNode;
use crate::turn::Item;

/// The parts of an ended response that are stored.
#[derive(Debug)]
pub struct ResponseRecord {
    /// The response object.
    pub document: Bytes,
    /// The node that the conversation continues.
    pub previous: Option<Arc<ConversationNode>>,
    /// The items of the request, then those of the output.
    pub items: Vec<Item>,
    /// Items of the request.
    pub input_len: usize,
    /// Whether a conversation can continue from the response.
    pub continuable: bool,
}
