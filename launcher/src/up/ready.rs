//! The readiness check of a running stack, through Envoy as a client would send it.
//! A check is one HTTP/1.1 exchange (RFC 9112) on its own connection. `up` sends no other request, so no client crate is used.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Read and write timeout of an exchange.
const EXCHANGE: Duration = Duration::from_secs(2);
/// Bytes of a response that are read at most; a readiness response has a few hundred.
const RESPONSE_MAX: u64 = 64 * 1024;

/// Requests `/readyz`; an error holds the status and body of a response other than 200.
pub(super) fn ask(edge: SocketAddr) -> Result<(), String> {
    let response = get(edge, "/readyz").map_err(|error| format!("no response: {error}"))?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(format!("{status}\n{body}")),
    }
}

/// Returns the place of the sidecar's state, as `/healthz` tells it.
pub(super) fn state(edge: SocketAddr) -> String {
    let response = get(edge, "/healthz").unwrap_or_default();
    let (_, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    let health: Value = serde_json::from_str(body).unwrap_or_default();
    let state = &health["state"];
    match (state["kind"].as_str(), state["reachable"].as_bool()) {
        (Some("memory"), _) => "in memory; a restart forgets it".to_owned(),
        (Some("sqlite"), _) => "SQLite, in a file".to_owned(),
        (Some("redis"), Some(true)) => "Redis, which answers".to_owned(),
        (Some("redis"), _) => "Redis, which does not answer".to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn get(edge: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&edge, EXCHANGE)?;
    stream.set_read_timeout(Some(EXCHANGE))?;
    stream.set_write_timeout(Some(EXCHANGE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {edge}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    // The request asks Envoy to close, so that the end of the connection is the end of the response.
    stream.take(RESPONSE_MAX).read_to_end(&mut response)?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn ask_server_with(response: &'static str) -> Result<(), String> {
        ask_server("GET /readyz HTTP/1.1\r\n", response, ask)
    }

    /// Has a server answer the request that begins with `line`.
    fn ask_server<T>(
        line: &'static str,
        response: &'static str,
        ask: impl FnOnce(SocketAddr) -> T,
    ) -> T {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let edge = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            assert!(request.starts_with(line.as_bytes()));
            stream.write_all(response.as_bytes()).unwrap();
        });
        let asked = ask(edge);
        server.join().unwrap();
        asked
    }

    #[test]
    fn place_of_the_state_is_named_with_whether_it_answers() {
        let asked = |response| ask_server("GET /healthz HTTP/1.1\r\n", response, state);
        for (response, expected) in [
            (
                "HTTP/1.1 200 OK\r\n\r\n{\"state\":{\"kind\":\"sqlite\",\"reachable\":true}}",
                "SQLite, in a file",
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\n{\"state\":{\"kind\":\"redis\",\"reachable\":true}}",
                "Redis, which answers",
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\n{\"state\":{\"kind\":\"redis\",\"reachable\":false}}",
                "Redis, which does not answer",
            ),
            ("HTTP/1.1 200 OK\r\n\r\n{}", "unknown"),
        ] {
            assert_eq!(asked(response), expected, "{response}");
        }
    }

    #[test]
    fn only_status_200_means_ready() {
        assert_eq!(ask_server_with("HTTP/1.1 200 OK\r\n\r\n{}"), Ok(()));
        let why = ask_server_with("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nno login");
        assert_eq!(
            why,
            Err("HTTP/1.1 503 Service Unavailable\nno login".into())
        );
        assert!(ask_server_with("").is_err());
    }
}
