//! The HTTP service of the operator's listener.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::transport::Transport;
use super::{page, status};
use crate::api::AppState;
use crate::openai::ApiError;
use crate::openai::usage::{UsageQuery, UsageReader};
use crate::server::listener::{Connection, Listener};
use crate::telemetry::metrics;

/// Time that an operator's client has to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The content security policy of every response: the page may load from this listener only.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'",
);

const JSON: &str = "application/json; charset=utf-8";

/// The service of the operator's listener.
#[derive(Debug)]
pub struct Admin {
    state: Arc<AppState>,
    started: Instant,
}

impl Admin {
    /// Returns a service over `state`; the uptime counts from now.
    pub fn new(state: Arc<AppState>) -> Self {
        Self {
            state,
            started: Instant::now(),
        }
    }

    /// Serves until `shutdown` is cancelled, then drops its connections without a drain.
    pub async fn serve(self, listener: Listener, shutdown: CancellationToken) {
        let admin = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                // Reaps finished connections; without this arm the set would grow as long as the sidecar runs.
                Some(_) = connections.join_next() => {}
                stream = listener.accept() => {
                    connections.spawn(serve_connection(stream, Arc::clone(&admin)));
                }
            }
        }
    }

    async fn respond(
        &self,
        request: &Request<Incoming>,
        transport: Transport,
    ) -> Response<Full<Bytes>> {
        let handled = match transport.check(request) {
            Ok(()) => self.dispatch(request).await,
            Err(error) => Err(error),
        };
        handled.unwrap_or_else(|error| error_document(&error))
    }

    async fn dispatch(
        &self,
        request: &Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let (method, path) = (request.method(), request.uri().path());
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(ApiError::method_not_allowed(method.as_str(), "GET, HEAD"));
        }
        if let Some(asset) = page::asset(path) {
            return Ok(document(asset.media_type, asset.text));
        }
        match path {
            "/metrics" => Ok(document(metrics::CONTENT_TYPE, self.state.metrics().await)),
            "/status" => {
                let status = status::write(&self.state.snapshot().await, self.started.elapsed());
                Ok(document(JSON, status))
            }
            "/usage" => {
                let totals = self.state.usage_totals(&parse_query(request)?, &[]).await?;
                Ok(document(JSON, totals))
            }
            "/usage/raw" => {
                let records = self.state.last_usage(parse_query(request)?).await?;
                Ok(document(JSON, records))
            }
            _ => Err(ApiError::unknown_url(method.as_str(), path)),
        }
    }
}

async fn serve_connection(stream: Connection, admin: Arc<Admin>) {
    let transport = Transport::of(&stream);
    let service = service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(admin.respond(&request, transport).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok(); // The operator's client disconnected.
}

/// Parses the query of a usage request. An operator may read the usage of all clients.
fn parse_query(request: &Request<Incoming>) -> Result<UsageQuery, ApiError> {
    let operator = UsageReader {
        client: "",
        admin: true,
    };
    let query = request.uri().query().unwrap_or_default();
    UsageQuery::parse(
        form_urlencoded::parse(query.as_bytes()),
        operator,
        SystemTime::now(),
    )
}

fn error_document(error: &ApiError) -> Response<Full<Bytes>> {
    let mut response = document(JSON, error.body());
    *response.status_mut() = error.status;
    if let Some(allow) = error.allow {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}

fn document(media_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
