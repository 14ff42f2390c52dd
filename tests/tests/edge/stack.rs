//! What every test here starts with: an upstream, Envoy before it, and a key.
//! Follows OpenAI's error shape.

use serde_json::{Value, json};
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Body, BufferedResponse, Version, bearer, get, post};
use tests::upstream::{Behavior, Upstream, UpstreamRequest};

use http::Request;

/// The only key.
pub(crate) const KEY: &str = "a-key-of-the-edge-tests";
/// A path that needs a key and whose body the filter does not look into.
pub(crate) const GUARDED: &str = "/v1/usage";
/// A path that starts a turn, so that the filter looks for the model.
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// An echoing upstream and Envoy as it ships.
pub(crate) async fn start() -> (Upstream, Envoy) {
    start_with(Behavior::Echo, |options| options).await
}

/// An upstream that follows `script`, and Envoy with what `change` changes.
pub(crate) async fn start_with(
    script: Behavior,
    change: impl FnOnce(EnvoyOptions) -> EnvoyOptions,
) -> (Upstream, Envoy) {
    let upstream = Upstream::start(script);
    let envoy = Envoy::start(change(options(&upstream))).await;
    (upstream, envoy)
}

/// What makes a request of a table, which is sent more than once.
pub(crate) type MakeRequest<'a> = &'a dyn Fn() -> Request<Body>;

/// The filter in both ways in which an Envoy may load it: able to hold a head back until the body is known, and not.
pub(crate) struct Edges([(Upstream, Envoy); 2]);

impl Edges {
    /// Upstreams that follow `script`, and the Envoys with what `change` changes.
    pub(crate) async fn start(
        script: Behavior,
        change: impl Fn(EnvoyOptions) -> EnvoyOptions,
    ) -> Self {
        let holding = start_with(script.clone(), &change).await;
        let flowing = start_with(script, |options| {
            let key = "allow_on_headers_stop_iteration: ";
            change(options)
                .replace_in_filter(&format!("{key}true"), &format!("{key}false"))
                .filter("hold_headers", json!(false))
        });
        Self([holding, flowing.await])
    }

    /// Sends what `request` makes to each, over HTTP/1.1 and HTTP/2, and returns the answers once each is as
    /// `expected`: a status, with its code when it is an error.
    pub(crate) async fn check(
        &self,
        request: impl Fn() -> Request<Body>,
        expected: &str,
    ) -> Vec<BufferedResponse> {
        let mut answers = Vec::new();
        for (_, envoy) in &self.0 {
            for version in [Version::H1, Version::H2] {
                let answer = envoy.connect(version).await.send(request()).await;
                let answer = answer.unwrap_or_else(|error| panic!("{error}: {:?}", request()));
                assert_eq!(outcome(&answer), expected, "{version:?} {:?}", request());
                answers.push(answer);
            }
        }
        answers
    }

    /// Each upstream and its Envoy.
    pub(crate) fn each(&self) -> impl Iterator<Item = &(Upstream, Envoy)> {
        self.0.iter()
    }

    /// The requests that reached an upstream, of all.
    pub(crate) fn requests(&self) -> Vec<UpstreamRequest> {
        self.each()
            .flat_map(|(upstream, _)| upstream.requests())
            .collect()
    }
}

/// A status, with its code when it is an error.
fn outcome(answer: &BufferedResponse) -> String {
    let status = answer.status.as_u16();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match body["error"]["code"].as_str() {
        Some(code) => format!("{status} {code}"),
        None => status.to_string(),
    }
}

/// The shipped configuration in front of `upstream`, with the key.
pub(crate) fn options(upstream: &Upstream) -> EnvoyOptions {
    EnvoyOptions::new(upstream.socket()).env("PROXY_API_KEY", KEY)
}

/// `GET path` with the key.
pub(crate) fn keyed_get(path: &str) -> Request<Body> {
    bearer(get(path), KEY)
}

/// A chat request with the key.
pub(crate) fn chat() -> Request<Body> {
    bearer(
        post(
            CHAT,
            json!({"model": "codex-5", "messages": []}).to_string(),
        ),
        KEY,
    )
}

/// A raw request: `line`, the fields that every request has, `more` fields, then `body`.
pub(crate) fn raw_request(line: &str, more: &str, body: &str) -> Vec<u8> {
    let fields =
        format!("host: edge\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n{more}");
    format!("{line}\r\n{fields}\r\n{body}").into_bytes()
}

/// Asserts that `answer` is an error in OpenAI's shape, readable, traceable and nothing else; returns its `error`.
#[track_caller]
pub(crate) fn assert_error(
    answer: &BufferedResponse,
    status: u16,
    kind: &str,
    code: &str,
) -> Value {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert!(!answer.header("x-request-id").is_empty(), "{answer:?}");
    let mut body = answer.json();
    let error = body["error"].take();
    assert_eq!(body, json!({"error": null}), "nothing beside the error");
    let fields: Vec<_> = error
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(fields, ["code", "message", "param", "type"]);
    assert_eq!(
        (error["type"].as_str(), error["code"].as_str()),
        (Some(kind), Some(code))
    );
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|message| message.ends_with('.')),
        "{error}"
    );
    error
}
