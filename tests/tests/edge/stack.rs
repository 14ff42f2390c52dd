//! The stack under test: an upstream, Envoy in front of it, and one API key. Also assertions on OpenAI's error shape.

use serde_json::{Value, json};
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Body, BufferedResponse, Version, bearer, get, post};
use tests::upstream::{Behavior, Upstream, UpstreamRequest};

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// The only API key.
pub(crate) const KEY: &str = "a-key-of-the-edge-tests";
/// A path that requires a key; the filter does not read the request body.
pub(crate) const GUARDED: &str = "/v1/usage";
/// A path that starts a turn; the filter reads the model from the request body.
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// Starts an echoing upstream and Envoy with the shipped configuration.
pub(crate) async fn start() -> (Upstream, Envoy) {
    start_with(Behavior::Echo, |options| options).await
}

/// Adds a list of models, so that the filter itself rejects the others.
pub(crate) fn listed_models(options: EnvoyOptions) -> EnvoyOptions {
    options
        .filter("models", json!(["codex-5*", "codev-5*", "gpt-5"]))
        .filter("default_model", json!("gpt-5"))
}

/// Starts an upstream that follows `script`, and Envoy with the options that `change` returns.
pub(crate) async fn start_with(
    script: Behavior,
    change: impl FnOnce(EnvoyOptions) -> EnvoyOptions,
) -> (Upstream, Envoy) {
    let upstream = Upstream::start(script);
    let envoy = Envoy::start(change(options(&upstream))).await;
    (upstream, envoy)
}

/// A constructor of a request in a table of cases; the request is sent more than once.
pub(crate) type MakeRequest<'a> = &'a dyn Fn() -> Request<Body>;

/// The edge in both modes of the filter: with `allow_on_headers_stop_iteration`, in which the filter can hold the
/// request head until the body is known, and without.
pub(crate) struct Edges([(Upstream, Envoy); 2]);

impl Edges {
    /// Starts both modes with upstreams that follow `script` and the options that `change` returns.
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

    /// Sends `request` to each edge over HTTP/1.1 and HTTP/2, asserts that every response is `expected` (a status,
    /// followed by the error code if there is one), and returns the responses.
    pub(crate) async fn check(
        &self,
        request: impl Fn() -> Request<Body>,
        expected: &str,
    ) -> Vec<BufferedResponse> {
        let mut responses = Vec::new();
        for (_, envoy) in &self.0 {
            for version in [Version::H1, Version::H2] {
                let mut client = envoy.connect(version).await;
                let response = client
                    .send(request())
                    .await
                    .unwrap_or_else(|error| panic!("{error}: {:?}", request()));
                assert_eq!(outcome(&response), expected, "{version:?} {:?}", request());
                responses.push(response);
            }
        }
        responses
    }

    /// Returns each upstream with its Envoy.
    pub(crate) fn each(&self) -> impl Iterator<Item = &(Upstream, Envoy)> {
        self.0.iter()
    }

    /// Returns the requests that reached either upstream.
    pub(crate) fn requests(&self) -> Vec<UpstreamRequest> {
        self.each()
            .flat_map(|(upstream, _)| upstream.requests())
            .collect()
    }
}

/// Returns the status of a response, followed by the error code if there is one.
fn outcome(response: &BufferedResponse) -> String {
    let status = response.status.as_u16();
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    match body["error"]["code"].as_str() {
        Some(code) => format!("{status} {code}"),
        None => status.to_string(),
    }
}

/// Returns the options of an Envoy with the shipped configuration, `upstream` and the API key.
pub(crate) fn options(upstream: &Upstream) -> EnvoyOptions {
    EnvoyOptions::new(upstream.socket()).env("PROXY_API_KEY", KEY)
}

/// Returns `GET path` with the API key.
pub(crate) fn keyed_get(path: &str) -> Request<Body> {
    bearer(get(path), KEY)
}

/// Returns a chat request with the API key.
pub(crate) fn chat() -> Request<Body> {
    bearer(
        post(
            CHAT,
            json!({"model": "codex-5", "messages": []}).to_string(),
        ),
        KEY,
    )
}

/// Returns Envoy's response to a request that the sidecar answers with something that is not HTTP.
pub(crate) async fn from_malformed_sidecar(request: Request<Body>) -> BufferedResponse {
    let dir = tempfile::tempdir().expect("the temporary folder is writable");
    let socket = dir.path().join("malformed.sock");
    let listener = UnixListener::bind(&socket).expect("the socket is free");
    let respond_malformed = async {
        let (mut stream, _) = listener.accept().await.expect("Envoy connects");
        // Any part of the request will do; the length does not matter.
        let _ = stream
            .read(&mut [0; 4096])
            .await
            .expect("a request arrives");
        let sent = stream.write_all(b"what?\r\n\r\n").await;
        sent.expect("Envoy reads the response");
    };
    let envoy = Envoy::start(EnvoyOptions::new(socket).env("PROXY_API_KEY", KEY)).await;
    let mut client = envoy.connect(Version::H1).await;
    let (response, ()) = tokio::join!(client.send(request), respond_malformed);
    response.expect("a response arrives")
}

/// Returns a raw HTTP/1 request: `line`, the common headers, the header lines in `more`, then `body`.
pub(crate) fn raw_request(line: &str, more: &str, body: &str) -> Vec<u8> {
    let headers =
        format!("host: edge\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n{more}");
    format!("{line}\r\n{headers}\r\n{body}").into_bytes()
}

/// Asserts that `response` is an error in OpenAI's shape: a JSON body with only `error`, its four fields, and a request
/// id. Returns the `error` object.
#[track_caller]
pub(crate) fn assert_error(
    response: &BufferedResponse,
    status: u16,
    kind: &str,
    code: &str,
) -> Value {
    assert_eq!(response.status.as_u16(), status, "{response:?}");
    assert_eq!(
        response.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert!(!response.header("x-request-id").is_empty(), "{response:?}");
    let mut body = response.json();
    let error = body["error"].take();
    assert_eq!(body, json!({"error": null}), "`error` is the only field");
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
