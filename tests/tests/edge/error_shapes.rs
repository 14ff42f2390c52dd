//! Errors have OpenAI's shape: Envoy's local replies are rewritten; errors of the filter and the upstream are
//! unchanged. Follows `local_reply_config` in `envoy.yaml`. The error of each limit is tested with that limit.

use http::{Method, StatusCode};
use serde_json::json;
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Version, bearer, empty, get, post, raw, with};
use tests::upstream::{Behavior, Upstream};

use crate::stack::{
    CHAT, GUARDED, KEY, assert_error, chat, from_malformed_sidecar, listed_models, options,
    raw_request, start, start_with,
};

#[tokio::test]
async fn missing_sidecar_is_503_with_retry_after() {
    let missing = EnvoyOptions::new("/nonexistent/sidecar.sock").env("PROXY_API_KEY", KEY);
    let envoy = Envoy::start(missing).await;
    for version in [Version::H1, Version::H2] {
        let request = with(chat(), "origin", "https://app.example");
        let response = envoy.connect(version).await.send(request).await.unwrap();
        assert_error(&response, 503, "server_error", "codex_unavailable");
        assert_eq!(response.header("retry-after"), "1");
        assert_eq!(
            response.header("access-control-allow-origin"),
            "https://app.example"
        );
    }
}

#[tokio::test]
async fn sidecar_disconnect_is_503_and_not_retried() {
    let (upstream, envoy) = start_with(Behavior::Disconnect, |options| options).await;
    let response = envoy.connect(Version::H1).await.send(chat()).await.unwrap();
    assert_error(&response, 503, "server_error", "codex_unavailable");
    assert_eq!(response.header("retry-after"), "1");
    assert_eq!(upstream.requests().len(), 1, "a turn never runs twice");
}

#[tokio::test]
async fn malformed_sidecar_response_is_502() {
    let response = from_malformed_sidecar(chat()).await;
    assert_error(&response, 502, "server_error", "codex_failed");
}

#[tokio::test]
async fn connect_request_is_404_unknown_url() {
    let (_upstream, envoy) = start().await;
    let response = raw(
        envoy.address(),
        &raw_request("CONNECT elsewhere:443 HTTP/1.1", "", ""),
    )
    .await;
    assert_error(&response, 404, "invalid_request_error", "unknown_url");
}

#[tokio::test]
async fn error_from_the_filter_is_unchanged() {
    let (upstream, envoy) = start_with(Behavior::Echo, listed_models).await;
    let send = async |request| {
        envoy
            .connect(Version::H1)
            .await
            .send(request)
            .await
            .unwrap()
    };
    let response = send(get(GUARDED)).await;
    assert_error(&response, 401, "authentication_error", "invalid_api_key");
    assert_eq!(response.header("www-authenticate"), r#"Bearer realm="api""#);
    let unknown_model = post(CHAT, r#"{"model":"unheard-of","messages":[]}"#);
    let response = send(bearer(unknown_model, KEY)).await;
    let error = assert_error(&response, 404, "invalid_request_error", "model_not_found");
    assert_eq!(error["param"], "model");
    let response = send(bearer(empty(Method::POST, "/verify"), KEY)).await;
    assert_error(
        &response,
        405,
        "invalid_request_error",
        "method_not_allowed",
    );
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn error_from_the_upstream_is_unchanged() {
    let (upstream, envoy) = start().await;
    let body =
        json!({"error": {"message": "from the upstream", "type": "t", "param": null, "code": "c"}});
    for status in [400, 403, 404, 408, 413, 500, 502, 503, 504] {
        let status = StatusCode::from_u16(status).unwrap();
        upstream.set_behavior(Behavior::Json(status, body.clone()));
        let response = envoy.connect(Version::H1).await.send(chat()).await.unwrap();
        assert_eq!((response.status, response.json()), (status, body.clone()));
        assert_eq!(response.header("retry-after"), "");
    }
}

/// Envoy turns a local reply to a request with a gRPC content type into a 200, which a forward-auth proxy would take
/// for a valid key.
#[tokio::test]
async fn rejection_with_a_grpc_content_type_stays_401() {
    let (upstream, envoy) = start().await;
    for version in [Version::H1, Version::H2] {
        for path in ["/verify", GUARDED, CHAT] {
            let request = with(get(path), "content-type", "application/grpc");
            let response = envoy.connect(version).await.send(request).await.unwrap();
            assert_eq!(
                response.status,
                StatusCode::UNAUTHORIZED,
                "{version:?} {path}: {response:?}"
            );
        }
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn invalid_filter_configuration_rejects_all_requests() {
    let upstream = Upstream::start(Behavior::Echo);
    let envoy = Envoy::start(options(&upstream).filter("no_such_field", json!(1))).await;
    for path in ["/healthz", GUARDED] {
        let response = envoy
            .connect(Version::H1)
            .await
            .send(bearer(get(path), KEY))
            .await
            .unwrap();
        assert_error(&response, 503, "server_error", "gateway_unconfigured");
        assert_eq!(response.header("retry-after"), "5");
    }
    assert!(
        envoy.stderr().contains("no_such_field"),
        "the log names the field"
    );
    assert!(upstream.requests().is_empty());
}
