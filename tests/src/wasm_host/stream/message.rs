//! The messages of a test: requests, responses, and messages at their receiver.
//! Follows RFC 9110; pseudo headers and local replies are those of Envoy 1.40.

use std::collections::BTreeMap;

use crate::wasm_host::headers::Headers;

/// A request or response at its receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The headers, with `:method`, `:path` and the like, or `:status`.
    pub headers: Headers,
    /// The body in chunks, as it was forwarded; held chunks are forwarded as one.
    pub pieces: Vec<Vec<u8>>,
    /// The trailers.
    pub trailers: Option<Headers>,
    /// Whether the message is complete.
    pub complete: bool,
}

impl Message {
    /// Returns the body.
    pub fn body(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// Returns the body as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    /// Returns the value of `:status`; 0 for a request.
    pub fn status(&self) -> u16 {
        let status = self.headers.text(":status");
        status.and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// The framing of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The end of the body is a callback of its own, without bytes.
    Http1,
    /// The end of the body comes with its last chunk.
    Http2,
}

/// A request to the filter.
#[derive(Clone, Debug)]
pub struct Request {
    pub(in crate::wasm_host) headers: Headers,
    pub(in crate::wasm_host) pieces: Vec<Vec<u8>>,
    pub(in crate::wasm_host) trailers: Option<Headers>,
    pub(in crate::wasm_host) protocol: Protocol,
    pub(in crate::wasm_host) properties: BTreeMap<String, Vec<u8>>,
    pub(in crate::wasm_host) disconnects_after: Option<usize>,
}

impl Request {
    /// A request with the headers that Envoy adds to each.
    pub fn new(method: &str, path: &str) -> Self {
        let mut headers = Headers::default();
        headers.add(":authority", "gateway.test");
        headers.add(":path", path);
        headers.add(":method", method);
        headers.add(":scheme", "http");
        headers.add("x-forwarded-proto", "http");
        headers.add("x-request-id", "5f0c5c1e-52a4-4d0e-9f0b-3f6d5b1f7a11");
        Self {
            headers,
            pieces: Vec::new(),
            trailers: None,
            protocol: Protocol::Http1,
            properties: BTreeMap::new(),
            disconnects_after: None,
        }
    }

    /// A GET without a body.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A POST; [`Self::body`] or [`Self::body_pieces`] adds its body.
    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// Adds a header beside those of the same name.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name, value);
        self
    }

    /// Replaces all headers of this name.
    #[must_use]
    pub fn set_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.set(name, value);
        self
    }

    /// Removes a header, which may be a pseudo header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Sends the body in one chunk.
    #[must_use]
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        self.body_pieces([body])
    }

    /// Sends the body in these chunks, one callback each.
    #[must_use]
    pub fn body_pieces(mut self, pieces: impl IntoIterator<Item: AsRef<[u8]>>) -> Self {
        self.pieces = pieces.into_iter().map(|p| p.as_ref().to_vec()).collect();
        self
    }

    /// Returns the length of the body.
    pub fn body_bytes(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    /// Adds a trailer. A message with trailers ends with them, not with a body callback.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let trailers = self.trailers.get_or_insert_default();
        trailers.add(name, value);
        self
    }

    /// Sets the framing of the body; HTTP/1 by default.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets a property of the stream by its dotted name, such as `source.address`.
    #[must_use]
    pub fn property(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        self.properties.insert(name.to_owned(), value);
        self
    }

    /// Disconnects the client after this many callbacks; 0: before the filter sees the head.
    #[must_use]
    pub fn disconnects_after(mut self, callbacks: usize) -> Self {
        self.disconnects_after = Some(callbacks);
        self
    }
}

/// The sender of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Responder {
    /// The upstream.
    Upstream,
    /// The filter, with `proxy_send_local_response`.
    Filter,
    /// Envoy, with these code details, such as `route_not_found`.
    Envoy(String),
}

/// A response to the filter.
#[derive(Clone, Debug)]
pub struct Response {
    pub(in crate::wasm_host) headers: Headers,
    pub(in crate::wasm_host) pieces: Vec<Vec<u8>>,
    pub(in crate::wasm_host) trailers: Option<Headers>,
    pub(in crate::wasm_host) responder: Responder,
}

impl Response {
    /// A response of the upstream.
    pub fn new(status: u16) -> Self {
        let mut headers = Headers::default();
        headers.add(":status", status.to_string());
        Self {
            headers,
            pieces: Vec::new(),
            trailers: None,
            responder: Responder::Upstream,
        }
    }

    /// A 200 of the upstream without a body.
    pub fn ok() -> Self {
        Self::new(200)
    }

    /// A local reply of Envoy in plain text; `details` is its `response.code_details`.
    pub fn from_envoy(status: u16, details: &str, body: &str) -> Self {
        let mut response = Self::new(status);
        response.responder = Responder::Envoy(details.to_owned());
        if body.is_empty() {
            return response;
        }
        response
            .header("content-length", body.len().to_string())
            .header("content-type", "text/plain")
            .body(body)
    }

    /// Adds a header beside those of the same name.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name, value);
        self
    }

    /// Sends the body in one chunk.
    #[must_use]
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        self.body_pieces([body])
    }

    /// Sends the body in these pieces, one callback each, then a call without bytes.
    #[must_use]
    pub fn body_pieces(mut self, pieces: impl IntoIterator<Item: AsRef<[u8]>>) -> Self {
        self.pieces = pieces.into_iter().map(|p| p.as_ref().to_vec()).collect();
        self
    }

    /// Adds a trailer; a message with trailers ends with them.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let trailers = self.trailers.get_or_insert_default();
        trailers.add(name, value);
        self
    }
}
