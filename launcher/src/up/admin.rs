//! Address of the sidecar's status page: the operator's choice, or a free port that the kernel chooses.
//! The value has the form of the sidecar's `SIDECAR_ADMIN_LISTEN`: `unix:/path` or a loopback address.

use std::env;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// Variable from which the sidecar reads the address.
pub(super) const VARIABLE: &str = "SIDECAR_ADMIN_LISTEN";

/// The operator's choice, or a loopback address with a free port. `public` is the listener on the public address, whose
/// port is excluded as long as the listener is open.
pub(super) fn choose(_public: &TcpListener) -> Result<String> {
    match env::var(VARIABLE) {
        Ok(chosen) if !chosen.is_empty() => Ok(chosen),
        _ => free_port(),
    }
}

/// The URL of the status page; a socket has no URL and is printed as configured.
pub(super) fn url(listen: &str) -> String {
    if listen.starts_with("unix:") {
        listen.to_owned()
    } else {
        format!("http://{listen}/")
    }
}

/// A port from the kernel's ephemeral range (ip(7), `ip_local_port_range`). A port beside the public one would be the
/// public port of a second `up`.
fn free_port() -> Result<String> {
    // Another process may take the port before the sidecar does; the sidecar then names the address in its error.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .with_context(|| {
            format!("no port is free for the status page; {VARIABLE} chooses an address")
        })?;
    Ok(address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_free_and_not_the_public_one() {
        let public = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free_port().unwrap();
        assert_ne!(address, public.local_addr().unwrap().to_string());
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        TcpListener::bind(&address).expect("the port is free");
    }

    #[test]
    fn an_address_becomes_a_url_and_a_socket_stays_a_path() {
        for (listen, expected) in [
            ("127.0.0.1:11436", "http://127.0.0.1:11436/"),
            ("[::1]:9464", "http://[::1]:9464/"),
            ("unix:/run/admin.sock", "unix:/run/admin.sock"),
        ] {
            assert_eq!(url(listen), expected);
        }
    }
}
