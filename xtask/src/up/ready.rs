//! Asks the running stack whether it is ready, as a client would: through Envoy.
//! One HTTP/1.1 exchange (RFC 9112) on a connection of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Time that one exchange may take in each direction.
const EXCHANGE: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read at most; a readiness answer is a few hundred.
const ANSWER_MAX: u64 = 64 * 1024;

/// `Ok` when `/readyz` answers 200, else why not.
pub(super) fn ask(edge: SocketAddr) -> Result<(), String> {
    let answer = get(edge, "/readyz").map_err(|error| format!("no answer: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(format!("{status}\n{body}")),
    }
}

fn get(edge: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&edge, EXCHANGE)?;
    stream.set_read_timeout(Some(EXCHANGE))?;
    stream.set_write_timeout(Some(EXCHANGE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {edge}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn ask_one_that_answers(answer: &'static str) -> Result<(), String> {
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
            assert!(request.starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let asked = ask(edge);
        server.join().unwrap();
        asked
    }

    #[test]
    fn only_a_200_is_ready() {
        assert_eq!(ask_one_that_answers("HTTP/1.1 200 OK\r\n\r\n{}"), Ok(()));
        let why = ask_one_that_answers("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nno login");
        assert_eq!(
            why,
            Err("HTTP/1.1 503 Service Unavailable\nno login".into())
        );
        assert!(ask_one_that_answers("").is_err());
    }
}
