//! What one stream shows to the guest at this moment, and what the guest asked for.
//! Source: Envoy's wasm `Context`: a map that has gone on is null, a body that has gone on is empty.

use std::collections::BTreeMap;

use super::abi::{Direction, MapKind, Status};
use super::headers::Headers;

/// The host's side of a stream context.
#[derive(Debug, Default)]
pub(super) struct StreamView {
    pub(super) request: HalfView,
    pub(super) response: HalfView,
    /// Attributes by dotted name.
    pub(super) properties: BTreeMap<String, Vec<u8>>,
    /// The answer that the guest sent, until the callback returns and the host carries it out.
    pub(super) reply: Option<LocalReply>,
    /// Set for `proxy_on_log`, when maps can be read again and no longer be written.
    pub(super) log_phase: bool,
}

/// One direction: each part is there from its callback until it goes on.
#[derive(Debug, Default)]
pub(super) struct HalfView {
    pub(super) headers: Option<Headers>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) trailers: Option<Headers>,
}

/// What a guest hands to `proxy_send_local_response`.
#[derive(Clone, Debug)]
pub(super) struct LocalReply {
    pub(super) status: u32,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
    pub(super) details: String,
}

impl StreamView {
    pub(super) fn half(&mut self, direction: Direction) -> &mut HalfView {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    /// A map to read from.
    pub(super) fn map(&self, kind: MapKind) -> Option<&Headers> {
        match kind {
            MapKind::Headers(Direction::Request) => self.request.headers.as_ref(),
            MapKind::Trailers(Direction::Request) => self.request.trailers.as_ref(),
            MapKind::Headers(Direction::Response) => self.response.headers.as_ref(),
            MapKind::Trailers(Direction::Response) => self.response.trailers.as_ref(),
        }
    }

    /// A map to write to: refused once it has gone on, and in the log phase.
    pub(super) fn map_mut(&mut self, kind: MapKind) -> Result<&mut Headers, Status> {
        if self.log_phase {
            return Err(Status::BadArgument);
        }
        let map = match kind {
            MapKind::Headers(direction) => &mut self.half(direction).headers,
            MapKind::Trailers(direction) => &mut self.half(direction).trailers,
        };
        map.as_mut().ok_or(Status::BadArgument)
    }
}
