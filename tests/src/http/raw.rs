//! Octets to a server and one answer back, for requests that are none.
//! Reads answers that have a length (RFC 9112, section 6.3), as Envoy's own all have.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::Answer;
use super::deadline::deadline;

/// Writes `bytes` to a new connection and reads one answer, which is not one to `HEAD`.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = deadline(TcpStream::connect(address))
        .await
        .expect("the server accepts a connection");
    stream
        .write_all(bytes)
        .await
        .expect("the server reads what fits its buffers");
    let mut read = Vec::new();
    loop {
        match parse(&read) {
            Some(answer) => return answer,
            None => {
                let octets = deadline(stream.read_buf(&mut read))
                    .await
                    .unwrap_or_default();
                assert!(
                    octets > 0,
                    "the answer breaks off after {:?}",
                    String::from_utf8_lossy(&read)
                );
            }
        }
    }
}

/// The answer at the start of `read`, if it is whole. Its head is taken to be well-formed.
fn parse(read: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(read);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .expect("a status line");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| {
            let name = name.parse::<http::HeaderName>().expect("a field name");
            (name, value.parse().expect("a field value"))
        });
    let status = status.parse().expect("a status code");
    let mut answer = Answer {
        status,
        headers: headers.collect(),
        body: Bytes::new(),
    };
    let length = answer
        .header("content-length")
        .parse()
        .expect("the answer has a length");
    answer.body = Bytes::copy_from_slice(body.as_bytes().get(..length)?);
    Some(answer)
}
