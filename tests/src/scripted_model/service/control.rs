//! The control routes: what a test in another process does to the model.
//! They are listed in the docs of the parent module.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::State;
use crate::scripted_model::error::{ApiError, json_response};
use crate::scripted_model::script::Script;

/// Where the control routes begin.
pub(crate) const PREFIX: &str = "/__control/";

/// The body of `POST /__control/scripts`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ScriptOrder {
    /// Each of these answers one request.
    Enqueue(Vec<Script>),
    /// Answers all requests that nothing else is there for; null is the demo answer again.
    Default(Box<Option<Script>>),
}

/// Answers a request to a control route.
pub(crate) fn answer(state: &State, head: &Parts, body: &Bytes) -> Response<Full<Bytes>> {
    let route = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let result = match (&head.method, route) {
        (&Method::GET, "requests") => {
            let requests = state.log.requests();
            let requests = requests.iter().map(|request| request.to_json());
            return json_response(StatusCode::OK, &requests.collect::<Value>());
        }
        (&Method::DELETE, "requests") => {
            state.log.clear();
            Ok(())
        }
        (&Method::POST, "scripts") => order(state, body),
        (&Method::DELETE, "scripts") => {
            state.scripts().clear();
            state.holds.clear();
            Ok(())
        }
        (&Method::POST, route) if route.starts_with("release/") => {
            state.holds.release(&route["release/".len()..]);
            Ok(())
        }
        _ => Err(ApiError::unknown_url(&head.method, head.uri.path())),
    };
    match result {
        Ok(()) => json_response(StatusCode::OK, &json!({"ok": true})),
        Err(error) => error.response(),
    }
}

fn order(state: &State, body: &[u8]) -> Result<(), ApiError> {
    let order = serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(None, format!("Bad script: {error}.")))?;
    let mut scripts = state.scripts();
    match order {
        ScriptOrder::Enqueue(queue) => scripts.queue.extend(queue),
        ScriptOrder::Default(default) => scripts.default = *default,
    }
    Ok(())
}
