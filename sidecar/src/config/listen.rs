//! The address of a listener, restricted to this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on. The sidecar trusts every peer that can connect, so only local addresses are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// A loopback address.
    Loopback(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            // An unspecified address such as 0.0.0.0 too: the filter authenticates, the sidecar does not.
            Ok(_) => Err("the sidecar trusts every peer that can connect; use a loopback address or unix:/path".into()),
            Err(_) => Err("expected unix:/path/to/socket or a loopback address such as 127.0.0.1:8787".into()),
        }
    }
}
