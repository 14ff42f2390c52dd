//! The compiled filter in front of an upstream that answers everything, in both ways an Envoy may be configured.
//! The configuration's fields are those of `filter/src/config`.

use serde_json::{Value, json};
use tests::filter_wasm::filter_wasm;
use tests::wasm_host::{
    Answerer, Builder, Exchange, FilterModule, Host, Message, Outcome, Request, Response,
};

/// A key without restrictions, of the client `alice`.
pub(crate) const ALICE: &str = "Bearer sk-alice";

/// What the upstream answers.
pub(crate) const UPSTREAM_BODY: &str = r#"{"from":"upstream"}"#;

/// Two keys, any model `codex-*`, no limits.
pub(crate) fn base() -> Value {
    json!({
        "keys": [
            {"id": "alice", "key": "sk-alice"},
            {"id": "bob", "key": "sk-bob", "models": ["codex-5*"], "admin": true, "profile": "agent"},
        ],
        "models": ["codex-5", "codex-5-low", "codex-6"],
        "default_model": "codex-5",
        "rate_limit": {"enabled": false},
        "unauthenticated_rate_limit": {"enabled": false},
    })
}

/// [`base`] with these fields in the place of its own.
pub(crate) fn base_with(fields: Value) -> Value {
    let mut config = base();
    let (Value::Object(config_fields), Value::Object(fields)) = (&mut config, fields) else {
        panic!("both are objects");
    };
    config_fields.extend(fields);
    config
}

/// A host for the filter, before it is started.
pub(crate) fn builder(config: &Value) -> Builder {
    let module = FilterModule::load(filter_wasm()).expect("the filter loads");
    Host::builder(&module).config(config.to_string())
}

/// A host in one of the two modes; filter and host agree on it.
pub(crate) fn start(config: &Value, hold_headers: bool) -> Host {
    let mut config = config.clone();
    config["hold_headers"] = json!(hold_headers);
    let host = builder(&config).hold_headers(hold_headers).start();
    host.unwrap_or_else(|error| panic!("{error}"))
}

/// What the upstream answers to anything.
pub(crate) fn upstream(_: &Message) -> Response {
    Response::ok()
        .header("content-type", "application/json")
        .body(UPSTREAM_BODY)
}

/// A POST that starts a turn.
pub(crate) fn chat(body: impl AsRef<[u8]>) -> Request {
    Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .body(body)
}

/// The same, by `alice`, with a body that is fine.
pub(crate) fn good_chat() -> Request {
    chat(r#"{"model":"codex-5","messages":[]}"#).header("authorization", ALICE)
}

/// One filter, started in both modes: streamed heads first, then held ones.
pub(crate) struct Gateway(pub(crate) [Host; 2]);

impl Gateway {
    /// Starts the filter with this configuration.
    pub(crate) fn new(config: &Value) -> Self {
        Self([false, true].map(|hold_headers| start(config, hold_headers)))
    }

    /// Sends a request in both modes and compares what came of it with `status code`, or `forwarded`.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a line of a table makes its request in place"
    )]
    pub(crate) fn check(&mut self, request: Request, expected: &str) {
        for exchange in self.send(request.clone()) {
            assert_eq!(outcome(&exchange), expected, "{request:?}");
        }
    }

    /// Sends a request in both modes.
    pub(crate) fn send(&mut self, request: Request) -> [Exchange; 2] {
        self.send_to(request, upstream)
    }

    /// Sends a request in both modes to this upstream.
    pub(crate) fn send_to(
        &mut self,
        request: Request,
        mut upstream: impl FnMut(&Message) -> Response,
    ) -> [Exchange; 2] {
        let [streamed, held] = &mut self.0;
        [
            streamed.worker(0).exchange(request.clone(), &mut upstream),
            held.worker(0).exchange(request, upstream),
        ]
    }
}

/// `forwarded`, or the status and the error's code of whoever answered instead, or how it ended without an answer.
pub(crate) fn outcome(exchange: &Exchange) -> String {
    match &exchange.outcome {
        Outcome::Answered { answerer, response } => match answerer {
            Answerer::Upstream => "forwarded".to_owned(),
            Answerer::Filter => format!("{} {}", response.status(), error_code(response)),
            Answerer::Envoy(details) => format!("{} {details}", response.status()),
        },
        other => format!("{other:?}"),
    }
    .trim_end()
    .to_owned()
}

/// `error.code`, after a look at the whole shape; empty when the body holds no error.
fn error_code(response: &Message) -> String {
    let body: Value = serde_json::from_slice(&response.body()).unwrap_or_default();
    let Some(error) = body.get("error").and_then(Value::as_object) else {
        return String::new();
    };
    let mut fields: Vec<_> = error.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        ["code", "message", "param", "type"],
        "OpenAI's error shape"
    );
    let content_type = response.headers.text("content-type");
    assert_eq!(
        content_type.as_deref(),
        Some("application/json; charset=utf-8")
    );
    error["code"].as_str().unwrap_or_default().to_owned()
}
