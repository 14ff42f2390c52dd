//! The request id: the response, the upstream request and the access log have the same id, which is the client's if
//! that is valid. Follows Envoy's request id extension.

use http::Request;
use serde_json::Value;
use tests::http::{Body, BufferedResponse, Version, get, raw, with};

use crate::stack::{GUARDED, keyed_get, raw_request, start};

fn is_uuid(id: &str) -> bool {
    let lengths: Vec<_> = id.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12]
        && id
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn id_of(response: &BufferedResponse) -> &str {
    response.header("x-request-id")
}

#[tokio::test]
async fn valid_client_request_id_is_kept() {
    let (upstream, envoy) = start().await;
    for version in [Version::H1, Version::H2] {
        let request = with(keyed_get(GUARDED), "x-request-id", "trace_01.a-B");
        let response = envoy.connect(version).await.send(request).await.unwrap();
        assert_eq!(id_of(&response), "trace_01.a-B");
    }
    assert!(
        upstream
            .requests()
            .iter()
            .all(|received| received.header("x-request-id") == "trace_01.a-B")
    );
    let entry = envoy
        .access_log_entry(|entry| entry["protocol"] == "HTTP/2")
        .await;
    assert_eq!(entry["request_id"], "trace_01.a-B");
}

#[tokio::test]
async fn missing_or_invalid_request_id_is_replaced() {
    let (upstream, envoy) = start().await;
    let with_id = |id: &str| with(keyed_get(GUARDED), "x-request-id", id);
    let requests: [Request<Body>; 4] = [
        keyed_get(GUARDED),
        with_id("a b"),
        with_id("\"quoted\""),
        with_id(&"a".repeat(4000)),
    ];
    for request in requests {
        let sent = request.headers().get("x-request-id").cloned();
        let response = envoy
            .connect(Version::H1)
            .await
            .send(request)
            .await
            .unwrap();
        assert!(
            !id_of(&response).is_empty() && id_of(&response).len() <= 128,
            "{sent:?}"
        );
        assert_ne!(response.headers.get("x-request-id"), sent.as_ref());
        assert_eq!(
            upstream.requests().last().unwrap().header("x-request-id"),
            id_of(&response),
            "{sent:?}"
        );
    }
}

#[tokio::test]
async fn rejection_has_the_request_id_of_its_log_entry() {
    let (_upstream, envoy) = start().await;
    let own = with(get(GUARDED), "x-request-id", "mine");
    let response = envoy.connect(Version::H1).await.send(own).await.unwrap();
    assert_eq!((response.status.as_u16(), id_of(&response)), (401, "mine"));
    for request in [
        raw_request("GET /v1%2fmodels HTTP/1.1", "", ""),
        raw_request("GET /v1/models HTTP/1.0", "", ""),
        raw_request("GET /v1/models HTTP/1.1", "under_score: 1\r\n", ""),
    ] {
        let response = raw(envoy.address(), &request).await;
        assert!(is_uuid(id_of(&response)), "{response:?}");
        let id = Value::from(id_of(&response));
        envoy
            .access_log_entry(|entry| entry["request_id"] == id)
            .await;
    }
}
