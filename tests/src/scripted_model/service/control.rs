//! The control routes, by which a test in another process steers the model.
//! The docs of `scripted_model` list them.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::ModelState;
use crate::scripted_model::error::{ApiError, json_response};
use crate::scripted_model::script::Script;

/// Path prefix of the control routes.
pub(crate) const PREFIX: &str = "/__control/";

/// The body of `POST /__control/scripts`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ScriptCommand {
    /// Adds scripts to the queue; each is used for one request.
    Enqueue(Vec<Script>),
    /// Sets the script for requests without another one; null restores the demo response.
    Default(Box<Option<Script>>),
}

/// Handles a request to a control route.
pub(crate) fn respond(state: &ModelState, head: &Parts, body: &Bytes) -> Response<Full<Bytes>> {
    let route = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let result = match (&head.method, route) {
        (&Method::GET, "requests") => {
            let requests = state
                .log
                .requests()
                .iter()
                .map(|request| request.to_json())
                .collect::<Value>();
            return json_response(StatusCode::OK, &requests);
        }
        (&Method::DELETE, "requests") => {
            state.log.clear();
            Ok(())
        }
        (&Method::POST, "scripts") => apply(state, body),
        (&Method::DELETE, "scripts") => {
            state.scripts().clear();
            state.holds.clear();
            Ok(())
        }
        (&Method::DELETE, "only") => {
            state.serve_only(None);
            Ok(())
        }
        (&Method::POST, route) if route.starts_with("only/") => {
            state.serve_only(Some(route["only/".len()..].to_owned()));
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

fn apply(state: &ModelState, body: &[u8]) -> Result<(), ApiError> {
    let command = serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format!("Invalid script: {error}.")))?;
    let mut scripts = state.scripts();
    match command {
        ScriptCommand::Enqueue(queue) => scripts.queue.extend(queue),
        ScriptCommand::Default(default) => scripts.default = *default,
    }
    Ok(())
}
