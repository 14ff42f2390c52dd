//! A third-party service behind the real nginx, protected by the edge's API keys: nginx's `auth_request` module sends a
//! subrequest to `/verify`. Follows `deploy/nginx/auth_request.conf`.

use http::{Method, Request, StatusCode};
use serde_json::json;
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Body, BufferedResponse, bearer, empty, get, post, with};
use tests::nginx::Nginx;
use tests::upstream::{Behavior, Upstream};

use crate::stack::{KEY, start_with};

/// A service, nginx in front of it, and the edge that nginx asks for each request.
struct NginxStack {
    service: Upstream,
    nginx: Nginx,
    /// The upstream of the edge, which must not receive a request from nginx.
    sidecar: Upstream,
    _envoy: Envoy,
}

impl NginxStack {
    async fn start(
        edge: impl FnOnce(EnvoyOptions) -> EnvoyOptions,
        change: impl FnOnce(&str) -> String,
    ) -> Self {
        let (sidecar, envoy) = start_with(Behavior::Echo, edge).await;
        let service = Upstream::start(Behavior::Echo);
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

    async fn send(&self, request: Request<Body>) -> BufferedResponse {
        let mut client = self.nginx.connect().await;
        client.send(request).await.expect("nginx answers")
    }
}

/// Removes the line that keeps the client's headers from the subrequest, as an operator might; `/verify` must still
/// reject unauthenticated requests.
fn with_all_headers(file: &str) -> String {
    let line = "proxy_pass_request_headers off;";
    assert_eq!(file.matches(line).count(), 1);
    file.replace(line, "")
}

#[tokio::test]
async fn valid_key_reaches_the_service_with_the_client_header() {
    let stack = NginxStack::as_shipped().await;
    let requests = [
        get("/service?x=1"),
        post("/service", "a body"),
        with(get("/service"), "x-codex-edge-client", "forged"),
        empty(Method::DELETE, "/service/1"),
        empty(Method::HEAD, "/service"),
    ];
    for request in requests {
        let (method, uri) = (request.method().clone(), request.uri().to_string());
        let response = stack.send(bearer(request, KEY)).await;
        assert_eq!(response.status, StatusCode::OK, "{method} {uri}");
        let received = stack.service.requests().pop().expect("nginx forwards it");
        assert_eq!(
            (received.head.method.clone(), received.head.uri.to_string()),
            (method, uri)
        );
        assert_eq!(received.header("x-codex-edge-client"), "default");
        assert_eq!(
            received.header("authorization"),
            "",
            "nginx removes the key"
        );
    }
    assert_eq!(stack.service.requests()[1].body, "a body");
    assert!(stack.sidecar.requests().is_empty());
}

#[tokio::test]
async fn unauthenticated_request_is_rejected_with_401() {
    for change in [str::to_owned as fn(&str) -> String, with_all_headers] {
        let stack = NginxStack::start(|options| options, change).await;
        let requests = [
            get("/service"),
            post("/service", "a body"),
            bearer(get("/service"), "wrong"),
            with(get("/service"), "authorization", &format!("Basic {KEY}")),
            with(get("/service"), "x-codex-edge-client", "default"),
            with(get("/service"), "content-type", "application/grpc"),
            with(get("/service"), "content-type", "application/grpc+proto"),
            get("/v1/chat/completions"),
            get("/healthz/../service"),
            get("/healthz%2f..%2ftheirs"),
            get("/_codex_edge"),
        ];
        for request in requests {
            let description = format!("{request:?}");
            let response = stack.send(request).await;
            let expected = if description.contains("/_codex_edge") {
                404
            } else {
                401
            };
            assert_eq!(response.status.as_u16(), expected, "{description}");
            let challenge = response.header("www-authenticate");
            assert_eq!(
                challenge.is_empty(),
                expected == 404,
                "{description}: {challenge}"
            );
        }
        assert!(stack.service.requests().is_empty() && stack.sidecar.requests().is_empty());
    }
}

#[tokio::test]
async fn original_method_and_path_decide_whether_a_key_is_required() {
    let stack = NginxStack::as_shipped().await;
    let cases = [
        (Method::GET, "/healthz", 200),
        (Method::HEAD, "/readyz", 200),
        (Method::GET, "/v1/models", 200),
        (Method::OPTIONS, "/service", 200),
        (Method::POST, "/healthz", 401),
        (Method::DELETE, "/v1/models", 401),
        (Method::GET, "/service?/healthz", 401),
    ];
    for (method, path, expected) in cases {
        // nginx must not pass these headers of the client on to `/verify`.
        let forged = [
            ("x-forwarded-uri", "/healthz"),
            ("x-forwarded-method", "OPTIONS"),
        ];
        let request = forged
            .into_iter()
            .fold(empty(method.clone(), path), |request, (name, value)| {
                with(request, name, value)
            });
        let response = stack.send(request).await;
        assert_eq!(response.status.as_u16(), expected, "{method} {path}");
    }
    let admitted = stack.service.requests();
    assert_eq!(admitted.len(), 4, "{admitted:?}");
    assert!(
        admitted
            .iter()
            .all(|received| received.header("x-codex-edge-client").is_empty())
    );
}

#[tokio::test]
async fn invalid_keys_above_the_limit_get_429_with_retry_after() {
    let limit = json!({"requests": 1, "window_ms": 60 * 60 * 1000});
    let limited = |options: EnvoyOptions| options.filter("unauthenticated_rate_limit", limit);
    let stack = NginxStack::start(limited, str::to_owned).await;
    let guess = || bearer(get("/service"), "a guess");
    assert_eq!(stack.send(guess()).await.status, StatusCode::UNAUTHORIZED);
    let response = stack.send(guess()).await;
    assert_eq!(response.status, StatusCode::TOO_MANY_REQUESTS);
    assert!((3590..=3600).contains(&response.header("retry-after").parse().unwrap()));
    let response = stack.send(bearer(get("/service"), KEY)).await;
    assert_eq!(
        response.status,
        StatusCode::OK,
        "a valid key is not affected by the limit for unauthenticated requests"
    );
}

#[tokio::test]
async fn unreachable_edge_is_answered_with_503() {
    let service = Upstream::start(Behavior::Echo);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Closes the port, so that nginx's connection to the edge is refused.
    drop(listener);
    let nginx = Nginx::start(address, &service.socket(), str::to_owned).await;
    let request = bearer(get("/service"), KEY);
    let response = nginx.connect().await.send(request).await.unwrap();
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(service.requests().is_empty());
}
