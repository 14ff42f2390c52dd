//! Method and path -> dialect; who calls, the body's limit, the request's span and its line in the log.
//! The table of routes is the contract's section 2.

use std::borrow::Cow;
use std::convert::Infallible;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, info_span};

use super::route::Route;
use crate::api::access_log::{AccessLog, Followed, LogClass};
use crate::api::{TurnInfo, TurnRecorder, UsageSinks};
use crate::codex::Backend;
use crate::config::Config;
use crate::openai::models::ModelAccess;
use crate::openai::{ApiError, Delivery, Ignored, Reply, chat, completions, event_stream};
use crate::store::ResponseStore;
use crate::store::{ReasoningCache, ReasoningCollector};
use crate::telemetry::metrics::{Codex, Now};
use crate::telemetry::trace_context::trace_id;
use crate::turn::{ClientTurn, Profile, Timers, TruncationRules, TurnRequest, Usage};

/// A body that is whole or a stream.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const X_NO_KEEPALIVE: HeaderName = HeaderName::from_static("x-no-keepalive");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// What the filter knows of the caller; the filter removes what a client sends under these names.
pub(super) const EDGE_CLIENT: HeaderName = HeaderName::from_static("x-codex-edge-client");
const EDGE_PROFILE: HeaderName = HeaderName::from_static("x-codex-edge-profile");
const EDGE_MODELS: HeaderName = HeaderName::from_static("x-codex-edge-models");
/// How much of the Codex plan is used up.
const EDGE_PLAN: HeaderName = HeaderName::from_static("x-codex-edge-plan");
/// Fields of the request that were read and not honoured.
const EDGE_IGNORED: HeaderName = HeaderName::from_static("x-codex-edge-ignored");

/// Characters of a request id that are recorded; the filter lets no longer one through.
const MAX_REQUEST_ID: usize = 128;

/// What of a body that no route reads is waited for: more bytes, or later ones, are worth no connection.
const UNREAD_BYTES: usize = 64 << 10;
const UNREAD_WAIT: Duration = Duration::from_secs(1);

/// What answers requests.
#[derive(Debug)]
pub struct Routes {
    pub(super) config: Config,
    pub(super) backend: Backend,
    pub(super) background: TaskTracker,
    pub(super) recall: Arc<ReasoningCache>,
    pub(super) responses: Arc<ResponseStore>,
    pub(super) books: UsageSinks,
}

impl Routes {
    /// Routes to the children of `backend`; turns without a client go on in `background`.
    pub fn new(
        config: Config,
        backend: Backend,
        background: TaskTracker,
        books: UsageSinks,
    ) -> Self {
        Self {
            responses: Arc::new(ResponseStore::new(config.responses)),
            config,
            backend,
            background,
            recall: Arc::default(),
            books,
        }
    }

