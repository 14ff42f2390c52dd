//! The real Traefik before the edge, and before another service that the edge's keys guard.
//! Traefik's ForwardAuth, which asks `/verify`; follows `deploy/traefik/`.

use std::time::Duration;

use http::{Method, Request};
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Body, BufferedResponse, bearer, empty, get, post, with};
use tests::traefik::Traefik;
use tests::upstream::{Behavior, Upstream};

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
        let answer = self.traefik.connect().await.send(request).await;
        answer.expect("Traefik answers")
    }
}

#[tokio::test]
async fn a_key_opens_the_service_which_learns_who_calls() {
    let stack = Stack::start(Behavior::Echo).await;
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
        let seen = stack
            .service
            .requests()
            .pop()
            .expect("the service is asked");
        assert_eq!(
            (seen.head.method.clone(), seen.head.uri.to_string()),
            (method, uri)
        );
        assert_eq!(seen.header("x-codex-edge-client"), "default");
        assert_eq!(seen.header("x_codex_edge_client"), "");
        assert_eq!(seen.header("authorization"), "", "the key stays outside");
    }
    assert!(stack.sidecar.requests().is_empty());
}

#[tokio::test]
async fn a_stranger_is_turned_away() {
    let stack = Stack::start(Behavior::Echo).await;
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
    assert!(stack.service.requests().is_empty());
    let open = with(get("/healthz"), "x-codex-edge-client", "forged");
    assert_eq!(stack.send(open).await.status.as_u16(), 200);
    assert_eq!(
        stack.service.requests()[0].header("x-codex-edge-client"),
        ""
    );
}

#[tokio::test]
async fn a_stream_of_the_edge_passes_piece_by_piece() {
    const EVERY: Duration = Duration::from_millis(300);
    let stack = Stack::start(Behavior::Events {
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
async fn traefik_refuses_what_it_does_not_know() {
    for (field, typo) in [
        ("respondingTimeouts", "respondingTimeout"),
        ("trustForwardHeader", "trustHeader"),
    ] {
        let refused = Stack::try_start(Behavior::Echo, |text| text.replace(field, typo)).await;
        let log = refused.err().expect("Traefik refuses it");
        assert!(log.contains("field not found"), "{typo}: {log}");
    }
}
