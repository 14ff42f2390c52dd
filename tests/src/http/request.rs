//! Requests as tests write them: a method, a path, and a header at a time.
//! URIs are in origin form (RFC 9112, section 3.2.1); the client completes them for its version.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};

/// A request body of any kind.
pub type Body = BoxBody<Bytes, std::convert::Infallible>;

/// A request without a body.
pub fn empty(method: Method, path: &str) -> Request<Body> {
    build(method, path, Empty::new().boxed())
}

/// `GET path`.
pub fn get(path: &str) -> Request<Body> {
    empty(Method::GET, path)
}

/// `POST path` with a JSON body of known length.
pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Body> {
    let request = build(Method::POST, path, Full::new(body.into()).boxed());
    with(request, "content-type", "application/json")
}

/// `request` with one more header.
pub fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request
        .headers_mut()
        .append(name, value.parse().expect("a header value"));
    request
}

/// `request` with the bearer token `key`.
pub fn bearer(request: Request<Body>, key: &str) -> Request<Body> {
    with(request, "authorization", &format!("Bearer {key}"))
}

fn build(method: Method, path: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).body(body);
    request.expect("the path is a URI in origin form")
}
