//! Somebody else's service behind the real nginx, guarded by our keys.
//! nginx's `auth_request`, which asks `/verify`; follows `deploy/nginx/auth_request.conf`.

use http::{Method, Request, StatusCode};
use serde_json::json;
use tests::envoy::{Envoy, Options};
use tests::http::{Answer, Body, bearer, empty, get, post, with};
use tests::nginx::Nginx;
use tests::upstream::{Script, Upstream};

use crate::stack::{KEY, start_with};

/// A service, nginx before it, and the edge that nginx asks.
struct Guarded {
    service: Upstream,
    nginx: Nginx,
    /// What is behind the edge, which nobody should ever reach from here.
    sidecar: Upstream,
    _envoy: Envoy,
}

impl Guarded {
    async fn start(
        edge: impl FnOnce(Options) -> Options,
        change: impl FnOnce(&str) -> String,
    ) -> Self {
        let (sidecar, envoy) = start_with(Script::Echo, edge).await;
        let service = Upstream::start(Script::Echo);
        let nginx = Nginx::start(envoy.address(), &service.socket(), change).await;
        Self {
            service,
            nginx,
            sidecar,
            _envoy: envoy,
        }
    }

    async fn as_shipped() -> Self {
        Self::start(|options| options, str::to_owned).await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.nginx.connect().await.send(request).await;
        answer.expect("nginx answers")
    }
}

/// What people write who leave that line out: the edge sees all that the client sent.
fn with_all_headers(file: &str) -> String {
    let line = "proxy_pass_request_headers off;";
    assert_eq!(file.matches(line).count(), 1);
    file.replace(line, "")
}

#[tokio::test]
async fn valid_key_reaches_the_service_with_the_client_header() {
    let guarded = Guarded::as_shipped().await;
    let requests = [
        get("/theirs?x=1"),
        post("/theirs", "a body"),
        with(get("/theirs"), "x-codex-edge-client", "forged"),
        empty(Method::DELETE, "/theirs/1"),
        empty(Method::HEAD, "/theirs"),
    ];
    for request in requests {
        let (method, uri) = (request.method().clone(), request.uri().to_string());
        let answer = guarded.send(bearer(request, KEY)).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {uri}");
        let seen = guarded.service.seen().pop().expect("the service is asked");
        assert_eq!(
            (seen.head.method.clone(), seen.head.uri.to_string()),
            (method, uri)
        );
        assert_eq!(seen.header("x-codex-edge-client"), "default");
        assert_eq!(seen.header("authorization"), "", "the key stays with nginx");
    }
    assert_eq!(guarded.service.seen()[1].body, "a body");
    assert!(guarded.sidecar.seen().is_empty());
}

#[tokio::test]
async fn unauthenticated_request_is_rejected_with_401() {
    for change in [str::to_owned as fn(&str) -> String, with_all_headers] {
        let guarded = Guarded::start(|options| options, change).await;
        let requests = [
            get("/theirs"),
            post("/theirs", "a body"),
            bearer(get("/theirs"), "wrong"),
            with(get("/theirs"), "authorization", &format!("Basic {KEY}")),
            with(get("/theirs"), "x-codex-edge-client", "default"),
            with(get("/theirs"), "content-type", "application/grpc"),
            with(get("/theirs"), "content-type", "application/grpc+proto"),
            get("/v1/chat/completions"),
            get("/healthz/../theirs"),
            get("/healthz%2f..%2ftheirs"),
            get("/_codex_edge"),
        ];
        for request in requests {
            let shown = format!("{request:?}");
            let answer = guarded.send(request).await;
            let expected = if shown.contains("/_codex_edge") {
                404
            } else {
                401
            };
            assert_eq!(answer.status.as_u16(), expected, "{shown}");
            let challenge = answer.header("www-authenticate");
            assert_eq!(
                challenge.is_empty(),
                expected == 404,
                "{shown}: {challenge}"
            );
        }
        assert!(guarded.service.seen().is_empty() && guarded.sidecar.seen().is_empty());
    }
}

#[tokio::test]
async fn original_method_and_path_decide_whether_a_key_is_required() {
    let guarded = Guarded::as_shipped().await;
    let cases = [
        (Method::GET, "/healthz", 200),
        (Method::HEAD, "/readyz", 200),
        (Method::GET, "/v1/models", 200),
        (Method::OPTIONS, "/theirs", 200),
        (Method::POST, "/healthz", 401),
        (Method::DELETE, "/v1/models", 401),
        (Method::GET, "/theirs?/healthz", 401),
    ];
    for (method, path, expected) in cases {
        let request = empty(method.clone(), path);
        // What the client says of itself is not what nginx says of it.
        let request = with(request, "x-forwarded-uri", "/healthz");
        let request = with(request, "x-forwarded-method", "OPTIONS");
        let answer = guarded.send(request).await;
        assert_eq!(answer.status.as_u16(), expected, "{method} {path}");
    }
    let opened = guarded.service.seen();
    assert_eq!(opened.len(), 4, "{opened:?}");
    assert!(
        opened
            .iter()
            .all(|seen| seen.header("x-codex-edge-client").is_empty())
    );
}

#[tokio::test]
async fn invalid_keys_above_the_limit_get_429_with_retry_after() {
    let limit = json!({"requests": 1, "window_ms": 60 * 60 * 1000});
    let few = |options: Options| options.filter("unauthenticated_rate_limit", limit);
    let guarded = Guarded::start(few, str::to_owned).await;
    let guess = || bearer(get("/theirs"), "a guess");
    assert_eq!(guarded.send(guess()).await.status, StatusCode::UNAUTHORIZED);
    let answer = guarded.send(guess()).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!((3590..=3600).contains(&answer.header("retry-after").parse().unwrap()));
    let answer = guarded.send(bearer(get("/theirs"), KEY)).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "a key is not slowed down by guesses"
    );
}

#[tokio::test]
async fn unreachable_edge_is_answered_with_503() {
    let service = Upstream::start(Script::Echo);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let nginx = Nginx::start(address, &service.socket(), str::to_owned).await;
    let request = bearer(get("/theirs"), KEY);
    let answer = nginx.connect().await.send(request).await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(service.seen().is_empty());
}
