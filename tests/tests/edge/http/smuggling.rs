//! Request smuggling: Envoy and the upstream agree on the end of every request.
//! Follows RFC 9112, sections 2.2, 5.1, 6.1 to 6.3 and 11.2.

use tests::http::{DEADLINE, raw};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stack::{CHAT, assert_error, raw_request, start};

const CHUNKED: &str = "3\r\nabc\r\n0\r\n\r\n";

#[tokio::test]
async fn ambiguous_body_length_is_rejected() {
    const BAD: (u16, &str, &str) = (400, "invalid_request_error", "invalid_request_error");
    const UNKNOWN_CODING: (u16, &str, &str) = (501, "server_error", "internal_error");
    let (upstream, envoy) = start().await;
    for (headers, body, (status, kind, code)) in [
        (
            "content-length: 3\r\ntransfer-encoding: chunked\r\n",
            CHUNKED,
            BAD,
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
            CHUNKED,
            BAD,
        ),
        ("content-length: 3\r\ncontent-length: 4\r\n", "abcd", BAD),
        ("content-length: 3, 4\r\n", "abcd", BAD),
        ("content-length: +3\r\n", "abc", BAD),
        ("content-length: 0x3\r\n", "abc", BAD),
        ("content-length: 99999999999999999999\r\n", "abc", BAD),
        ("transfer-encoding: xchunked\r\n", CHUNKED, UNKNOWN_CODING),
        (
            "transfer-encoding: chunked, identity\r\n",
            CHUNKED,
            UNKNOWN_CODING,
        ),
        ("transfer-encoding : chunked\r\n", CHUNKED, BAD),
        (
            "transfer-encoding: chunked\r\n",
            "zz\r\nabc\r\n0\r\n\r\n",
            BAD,
        ),
        ("x: a\0b\r\n", "", BAD),
        ("no colon\r\n", "", BAD),
    ] {
        let request = raw_request(&format!("POST {CHAT} HTTP/1.1"), headers, body);
        let response = raw(envoy.address(), &request).await;
        assert_error(&response, status, kind, code);
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn bytes_after_a_body_are_the_next_request() {
    let (upstream, envoy) = start().await;
    let raw_first = raw_request("POST /v1/other HTTP/1.1", "content-length: 4\r\n", "GET ");
    let first = String::from_utf8(raw_first)
        .unwrap()
        .replace("connection: close\r\n", "");
    let second = raw_request("GET /v1/models HTTP/1.1", "", "");
    let mut stream = TcpStream::connect(envoy.address()).await.unwrap();
    stream
        .write_all(&[first.as_bytes(), &second].concat())
        .await
        .unwrap();
    let mut responses = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut responses))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(responses.matches("HTTP/1.1 200").count(), 2, "{responses}");
    let received: Vec<_> = upstream
        .requests()
        .iter()
        .map(|received| (received.head.uri.to_string(), received.body.len()))
        .collect();
    assert_eq!(
        received,
        [("/v1/other".to_owned(), 4), ("/v1/models".to_owned(), 0)]
    );
}
