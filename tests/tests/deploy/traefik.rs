//! The real Traefik before the edge, and before another service that the edge's keys guard.
//! Traefik's ForwardAuth, which asks `/verify`; follows `deploy/traefik/`.

use std::time::Duration;

use http::{Method, Request};
use tests::envoy::{Envoy, Options};
use tests::http::{Answer, Body, bearer, empty, get, post, with};
use tests::traefik::Traefik;
use tests::upstream::{Script, Upstream};

const KEY: &str = "a-key-of-the-deploy-tests";

/// A service, Traefik before it and before the edge.
struct Stack {
    service: Upstream,
    traefik: Traefik,
    /// What is behind the edge.
    sidecar: Upstream,
    _envoy: Envoy,
}

impl Stack {
    async fn start(sidecar: Script) -> Self {
        Self::try_start(sidecar, str::to_owned)
            .await
            .unwrap_or_else(|log| panic!("{log}"))
    }

    async fn try_start(sidecar: Script, change: impl Fn(&str) -> String) -> Result<Self, String> {
        let sidecar = Upstream::start(sidecar);
        let options = Options::new(sidecar.socket()).env("PROXY_API_KEY", KEY);
        let envoy = Envoy::start(options).await;
        let service = Upstream::start(Script::Echo);
        let traefik = Traefik::start(envoy.address(), &service.socket(), change).await?;
        Ok(Self {
            service,
            traefik,
            sidecar,
            _envoy: envoy,
        })
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.traefik.connect().await.send(request).await;
        answer.expect("Traefik answers")
    }
}

#[tokio::test]
async fn valid_key_reaches_the_service_with_the_client_header() {
    let stack = Stack::start(Script::Echo).await;
    for request in [
        get("/theirs?x=1"),
        post("/theirs", "a body"),
        with(get("/theirs"), "x-codex-edge-client", "forged"),
        with(get("/theirs"), "x_codex_edge_client", "forged"),
        empty(Method::DELETE, "/theirs/1"),
    ] {
        let (method, uri) = (request.method().clone(), request.uri().to_string());
        let answer = stack.send(bearer(request, KEY)).await;
        assert_eq!(answer.status.as_u16(), 200, "{method} {uri}");
        let seen = stack.service.seen().pop().expect("the service is asked");
        assert_eq!(
            (seen.head.method.clone(), seen.head.uri.to_string()),
            (method, uri)
        );
        assert_eq!(seen.header("x-codex-edge-client"), "default");
        assert_eq!(seen.header("x_codex_edge_client"), "");
        assert_eq!(seen.header("authorization"), "", "the key stays outside");
    }
    assert!(stack.sidecar.seen().is_empty());
}

#[tokio::test]
async fn unauthenticated_request_is_rejected_with_401() {
    let stack = Stack::start(Script::Echo).await;
    for request in [
        get("/theirs"),
        bearer(get("/theirs"), "wrong"),
        with(get("/theirs"), "x-codex-edge-client", "default"),
        // What the client says of itself is not what Traefik says of it.
        with(get("/theirs"), "x-forwarded-uri", "/healthz"),
        with(get("/theirs"), "x-forwarded-method", "OPTIONS"),
        get("/healthz/../theirs"),
        post("/healthz", ""),
    ] {
        let shown = format!("{request:?}");
        let answer = stack.send(request).await;
        assert_eq!(answer.status.as_u16(), 401, "{shown}");
        assert!(
            answer.header("www-authenticate").starts_with("Bearer"),
            "{shown}"
        );
    }
    assert!(stack.service.seen().is_empty());
    let open = with(get("/healthz"), "x-codex-edge-client", "forged");
    assert_eq!(stack.send(open).await.status.as_u16(), 200);
    assert_eq!(stack.service.seen()[0].header("x-codex-edge-client"), "");
}

#[tokio::test]
async fn stream_is_forwarded_event_by_event() {
    const EVERY: Duration = Duration::from_millis(300);
    let stack = Stack::start(Script::Events {
        count: 4,
        every: EVERY,
    });
    let stack = stack.await;
    let chat = post("/v1/chat/completions", r#"{"model":"codex-5"}"#);
    let chat = bearer(with(chat, "content-type", "application/json"), KEY);
    let mut client = stack.traefik.connect().await;
    let mut stream = client.stream(chat).await.expect("Traefik answers");
    let mut arrivals = Vec::new();
    while let Some(piece) = stream.next().await.expect("the stream ends well") {
        assert_eq!(piece.data, format!("data: {}\n\n", arrivals.len()));
        arrivals.push(piece.at);
    }
    assert_eq!(arrivals.len(), 4);
    for pair in arrivals.windows(2) {
        assert!(pair[1] - pair[0] > EVERY / 2, "events came together");
    }
}

#[tokio::test]
async fn traefik_rejects_unknown_fields() {
    for (field, typo) in [
        ("respondingTimeouts", "respondingTimeout"),
        ("trustForwardHeader", "trustHeader"),
    ] {
        let refused = Stack::try_start(Script::Echo, |text| text.replace(field, typo)).await;
        let log = refused.err().expect("Traefik refuses it");
        assert!(log.contains("field not found"), "{typo}: {log}");
    }
}
