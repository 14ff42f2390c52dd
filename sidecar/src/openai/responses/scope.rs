//! The stored responses that one client can refer to.

use crate::store::ResponseStore;

/// The responses of one client.
#[derive(Debug, Clone, Copy)]
pub struct ClientResponses<'a> {
    /// The responses of all clients.
    pub store: &'a ResponseStore,
    /// The id of the client.
    pub client: &'a str,
}