    /// Answers one request. Dropping the future, or the body of its answer, is the client leaving.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Followed<Body>> {
        let (head, mut body) = request.into_parts();
        let span = info_span!(
            "request",
            id = text(&head.headers, &X_REQUEST_ID).unwrap_or("-"),
            client = text(&head.headers, &EDGE_CLIENT).unwrap_or("-"),
            method = %head.method,
            path = head.uri.path(),
            trace_id = text(&head.headers, &TRACEPARENT).and_then(trace_id),
            code = tracing::field::Empty,
        );
        let route = Route::of(&head.method, head.uri.path());
        let importance = match route {
            Route::Health | Route::Live | Route::Ready => LogClass::Probe,
            _ => LogClass::Request,
        };
        let metrics = Arc::clone(&self.books.metrics);
        let line = AccessLog::new(span.clone(), importance, metrics, route.pattern());
        async move {
            let answered = self.dispatch(&head, &mut body).await;
            discard(&mut body).await;
            let mut response = answered.unwrap_or_else(|error| error_response(&error));
            response.headers_mut().extend(request_id(&head));
            if head.method == Method::POST {
                response.headers_mut().extend(self.plan());
            }
            line.follow(response)
        }
        .instrument(span)
        .await
    }

    pub(super) async fn dispatch(
        &self,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<Response<Body>, ApiError> {
        match Route::of(&head.method, head.uri.path()) {
            Route::Health | Route::Live => Ok(json(StatusCode::OK, self.health())),
            Route::Ready => self.ready(),
            Route::Models => Ok(self.cached(head, self.models(head).list())),
            Route::Model(id) => Ok(self.cached(head, self.models(head).one(id)?)),
            Route::Chat | Route::Completions | Route::Responses if head.method == Method::HEAD => {
                Ok(json(StatusCode::OK, Vec::new()))
            }
            Route::Chat => self.chat(head, body).await,
            Route::Completions => self.completions(head, body).await,
            Route::Responses => self.respond(head, body).await,
            Route::Response(id) => self.stored_response(head, id),
            Route::InputItems(id) => self.input_items(head, id),
            Route::Cancel(id) => self.cancel(head, id).await,
            Route::Usage => self.usage(head).await,
            Route::UsageRecords => self.usage_records(head).await,
            Route::Concurrency if self.config.test_endpoints => {
                Ok(json(StatusCode::OK, self.concurrency()))
            }
            Route::OtherVerb(allow) => {
                Err(ApiError::method_not_allowed(head.method.as_str(), allow))
            }
            Route::Options => Ok(options()),
            Route::Concurrency | Route::Unknown => {
                Err(ApiError::unknown_url(head.method.as_str(), head.uri.path()))
            }
        }
    }

    /// What happens now, for metrics and the status page.
    pub fn now(&self) -> Now {
        Now {
            status: self.backend.status(),
            readiness: self.backend.readiness(),
            plan: self.backend.rate_limits(),
        }
    }

    /// All counters and gauges as text.
    pub fn metrics(&self) -> String {
        self.books.metrics.expose(&self.now(), self.codex())
    }

    /// What is behind it.
    pub fn codex(&self) -> Codex<'_> {
        Codex {
            version: self.backend.version(),
            protocol: self.backend.protocol().as_str(),
        }
    }

    pub(super) fn health(&self) -> Vec<u8> {
        let health = serde_json::json!({
            "ok": true,
            "sandbox_mode": self.config.sandbox_mode.as_str(),
            "version": env!("CARGO_PKG_VERSION"),
            "codex": {"version": self.backend.version(), "protocol": self.backend.protocol().as_str(), "state": self.backend.readiness().as_str()},
        });
        health.to_string().into_bytes()
    }

    /// How many turns run.
    pub(super) fn concurrency(&self) -> Vec<u8> {
        let turns = serde_json::json!({"conc": self.backend.status().turns});
        turns.to_string().into_bytes()
    }

    pub(super) fn ready(&self) -> Result<Response<Body>, ApiError> {
        self.backend.readiness().check()?;
        Ok(json(StatusCode::OK, b"{\"ok\":true}".to_vec()))
    }

    pub(super) fn models<'a>(&'a self, head: &'a Parts) -> ModelAccess<'a> {
        let patterns = text(&head.headers, &EDGE_MODELS);
        ModelAccess::new(&self.config.catalogue, patterns).required(self.config.require_model)
    }

    /// The profile of the caller's key, which the filter knows, or the deployment's own.
    pub(super) fn profile(&self, head: &Parts) -> Profile {
        match text(&head.headers, &EDGE_PROFILE) {
            Some("agent") => Profile::Agent,
            Some("chat") => Profile::Chat,
            Some(_) | None => self.config.profile,
        }
    }

    /// A list that depends on the key must not be kept for others.
    pub(super) fn cached(&self, head: &Parts, body: Vec<u8>) -> Response<Body> {
        let personal = self.config.protect_models || head.headers.contains_key(EDGE_CLIENT);
        let mut response = json(StatusCode::OK, body);
        response.headers_mut().insert(
            CACHE_CONTROL,
            HeaderValue::from_static(if personal {
                "private"
            } else {
                "public, max-age=60"
            }),
        );
        response
    }

    pub(super) async fn chat(
        &self,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<Response<Body>, ApiError> {
        let body = self.read_body(head, body).await?;
        let client = text(&head.headers, &EDGE_CLIENT).unwrap_or_default();
        let recall = |call_id: &str| self.recall.for_call(client, call_id);
        let (turn, mut reply) =
            chat::parse(&body, &self.models(head), self.profile(head), &recall)?;
        drop(body);
        self.check_prompt(reply.prompt_chars, "messages")?;
        reply.cut.tools = self.config.tool_tail;
        let turn = self.begin_reply(head, turn, &reply).await?;
        let listener = ReasoningCollector::new(Arc::clone(&self.recall), client.to_owned());
        let mut response = match reply.delivery {
            Delivery::Buffered => {
                json(StatusCode::OK, chat::collect(&reply, turn, listener).await?)
            }
            Delivery::Stream { .. } => {
                let chunks = chat::ChunkWriter::new(&reply, listener);
                stream(event_stream(turn, chunks, self.keepalive(head)))
            }
        };
        response.headers_mut().extend(ignored(&reply.ignored));
        Ok(response)
    }

    pub(super) async fn completions(
        &self,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<Response<Body>, ApiError> {
        let body = self.read_body(head, body).await?;
        let (turn, mut reply, echo) =
            completions::parse(&body, &self.models(head), self.profile(head))?;
        drop(body);
        self.check_prompt(reply.prompt_chars, "prompt")?;
        reply.cut.tools = self.config.tool_tail;
        let turn = self.begin_reply(head, turn, &reply).await?;
        let mut response = match reply.delivery {
            Delivery::Buffered => json(
                StatusCode::OK,
                completions::collect(&reply, echo, turn).await?,
            ),
            Delivery::Stream { .. } => {
                let chunks = completions::ChunkWriter::new(&reply, echo);
                stream(event_stream(turn, chunks, self.keepalive(head)))
            }
        };
        response.headers_mut().extend(ignored(&reply.ignored));
        Ok(response)
    }

    pub(super) fn plan(&self) -> Option<(HeaderName, HeaderValue)> {
        let field = HeaderValue::from_str(&self.backend.rate_limits().to_header_value()?).ok()?;
        Some((EDGE_PLAN, field))
    }

    /// Holds a prompt against the operator's own limit, before it takes a slot; `param` is where it stands.
    pub(super) fn check_prompt(&self, chars: usize, param: &str) -> Result<(), ApiError> {
        let Some(max) = self.config.max_prompt_tokens.map(NonZeroU64::get) else {
            return Ok(());
        };
        match Usage::estimate(chars, 0).input_tokens {
            tokens if tokens > max => Err(ApiError::prompt_too_long(tokens, max).at(param)),
            _ => Ok(()),
        }
    }

    /// Begins the turn of a chat or a completion.
    pub(super) async fn begin_reply(
        &self,
        head: &Parts,
        turn: TurnRequest,
        reply: &Reply,
    ) -> Result<ClientTurn, ApiError> {
        let stream = matches!(reply.delivery, Delivery::Stream { .. });
        let entry = TurnInfo {
            stream,
            status_sent_early: stream,
            ..entry(head, &turn, &reply.model_id, reply.prompt_chars)
        };
        self.begin(turn, reply.delivery, &reply.cut, entry).await
    }

    /// Begins a turn that ends with its client, or does not, as the operator wants it.
    pub(super) async fn begin(
        &self,
        turn: TurnRequest,
        delivery: Delivery,
        cut: &TruncationRules,
        entry: TurnInfo,
    ) -> Result<ClientTurn, ApiError> {
        let account = TurnRecorder::open(self.books.clone(), entry);
        let begun = self.backend.begin(turn, self.timers(delivery)).await;
        let turn = match begun.map_err(ApiError::from) {
            Ok(turn) => turn,
            Err(error) => {
                account.refuse(&error);
                return Err(error);
            }
        };
        let background = (!self.config.kill_on_disconnect).then(|| self.background.clone());
        Ok(ClientTurn::new(turn, background, cut, Box::new(account)))
    }

    pub(super) async fn read_body(
        &self,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<Bytes, ApiError> {
        check_media_type(&head.headers)?;
        let limit = self.config.max_body_bytes;
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(ApiError::body_too_large(limit)),
            Err(_broken_off) => Err(ApiError::body_incomplete()),
        }
    }

    pub(super) fn timers(&self, delivery: Delivery) -> Timers {
        let timers = self.config.timers;
        Timers {
            request: timers.request,
            first_sign: timers.first_sign,
            silence: match delivery {
                Delivery::Stream { .. } => timers.streamed_silence,
                Delivery::Buffered => timers.gathered_silence,
            },
        }
    }

    /// Some clients take a comment for an event; they can say so, and those that cannot are known by name.
    pub(super) fn keepalive(&self, head: &Parts) -> Option<Duration> {
        let by_header = text(&head.headers, &X_NO_KEEPALIVE) == Some("1");
        let by_query = query(head).any(|(name, value)| name == "no_keepalive" && value == "1");
        let agent = text(&head.headers, &USER_AGENT)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let by_agent = agent.contains("obsidian") || agent.contains("electron");
        if by_header || by_query || by_agent {
            None
        } else {
            self.config.keepalive
        }
    }
}

/// What is known of a turn whose answer is gathered; a longer request id than any sane one is cut.
pub(super) fn entry(
    head: &Parts,
    turn: &TurnRequest,
    model_id: &str,
    prompt_chars: usize,
) -> TurnInfo {
    let request_id = text(&head.headers, &X_REQUEST_ID).unwrap_or_default();
    TurnInfo {
        request_id: request_id.chars().take(MAX_REQUEST_ID).collect(),
        client: text(&head.headers, &EDGE_CLIENT)
            .unwrap_or_default()
            .to_owned(),
        route: Route::of(&head.method, head.uri.path()).pattern(),
        requested_model: model_id.to_owned(),
        effective_model: turn.model.name.clone(),
        stream: false,
        status_sent_early: false,
        prompt_chars,
    }
}

/// Reads what no route wanted to read: a connection that is closed over unread bytes may take the answer with it, and
/// Envoy would tell the client that nobody is there.
async fn discard(body: &mut Incoming) {
    let rest = Limited::new(body, UNREAD_BYTES).collect();
    let _given_up = tokio::time::timeout(UNREAD_WAIT, rest).await;
}

/// JSON and nothing else; a client that does not say is believed to send it.
fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let encoded = text(headers, &CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    if encoded {
        return Err(ApiError::unsupported_media_type(
            "Send the body without a content-encoding.",
        ));
    }
    let Some(media_type) = headers.get(CONTENT_TYPE) else {
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
            "Send the body as content-type: application/json.",
        ))
    }
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn query(head: &Parts) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

