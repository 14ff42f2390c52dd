//! `/healthz`, `/livez`, `/readyz`, and `/__test/conc` for tests of a deployment.

use http::{Response, StatusCode};

use crate::api::response::{BoxedBody, json};
use crate::api::state::AppState;
use crate::openai::ApiError;

/// Returns the health document. The status is 200 as long as the sidecar serves, in every state of Codex.
pub(in crate::api) fn health(state: &AppState) -> Response<BoxedBody> {
    let health = serde_json::json!({
        "ok": true,
        "sandbox_mode": state.config.sandbox_mode.as_str(),
        "version": env!("CARGO_PKG_VERSION"),
        "codex": {
            "version": state.backend.version(),
            "protocol": state.backend.protocol().as_str(),
            "state": state.backend.readiness().as_str(),
            "login": state.backend.login().kind(),
        },
        "state": {
            "kind": state.config.state.kind(),
            "reachable": state.sinks.ledger.is_reachable(),
        },
    });
    json(StatusCode::OK, health.to_string())
}

/// Returns 200 once a child can take a turn.
///
/// # Errors
/// No child can.
pub(in crate::api) fn ready(state: &AppState) -> Result<Response<BoxedBody>, ApiError> {
    state.backend.readiness().check()?;
    Ok(json(StatusCode::OK, b"{\"ok\":true}".to_vec()))
}

/// Returns the number of running turns.
pub(in crate::api) fn concurrency(state: &AppState) -> Response<BoxedBody> {
    let turns = serde_json::json!({"conc": state.backend.status().turns});
    json(StatusCode::OK, turns.to_string())
}
