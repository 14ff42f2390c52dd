//! The compiled filter in front of an upstream that accepts everything, in each form and with each setting of
//! `hold_headers`. The fields of its configuration are those of `filter/src/config`.

use serde_json::{Value, json};
use tests::filter_wasm::FilterBuild;
use tests::wasm_host::{
    Builder, Exchange, FilterModule, Host, Message, Outcome, Request, Responder, Response,
};

/// A key without restrictions, of the client `alice`.
pub(crate) const ALICE: &str = "Bearer sk-alice";

/// The body of the upstream's responses.
pub(crate) const UPSTREAM_BODY: &str = r#"{"from":"upstream"}"#;

/// Two keys, three models, no limits.
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

/// [`base`] with some fields replaced.
pub(crate) fn base_with(fields: Value) -> Value {
    let mut config = base();
    let (Value::Object(config_fields), Value::Object(fields)) = (&mut config, fields) else {
        panic!("both are objects");
    };
    config_fields.extend(fields);
    config
}

/// A host for the shipped filter, before it is started.
pub(crate) fn builder(config: &Value) -> Builder {
    builder_of(FilterBuild::Shipped, config)
}

/// A host for one form of the filter, before it is started.
pub(crate) fn builder_of(build: FilterBuild, config: &Value) -> Builder {
    let module = FilterModule::load(build.path()).expect("the filter loads");
    Host::builder(&module).config(config.to_string())
}

/// A host for the shipped filter; filter and host agree on `hold_headers`.
pub(crate) fn start(config: &Value, hold_headers: bool) -> Host {
    start_build(FilterBuild::Shipped, config, hold_headers)
}

/// A host for one form of the filter; filter and host agree on `hold_headers`.
pub(crate) fn start_build(build: FilterBuild, config: &Value, hold_headers: bool) -> Host {
    let mut config = config.clone();
    config["hold_headers"] = json!(hold_headers);
    builder_of(build, &config)
        .hold_headers(hold_headers)
        .start()
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The upstream: 200 with a JSON body.
pub(crate) fn upstream(_: &Message) -> Response {
    Response::ok()
        .header("content-type", "application/json")
        .body(UPSTREAM_BODY)
}

/// A POST that starts a turn, without a key.
pub(crate) fn chat(body: impl AsRef<[u8]>) -> Request {
    Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .body(body)
}

/// A POST of `alice` that starts a turn, with a valid body.
pub(crate) fn good_chat() -> Request {
    chat(r#"{"model":"codex-5","messages":[]}"#).header("authorization", ALICE)
}

/// The same configuration in four hosts: the filter as it ships and as cargo builds it, each without and with held headers.
pub(crate) struct Gateway(pub(crate) [Host; 4]);

impl Gateway {
    /// Starts the filter with this configuration.
    pub(crate) fn new(config: &Value) -> Self {
        let [shipped, built] = FilterBuild::ALL;
        Self(
            [
                (shipped, false),
                (shipped, true),
                (built, false),
                (built, true),
            ]
            .map(|(build, hold_headers)| start_build(build, config, hold_headers)),
        )
    }

    /// Sends a request to each host and compares its result with `status code`, or `forwarded`.
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

    /// Sends a request to each host.
    pub(crate) fn send(&mut self, request: Request) -> [Exchange; 4] {
        self.send_to(request, upstream)
    }

    /// Sends a request to each host, with this upstream.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a line of a table makes its request in place"
    )]
    pub(crate) fn send_to(
        &mut self,
        request: Request,
        mut upstream: impl FnMut(&Message) -> Response,
    ) -> [Exchange; 4] {
        self.0
            .each_mut()
            .map(|host| host.worker(0).exchange(request.clone(), &mut upstream))
    }
}

/// `forwarded`, or status and error code of the response that came instead, or the end without a response.
pub(crate) fn outcome(exchange: &Exchange) -> String {
    match &exchange.outcome {
        Outcome::Responded {
            responder,
            response,
        } => match responder {
            Responder::Upstream => "forwarded".to_owned(),
            Responder::Filter => format!("{} {}", response.status(), error_code(response)),
            Responder::Envoy(details) => format!("{} {details}", response.status()),
        },
        other => format!("{other:?}"),
    }
    .trim_end()
    .to_owned()
}

/// `error.code` of a body in OpenAI's error shape; empty if the body holds no error.
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
