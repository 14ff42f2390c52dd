//! The real Traefik in front of the edge, and in front of another service that the edge's API keys protect: Traefik's
//! ForwardAuth middleware sends a subrequest to `/verify`. Follows `deploy/traefik/`.

use std::time::Duration;

use http::{Method, Request};
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Body, BufferedResponse, bearer, empty, get, post, with};
use tests::traefik::Traefik;
use tests::upstream::{Behavior, Upstream};

const KEY: &str = "a-key-of-the-deploy-tests";

/// A service and the edge, with Traefik in front of both.
struct TraefikStack {
    service: Upstream,
    traefik: Traefik,
    /// The upstream of the edge.
    sidecar: Upstream,
    _envoy: Envoy,
}

impl TraefikStack {
    async fn start(sidecar: Behavior) -> Self {
        Self::try_start(sidecar, str::to_owned)
            .await
            .unwrap_or_else(|log| panic!("{log}"))
    }

    async fn try_start(sidecar: Behavior, change: impl Fn(&str) -> String) -> Result<Self, String> {
        let sidecar = Upstream::start(sidecar);
        let options = EnvoyOptions::new(sidecar.socket()).env("PROXY_API_KEY", KEY);
        let envoy = Envoy::start(options).await;
        let service = Upstream::start(Behavior::Echo);
        let traefik = Traefik::start(envoy.address(), &service.socket(), change).await?;
        Ok(Self {
            service,
            traefik,
            sidecar,
            _envoy: envoy,
        })
    }

    async fn send(&self, request: Request<Body>) -> BufferedResponse {
        let mut client = self.traefik.connect().await;
        client.send(request).await.expect("Traefik answers")
    }
}

#[tokio::test]
async fn valid_key_reaches_the_service_with_the_client_header() {
    let stack = TraefikStack::start(Behavior::Echo).await;
    for request in [
        get("/service?x=1"),
        post("/service", "a body"),
        with(get("/service"), "x-codex-edge-client", "forged"),
        with(get("/service"), "x_codex_edge_client", "forged"),
        empty(Method::DELETE, "/service/1"),
    ] {
        let (method, uri) = (request.method().clone(), request.uri().to_string());
        let response = stack.send(bearer(request, KEY)).await;
        assert_eq!(response.status.as_u16(), 200, "{method} {uri}");
        let received = stack.service.requests().pop().expect("Traefik forwards it");
        assert_eq!(
            (received.head.method.clone(), received.head.uri.to_string()),
            (method, uri)
        );
        assert_eq!(received.header("x-codex-edge-client"), "default");
        assert_eq!(received.header("x_codex_edge_client"), "");
        assert_eq!(
            received.header("authorization"),
            "",
            "Traefik removes the key"
        );
    }
    assert!(stack.sidecar.requests().is_empty());
}

#[tokio::test]
async fn unauthenticated_request_is_rejected_with_401() {
    let stack = TraefikStack::start(Behavior::Echo).await;
    for request in [
        get("/service"),
        bearer(get("/service"), "wrong"),
        with(get("/service"), "x-codex-edge-client", "default"),
        // Traefik replaces these headers of the client.
        with(get("/service"), "x-forwarded-uri", "/healthz"),
        with(get("/service"), "x-forwarded-method", "OPTIONS"),
        get("/healthz/../service"),
        post("/healthz", ""),
    ] {
        let description = format!("{request:?}");
        let response = stack.send(request).await;
        assert_eq!(response.status.as_u16(), 401, "{description}");
        assert!(
            response.header("www-authenticate").starts_with("Bearer"),
            "{description}"
        );
    }
    assert!(stack.service.requests().is_empty());
    let public = with(get("/healthz"), "x-codex-edge-client", "forged");
    assert_eq!(stack.send(public).await.status.as_u16(), 200);
    assert_eq!(
        stack.service.requests()[0].header("x-codex-edge-client"),
        ""
    );
}

#[tokio::test]
async fn stream_is_forwarded_event_by_event() {
    const EVERY: Duration = Duration::from_millis(300);
    let stack = TraefikStack::start(Behavior::Events {
        count: 4,
        every: EVERY,
    })
    .await;
    let chat = bearer(
        with(
            post("/v1/chat/completions", r#"{"model":"codex-5"}"#),
            "content-type",
            "application/json",
        ),
        KEY,
    );
    let mut client = stack.traefik.connect().await;
    let mut stream = client.stream(chat).await.expect("Traefik answers");
    let mut arrivals = Vec::new();
    while let Some(chunk) = stream.next().await.expect("the stream is not aborted") {
        assert_eq!(chunk.data, format!("data: {}\n\n", arrivals.len()));
        arrivals.push(chunk.at);
    }
    assert_eq!(arrivals.len(), 4);
    for pair in arrivals.windows(2) {
        assert!(pair[1] - pair[0] > EVERY / 2, "events were batched");
    }
}

#[tokio::test]
async fn traefik_rejects_unknown_fields() {
    for (field, typo) in [
        ("respondingTimeouts", "respondingTimeout"),
        ("trustForwardHeader", "trustHeader"),
    ] {
        let result =
            TraefikStack::try_start(Behavior::Echo, |text| text.replace(field, typo)).await;
        let log = result.err().expect("Traefik rejects the file");
        assert!(log.contains("field not found"), "{typo}: {log}");
    }
}
