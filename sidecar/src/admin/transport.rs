//! The transport of an operator's connection, and the check that a TCP connection needs.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request};
use hyper::body::Incoming;

use crate::openai::ApiError;
use crate::server::listener::Connection;

/// The transport of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Transport {
    /// A Unix socket, protected by the mode of its file.
    Unix,
    /// A TCP port, which every program on this machine can reach, including a browser.
    Tcp,
}

impl Transport {
    pub(super) fn of(connection: &Connection) -> Self {
        match connection {
            Connection::Left(_) => Self::Unix,
            Connection::Right(_) => Self::Tcp,
        }
    }

    /// Checks that the request may be served over this transport.
    ///
    /// # Errors
    /// The `host` header of a TCP request is not a loopback name.
    pub(super) fn check(self, request: &Request<Incoming>) -> Result<(), ApiError> {
        match self {
            Self::Unix => Ok(()),
            Self::Tcp => check_host(request),
        }
    }
}

/// Rejects DNS rebinding: a web page can point its own name at this address and have the operator's browser connect,
/// but the browser then sends that name as `host`.
fn check_host(request: &Request<Incoming>) -> Result<(), ApiError> {
    let authority = request
        .headers()
        .get(HOST)
        .map(HeaderValue::as_bytes)
        .and_then(|host| Authority::try_from(host).ok());
    let name = authority.as_ref().map_or("", Authority::host);
    // Any port: an SSH tunnel may listen on another one.
    if matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        return Ok(());
    }
    Err(ApiError::permission_denied(
        "Invalid `host`: the admin listener accepts localhost, 127.0.0.1 and [::1] only.",
    ))
}