pub(super) fn stream(
    events: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Response<Body> {
    let frames = events.map(|bytes| bytes.map(Frame::data));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// Preflights end in the filter; what comes here is a plain question.
fn options() -> Response<Body> {
    let mut response = Response::new(whole(Vec::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allow = HeaderValue::from_static("GET, POST, DELETE, HEAD, OPTIONS");
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// An error as it goes out. Envoy sends a request again only when its answer says that it should.
pub(crate) fn error_response(error: &ApiError) -> Response<Body> {
    Span::current().record("code", error.code());
    let mut response = json(error.status, error.body());
    let headers = response.headers_mut();
    if let Some(allow) = error.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(wait) = error.retry_after {
        let whole_seconds = wait.as_millis().div_ceil(1000).max(1);
        headers.insert(RETRY_AFTER, number(whole_seconds));
        headers.insert(RETRY_AFTER_MS, number(wait.as_millis()));
    }
    if error.final_answer {
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if error.unbegun {
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("true"));
    }
    response
}

fn number(number: u128) -> HeaderValue {
    HeaderValue::from_str(&number.to_string()).expect("digits are a header value")
}

pub(super) fn ignored(ignored: &Ignored) -> Option<(HeaderName, HeaderValue)> {
    let names = HeaderValue::from_str(&ignored.list()?).ok()?;
    Some((EDGE_IGNORED, names))
}

/// Envoy puts it there; a sidecar without Envoy in front answers without.
fn request_id(head: &Parts) -> Option<(HeaderName, HeaderValue)> {
    let id = head.headers.get(X_REQUEST_ID)?;
    Some((X_REQUEST_ID, id.clone()))
}
