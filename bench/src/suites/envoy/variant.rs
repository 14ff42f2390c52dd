//! The HTTP filters under comparison: none, Envoy's native filters, native filters with Lua, or codex-edge.
//!
//! The configurations follow Envoy's documentation of `cors`, `api_key_auth`, `local_ratelimit` and `lua`.

use std::path::PathBuf;

use anyhow::ensure;
use serde_json::json;
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Version, bearer, post};

use crate::client::KEY;
use crate::suites::stack::discard_access_log;

/// Requests per second. The filters count every request, and the load never reaches the limit.
const LIMIT: u32 = 1_000_000;

/// The HTTP filters before the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    /// No filter: Envoy forwards every request.
    None,
    /// CORS, API keys and rate limit by Envoy's native filters, which cannot check the model in a body.
    Native,
    /// CORS and rate limit by Envoy's native filters, API keys and models by Lua.
    Lua,
    /// The shipped filter with a rate limit.
    CodexEdge,
    /// The shipped filter with its default settings, which have no rate limit per client.
    WithoutRateLimit,
    /// The shipped filter without rate limit and CORS: API keys and models only.
    GateOnly,
}

impl Variant {
    /// The variants of the throughput comparison. `None` comes first, as the base of relative numbers.
    pub(super) const COMPARED: [Self; 4] = [Self::None, Self::Native, Self::Lua, Self::CodexEdge];

    /// The variants of the instruction counts, including those that show the parts of the filter.
    pub(super) const COUNTED: [Self; 6] = [
        Self::None,
        Self::Native,
        Self::Lua,
        Self::CodexEdge,
        Self::WithoutRateLimit,
        Self::GateOnly,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Native => "native, no model gate",
            Self::Lua => "native + Lua",
            Self::CodexEdge => "codex-edge",
            Self::WithoutRateLimit => "codex-edge, no rate limit",
            Self::GateOnly => "codex-edge, no rate limit, no CORS",
        }
    }

    pub(super) fn options(self, upstream: PathBuf) -> EnvoyOptions {
        let options = discard_access_log(EnvoyOptions::new(upstream)).env("PROXY_API_KEY", KEY);
        match self {
            Self::None => options.filters_instead(""),
            Self::Native => with_cors(options)
                .filters_instead(&[CORS, &api_key_auth(), &local_rate_limit()].concat()),
            Self::Lua => {
                with_cors(options).filters_instead(&[CORS, &lua(), &local_rate_limit()].concat())
            }
            Self::WithoutRateLimit => {
                listed_models(options).filter("unauthenticated_rate_limit", limit())
            }
            Self::GateOnly => listed_models(options)
                .filter("unauthenticated_rate_limit", limit())
                .filter("cors", json!({"enabled": false})),
            Self::CodexEdge => listed_models(options)
                .filter("rate_limit", limit())
                .filter("unauthenticated_rate_limit", limit()),
        }
    }

    /// Sends requests that the variant must reject: a filter that accepts every request would look fast.
    ///
    /// # Errors
    /// When a response has another status than this variant must give.
    pub(super) async fn check(self, envoy: &Envoy) -> anyhow::Result<()> {
        let (no_key, unknown_model) = match self {
            Self::None => (200, 200),
            Self::Native => (401, 200),
            Self::Lua | Self::CodexEdge | Self::WithoutRateLimit | Self::GateOnly => (401, 404),
        };
        let chat = |model: &str| post("/v1/chat/completions", json!({"model": model}).to_string());
        for (request, expected) in [
            (chat("codex-5"), no_key),
            (bearer(chat("gpt-4"), KEY), unknown_model),
            (bearer(chat("codex-5"), KEY), 200),
        ] {
            let mut client = envoy.connect(Version::H1).await;
            let status = client.send(request).await?.status.as_u16();
            ensure!(
                status == expected,
                "{self:?}: status {status}, expected {expected}"
            );
        }
        Ok(())
    }
}

/// Adds a list of models, so that each variant with a gate rejects the same model.
fn listed_models(options: EnvoyOptions) -> EnvoyOptions {
    options.filter("models", json!(["codex-5*", "codev-5*", "gpt-5"]))
}

fn limit() -> serde_json::Value {
    json!({"requests": LIMIT, "window_ms": 1000})
}

const CORS: &str = r#"          - name: envoy.filters.http.cors
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }
"#;

/// Adds the policy of the `cors` filter, which belongs to the virtual host.
fn with_cors(options: EnvoyOptions) -> EnvoyOptions {
    let place = "              request_body_buffer_limit: 16777216\n";
    let policy = r#"              typed_per_filter_config:
                envoy.filters.http.cors:
                  "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy
                  allow_origin_string_match: [{ safe_regex: { regex: ".*" } }]
                  allow_methods: GET, POST, DELETE, HEAD, OPTIONS
                  allow_headers: authorization, content-type
                  expose_headers: x-request-id, retry-after
                  allow_credentials: true
                  max_age: "600"
"#;
    options.replace(place, &format!("{place}{policy}"))
}

fn api_key_auth() -> String {
    format!(
        r#"          - name: envoy.filters.http.api_key_auth
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth
              credentials: [{{ key: {KEY}, client: default }}]
              key_sources: [{{ header: Authorization }}]
              forwarding: {{ header: x-codex-edge-client, hide_credentials: true }}
"#
    )
}

fn lua() -> String {
    // A JSON string is a YAML string, with quotes and line breaks escaped.
    let script = serde_json::Value::from(include_str!("gate.lua").replace("@KEY@", KEY));
    format!(
        r#"          - name: envoy.filters.http.lua
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              default_source_code: {{ inline_string: {script} }}
"#
    )
}

/// A rate limit with one bucket per client.
fn local_rate_limit() -> String {
    let bucket = format!("{{ max_tokens: {LIMIT}, tokens_per_fill: {LIMIT}, fill_interval: 1s }}");
    format!(
        r#"          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: bench
              token_bucket: {bucket}
              filter_enabled: {{ default_value: {{ numerator: 100 }} }}
              filter_enforced: {{ default_value: {{ numerator: 100 }} }}
              rate_limits: [{{ actions: [{{ request_headers: {{ header_name: x-codex-edge-client, descriptor_key: client }} }}] }}]
              descriptors: [{{ entries: [{{ key: client, value: default }}], token_bucket: {bucket} }}]
"#
    )
}
