//! Malformed requests: Envoy responds to each or closes the connection, and the filter does not trap.
//! Header values may contain any octet from 0x80 on (RFC 9110, section 5.5).

use http::HeaderValue;
use tests::http::{Version, bearer, get, post};
use tests::upstream::Behavior;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stack::{CHAT, Edges, GUARDED, KEY, keyed_get, start};

/// The counter of reloads of the filter, of which a trap causes one.
const TRAPS: &str = "wasm.codex_edge.vm_reload_success";

/// The headers that the filter reads, and one that the filter ignores.
const HEADERS: [&str; 11] = [
    "authorization",
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
    "access-control-request-private-network",
    "x-request-id",
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-codex-edge-client",
    "content-type",
    "x-unheard-of",
];

#[tokio::test]
async fn header_values_that_are_not_utf8_do_not_trap_the_filter() {
    let edges = Edges::start(Behavior::Echo, |options| options.env("PROXY_API_KEY", KEY)).await;
    for value in [
        &b"\xff"[..],
        b"\xc3",
        b"Bearer \xf0\x9f",
        b"https://\xff.example",
        b"\x80\x81\x82",
    ] {
        for name in HEADERS {
            for path in [GUARDED, CHAT, "/verify", "/healthz"] {
                let request = |method: &str| {
                    let mut request = bearer(post(path, r#"{"model":"codex-5"}"#), KEY);
                    *request.method_mut() = method.parse().unwrap();
                    let value = HeaderValue::from_bytes(value).unwrap();
                    request.headers_mut().insert(name, value);
                    request
                };
                for (method, status) in [
                    ("POST", [200, 401, 405]),
                    ("GET", [200, 401, 405]),
                    ("OPTIONS", [204; 3]),
                ] {
                    for (_, envoy) in edges.each() {
                        for version in [Version::H1, Version::H2] {
                            let mut client = envoy.connect(version).await;
                            let response = client
                                .send(request(method))
                                .await
                                .unwrap_or_else(|error| panic!("{name} {value:?}: {error}"));
                            assert!(
                                status.contains(&response.status.as_u16()),
                                "{method} {path} {name} {value:?}: {response:?}"
                            );
                        }
                    }
                }
            }
        }
    }
    for (upstream, envoy) in edges.each() {
        assert_eq!(envoy.stat(TRAPS).await, 0);
        assert!(
            upstream
                .requests()
                .into_iter()
                .filter(|received| received.head.uri != "/healthz")
                .all(|received| received.header("x-codex-edge-client") == "default")
        );
    }
}

/// Envoy may close the connection before it has read the whole head; the client then reads an empty or partial
/// response.
#[tokio::test]
async fn one_mebibyte_header_fails_only_its_own_connection() {
    let (upstream, envoy) = start().await;
    let mut client = envoy.connect(Version::H1).await;
    let value = "a".repeat(1 << 20);
    for head in [
        format!("GET {GUARDED} HTTP/1.1\r\nhost: edge\r\nx-large: {value}\r\n\r\n"),
        format!("GET /{value} HTTP/1.1\r\nhost: edge\r\n\r\n"),
        format!("GET {GUARDED} HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {value}\r\n\r\n"),
    ] {
        let mut stream = TcpStream::connect(envoy.address()).await.unwrap();
        let _ = stream.write_all(head.as_bytes()).await; // fails if Envoy closes early
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response).await; // a reset keeps what was read before
        assert!(
            response.is_empty() || response.starts_with(b"HTTP/1.1 431 "),
            "{response:?}"
        );
        assert_eq!(client.send(keyed_get(GUARDED)).await.unwrap().status, 200);
        assert_eq!(
            envoy
                .connect(Version::H1)
                .await
                .send(get(GUARDED))
                .await
                .unwrap()
                .status,
            401
        );
    }
    assert_eq!(upstream.requests().len(), 3);
    assert_eq!(envoy.stat(TRAPS).await, 0);
}
