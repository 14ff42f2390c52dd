//! Address of the sidecar's status page: the operator's choice, or the first free port above the public one.
//! The value has the form of the sidecar's `SIDECAR_ADMIN_LISTEN`: `unix:/path` or a loopback address.

use std::env;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// Variable from which the sidecar reads the address.
pub(super) const VARIABLE: &str = "SIDECAR_ADMIN_LISTEN";

/// The operator's choice, or a loopback address with a port above `port`.
pub(super) fn choose(port: u16) -> Result<String> {
    match env::var(VARIABLE) {
        Ok(chosen) if !chosen.is_empty() => Ok(chosen),
        _ => free_above(port),
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

fn free_above(port: u16) -> Result<String> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    // Another process may take the port before the sidecar does; the sidecar then names the address in its error.
    let free = (port..=u16::MAX).skip(1).find(is_free).with_context(|| {
        format!("no port above {port} is free for the status page; {VARIABLE} chooses an address")
    })?;
    Ok(format!("{}:{free}", Ipv4Addr::LOCALHOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_skipped() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let address = free_above(port - 1).unwrap();
        let free: u16 = address.strip_prefix("127.0.0.1:").unwrap().parse().unwrap();
        assert!(free > port, "{free} after {port}");
        let error = free_above(u16::MAX).unwrap_err().to_string();
        assert!(error.contains(VARIABLE), "{error}");
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
