//! A response in the archive: its name, its content and its state.

use bytes::Bytes;

use crate::turn::Item;

/// A response that ends.
#[derive(Debug)]
pub(in crate::store) struct NewResponse {
    pub(in crate::store) document: Bytes,
    /// The items as JSON.
    pub(in crate::store) items: Vec<u8>,
    /// Items of the request.
    pub(in crate::store) input_len: usize,
    pub(in crate::store) continuable: bool,
    /// The id of the response that the conversation continues.
    pub(in crate::store) previous: Option<String>,
}

/// A response with its conversation.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct ArchivedResponse {
    pub(in crate::store) document: Bytes,
    pub(in crate::store) continuable: bool,
    /// The nodes of the conversation, newest first.
    pub(in crate::store) nodes: Vec<ArchivedNode>,
}

/// The part of a conversation that one response has added.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct ArchivedNode {
    pub(in crate::store) id: String,
    pub(in crate::store) items: Vec<Item>,
    pub(in crate::store) input_len: usize,
}

/// The name of a response.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct ArchiveKey<'a> {
    pub(in crate::store) client: &'a str,
    pub(in crate::store) id: &'a str,
}

/// The state of a response.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Archived {
    /// It has ended.
    Ended(ArchivedResponse),
    /// Another sidecar runs its turn; its response object until the end.
    Running(Bytes),
    /// Unknown, deleted or expired.
    Missing,
}

/// The archive does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the archive of responses does not answer")]
pub struct ArchiveError(#[source] pub(in crate::store) Box<dyn std::error::Error + Send + Sync>);
