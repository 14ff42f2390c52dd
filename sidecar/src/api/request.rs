//! The head of a request with the caller's identity.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::route::Route;
use super::state::AppState;
use crate::openai::ApiError;
use crate::openai::chat::ClientReasoning;
use crate::openai::models::ModelAccess;
use crate::store::ledger::{Budget, LimitStatus};
use crate::telemetry::otel::SpanParent;
use crate::turn::Profile;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_NO_KEEPALIVE: HeaderName = HeaderName::from_static("x-no-keepalive");

// Identity of the caller, set by the filter. The filter removes these headers from what the client sent.
pub(super) const EDGE_CLIENT: HeaderName = HeaderName::from_static("x-codex-edge-client");
const EDGE_PROFILE: HeaderName = HeaderName::from_static("x-codex-edge-profile");
const EDGE_MODELS: HeaderName = HeaderName::from_static("x-codex-edge-models");
const EDGE_BUDGET: HeaderName = HeaderName::from_static("x-codex-edge-budget");
const EDGE_ADMIN: HeaderName = HeaderName::from_static("x-codex-edge-admin");

/// The headers in which agents name a conversation; the first one that is present counts. Codex and others send
/// `session-id` or `session_id`, opencode `x-session-affinity`, Claude Code `x-claude-code-session-id`.
const SESSION_NAMES: [HeaderName; 5] = [
    HeaderName::from_static("session-id"),
    HeaderName::from_static("session_id"),
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-session-affinity"),
    HeaderName::from_static("x-claude-code-session-id"),
];

/// Longest recorded request id, in characters; the filter replaces a longer one with a new id.
const MAX_REQUEST_ID: usize = 128;

/// Limits for reading a body that its handler did not read, beyond `max_body_bytes`: a refused body is read and not kept.
/// A body beyond them costs the connection.
const UNREAD_BYTES: usize = 64 << 10;
const UNREAD_TIMEOUT: Duration = Duration::from_secs(1);

/// The head of a request, the route it matches, and its exported span.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestContext<'a> {
    pub(super) head: &'a Parts,
    pub(super) route: Route<'a>,
    /// The parent of the spans of turns; `None` if traces are not exported.
    pub(super) span: Option<&'a SpanParent>,
    /// The limits of the key, once its turn is reserved.
    pub(super) limits: &'a OnceLock<Vec<LimitStatus>>,
}

impl<'a> RequestContext<'a> {
    fn header(self, name: &HeaderName) -> Option<&'a str> {
        header(&self.head.headers, name)
    }

    /// Returns the client's name of the conversation, from the headers that agents send.
    pub(super) fn session_name(self) -> Option<&'a str> {
        let headers = &self.head.headers;
        SESSION_NAMES.iter().find_map(|name| header(headers, name))
    }

    /// Returns the id of the client; empty when the filter did not authenticate the request.
    pub(super) fn client(self) -> &'a str {
        self.header(&EDGE_CLIENT).unwrap_or_default()
    }

    /// Whether the filter authenticated a client.
    pub(super) fn is_authenticated(self) -> bool {
        self.head.headers.contains_key(EDGE_CLIENT)
    }

    /// Whether the caller's API key may read the usage of all clients.
    pub(super) fn is_admin(self) -> bool {
        self.header(&EDGE_ADMIN) == Some("true")
    }

    /// Returns the budget of the caller's API key, if it has one.
    ///
    /// # Errors
    /// 500 for a header that the filter of this version does not send: a budget that cannot be read admits no turn.
    pub(super) fn budget(self) -> Result<Option<Budget>, ApiError> {
        if !self.head.headers.contains_key(EDGE_BUDGET) {
            return Ok(None);
        }
        let budget = self.header(&EDGE_BUDGET).map(str::parse);
        budget.and_then(Result::ok).map(Some).ok_or_else(|| {
            ApiError::internal("The budget of this API key cannot be read; the operator must check that Envoy's filter and the sidecar have the same version.")
        })
    }

    /// Returns the request id, cut to `MAX_REQUEST_ID` characters.
    pub(super) fn request_id(self) -> String {
        let id = self.header(&X_REQUEST_ID).unwrap_or_default();
        id.chars().take(MAX_REQUEST_ID).collect()
    }

    /// Returns the profile of the caller's API key, or the deployment's default.
    pub(super) fn profile(self, state: &AppState) -> Profile {
        match self.header(&EDGE_PROFILE) {
            Some("agent") => Profile::Agent,
            Some("chat") => Profile::Chat,
            Some(_) | None => state.config.profile,
        }
    }

    /// Returns the models that the caller's API key may use.
    pub(super) fn models(self, state: &AppState) -> ModelAccess<'a> {
        // A header that cannot be read allows no model.
        let is_restricted = self.head.headers.contains_key(EDGE_MODELS);
        let patterns = is_restricted.then(|| self.header(&EDGE_MODELS).unwrap_or_default());
        ModelAccess::new(state.backend.catalogue(), patterns).required(state.config.require_model)
    }

    /// Returns the reasoning of the caller's earlier answers.
    pub(super) fn reasoning(self, state: &'a AppState) -> ClientReasoning<'a> {
        ClientReasoning {
            cache: &state.reasoning,
            client: self.client(),
        }
    }

    pub(super) fn query(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        form_urlencoded::parse(self.head.uri.query().unwrap_or_default().as_bytes())
    }

    /// Returns the keepalive interval of a stream. Some clients parse an SSE comment as an event: they can opt out,
    /// and those that cannot are recognised by their user agent.
    pub(super) fn keepalive(self, state: &AppState) -> Option<Duration> {
        let by_header = self.header(&X_NO_KEEPALIVE) == Some("1");
        let by_query = self
            .query()
            .any(|(name, value)| name == "no_keepalive" && value == "1");
        let agent = self
            .header(&USER_AGENT)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let by_agent = agent.contains("obsidian") || agent.contains("electron");
        if by_header || by_query || by_agent {
            None
        } else {
            state.config.keepalive
        }
    }

    /// Accepts a body with the media type `application/json` or without one.
    ///
    /// # Errors
    /// 415 for another media type.
    pub(super) fn check_media_type(self) -> Result<(), ApiError> {
        let Some(media_type) = self.head.headers.get(CONTENT_TYPE) else {
            return Ok(());
        };
        let essence = media_type
            .to_str()
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        if essence.trim().eq_ignore_ascii_case("application/json") {
            Ok(())
        } else {
            Err(ApiError::unsupported_media_type(
                "Unsupported `content-type`; send the body as application/json.",
            ))
        }
    }
}

/// Returns the value of a header; `None` when it is absent or not visible ASCII.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Reads the rest of a body that the handler did not read. The kernel resets a connection that is closed with unread
/// bytes, which may discard the response; Envoy would then report an unavailable upstream.
pub(super) async fn discard(state: &AppState, body: &mut Incoming) {
    let limit = state.config.max_body_bytes.saturating_add(UNREAD_BYTES);
    let mut rest = Limited::new(body, limit);
    let read = async { while let Some(Ok(_)) = rest.frame().await {} };
    // Beyond the limits the connection is lost; the response is sent all the same.
    timeout(UNREAD_TIMEOUT, read).await.ok();
}
