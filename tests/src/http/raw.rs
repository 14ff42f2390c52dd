//! Octets to a server and one response, for requests that are not valid HTTP.
//! Reads responses with a content-length (RFC 9112, section 6.3), as all local replies of Envoy have.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::BufferedResponse;
use super::deadline::deadline;

/// Writes `bytes` to a new connection and reads one response, which must not be one to `HEAD`.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> BufferedResponse {
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
            Some(response) => return response,
            None => {
                let octets = deadline(stream.read_buf(&mut read))
                    .await
                    .unwrap_or_default();
                assert!(
                    octets > 0,
                    "the response is cut off after {:?}",
                    String::from_utf8_lossy(&read)
                );
            }
        }
    }
}

/// The response at the start of `read`, if it is complete. The head must be well-formed.
fn parse(read: &[u8]) -> Option<BufferedResponse> {
    let text = String::from_utf8_lossy(read);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .expect("a status line")
        .parse()
        .expect("a status code");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| {
            let name = name.parse::<http::HeaderName>().expect("a header name");
            (name, value.parse().expect("a header value"))
        });

    let mut response = BufferedResponse {
        status,
        headers: headers.collect(),
        trailers: http::HeaderMap::new(),
        body: Bytes::new(),
    };
    let length = response
        .header("content-length")
        .parse()
        .expect("the response has a content-length");
    response.body = Bytes::copy_from_slice(body.as_bytes().get(..length)?);
    Some(response)
}
