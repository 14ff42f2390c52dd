//! What a test sends and receives: requests, responses, and messages as the other side saw them.
//! Source: RFC 9110; pseudo fields and local replies as Envoy 1.40 shows them to a filter.

use std::collections::BTreeMap;

use crate::wasm_host::headers::Headers;

/// A request or response as its receiver saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The head, with `:method`, `:path` and friends, or `:status`.
    pub headers: Headers,
    /// The body in the pieces in which it was handed on; held pieces come as one.
    pub pieces: Vec<Vec<u8>>,
    /// Fields after the body.
    pub trailers: Option<Headers>,
    /// Whether the end was seen; false when the sender was cut off.
    pub complete: bool,
}

impl Message {
    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// The whole body as text, octets that are not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    /// The value of `:status`; 0 for a request.
    pub fn status(&self) -> u16 {
        let status = self.headers.text(":status");
        status.and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// How the client frames its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The end of a body is a call of its own, without bytes.
    Http1,
    /// The end of a body comes with its last piece.
    Http2,
}

/// A request to be sent through the filter.
#[derive(Clone, Debug)]
pub struct Request {
    pub(in crate::wasm_host) headers: Headers,
    pub(in crate::wasm_host) pieces: Vec<Vec<u8>>,
    pub(in crate::wasm_host) trailers: Option<Headers>,
    pub(in crate::wasm_host) protocol: Protocol,
    pub(in crate::wasm_host) properties: BTreeMap<String, Vec<u8>>,
    pub(in crate::wasm_host) leaves_after: Option<usize>,
}

impl Request {
    /// A request with the fields that Envoy puts into every head.
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
            leaves_after: None,
        }
    }

    /// A GET without a body.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A POST; its body comes from [`Self::body`] or [`Self::body_pieces`].
    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// Adds a line of a field, beside those there are.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name, value);
        self
    }

    /// Puts one value in the place of all that the field had.
    #[must_use]
    pub fn set_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.set(name, value);
        self
    }

    /// Takes a field away, pseudo fields included.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Sends the body in one piece.
    #[must_use]
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        self.body_pieces([body])
    }

    /// Sends the body in these pieces, one callback each.
    #[must_use]
    pub fn body_pieces(mut self, pieces: impl IntoIterator<Item: AsRef<[u8]>>) -> Self {
        self.pieces = pieces.into_iter().map(|p| p.as_ref().to_vec()).collect();
        self
    }

    /// The length of the whole body.
    pub fn body_bytes(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    /// Adds a trailer; a message with trailers ends with them, never with an end-of-stream body call.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let trailers = self.trailers.get_or_insert_default();
        trailers.add(name, value);
        self
    }

    /// Frames the body as this protocol does; HTTP/1.1 unless told.
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

    /// Lets the client hang up after so many callbacks; 0: before the filter saw the head.
    #[must_use]
    pub fn leaves_after(mut self, callbacks: usize) -> Self {
        self.leaves_after = Some(callbacks);
        self
    }
}

/// Who wrote the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// The upstream.
    Upstream,
    /// The filter, with `proxy_send_local_response`.
    Filter,
    /// Envoy, with these code details, such as `route_not_found`.
    Envoy(String),
}

/// An answer to be sent through the filter.
#[derive(Clone, Debug)]
pub struct Response {
    pub(in crate::wasm_host) headers: Headers,
    pub(in crate::wasm_host) pieces: Vec<Vec<u8>>,
    pub(in crate::wasm_host) trailers: Option<Headers>,
    pub(in crate::wasm_host) answerer: Answerer,
}

impl Response {
    /// The upstream's answer.
    pub fn new(status: u16) -> Self {
        let mut headers = Headers::default();
        headers.add(":status", status.to_string());
        Self {
            headers,
            pieces: Vec::new(),
            trailers: None,
            answerer: Answerer::Upstream,
        }
    }

    /// The upstream's 200 without a body.
    pub fn ok() -> Self {
        Self::new(200)
    }

    /// Envoy's own answer, in plain text as Envoy gives it; `details` is its `response.code_details`.
    pub fn from_envoy(status: u16, details: &str, body: &str) -> Self {
        let mut response = Self::new(status);
        response.answerer = Answerer::Envoy(details.to_owned());
        if body.is_empty() {
            return response;
        }
        response
            .header("content-length", body.len().to_string())
            .header("content-type", "text/plain")
            .body(body)
    }

    /// Adds a line of a field, beside those there are.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name, value);
        self
    }

    /// Sends the body in one piece.
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
