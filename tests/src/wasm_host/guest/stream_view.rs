//! The parts of one stream that the guest can read and change at the moment, and its local reply.
//! Follows Envoy's wasm `Context`: a forwarded map is null, a forwarded body is empty.

use std::collections::BTreeMap;

use crate::wasm_host::abi::{Direction, MapKind, Status};
use crate::wasm_host::headers::Headers;

/// The host's side of a stream context.
#[derive(Debug, Default)]
pub(in crate::wasm_host) struct StreamView {
    pub(in crate::wasm_host) request: HalfView,
    pub(in crate::wasm_host) response: HalfView,
    /// Properties by dotted name.
    pub(in crate::wasm_host) properties: BTreeMap<String, Vec<u8>>,
    /// The local reply of the guest, until the callback returns and the host sends it.
    pub(in crate::wasm_host) reply: Option<LocalReply>,
    /// Set for `proxy_on_log`, when maps can be read again but not changed.
    pub(in crate::wasm_host) log_phase: bool,
}

/// A direction: each part is present from its callback until it is forwarded.
#[derive(Debug, Default)]
pub(in crate::wasm_host) struct HalfView {
    pub(in crate::wasm_host) headers: Option<Headers>,
    pub(in crate::wasm_host) body: Option<Vec<u8>>,
    pub(in crate::wasm_host) trailers: Option<Headers>,
}

/// The arguments of `proxy_send_local_response`.
#[derive(Clone, Debug)]
pub(in crate::wasm_host) struct LocalReply {
    pub(in crate::wasm_host) status: u32,
    pub(in crate::wasm_host) headers: Headers,
    pub(in crate::wasm_host) body: Vec<u8>,
    pub(in crate::wasm_host) details: String,
}

impl StreamView {
    pub(in crate::wasm_host) fn half(&mut self, direction: Direction) -> &mut HalfView {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    /// Returns a map for reading.
    pub(in crate::wasm_host) fn map(&self, kind: MapKind) -> Option<&Headers> {
        match kind {
            MapKind::Headers(Direction::Request) => self.request.headers.as_ref(),
            MapKind::Trailers(Direction::Request) => self.request.trailers.as_ref(),
            MapKind::Headers(Direction::Response) => self.response.headers.as_ref(),
            MapKind::Trailers(Direction::Response) => self.response.trailers.as_ref(),
        }
    }

    /// Returns a map for writing; fails once it was forwarded, and in the log phase.
    pub(in crate::wasm_host) fn map_mut(&mut self, kind: MapKind) -> Result<&mut Headers, Status> {
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
