//! The server under load, and the requests that clients send to it.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::Request;
use serde_json::json;
use tests::http::{Body, Client, Version, bearer, post, with};

/// API key of all clients of a run. Some peers reject short keys and keys in the format of OpenAI's.
pub(crate) const KEY: &str = "the-key-of-every-client-of-the-bench-run";

/// Address of the server under load.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// Envoy, or a peer.
    Tcp(SocketAddr),
    /// The sidecar.
    Unix(PathBuf),
}

impl Target {
    /// Opens a connection.
    ///
    /// # Errors
    /// When the connection is refused.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        match self {
            Self::Tcp(address) => Ok(Client::connect(*address, Version::H1).await),
            Self::Unix(path) => Ok(Client::connect_unix(path).await?),
        }
    }
}

/// A streaming chat completion request with [`KEY`].
pub(crate) fn chat(model: &str, prompt: &str) -> Request<Body> {
    let message = json!({"role": "user", "content": prompt});
    let body = json!({"model": model, "stream": true, "messages": [message]});
    let request = bearer(post("/v1/chat/completions", body.to_string()), KEY);
    // Some peers reject a host name other than their own.
    with(request, "host", "127.0.0.1")
}
