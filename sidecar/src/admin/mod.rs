//! What an operator reaches on a listener of its own: metrics, and a page that shows them to those who would rather look.
//! No key is asked for, so that it listens on a Unix socket of its owner or on a loopback address, and on nothing else.

mod page;
mod status;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::AppState;
use crate::openai::ApiError;
use crate::openai::usage::{Query, Reader};
use crate::server::listener::{Connection, Listener};
use crate::telemetry::metrics;

/// Time that an operator's client has for a request's head.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// The page needs nothing from elsewhere, and gets nothing.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'",
);

const JSON: &str = "application/json; charset=utf-8";

/// What the operator sees.
#[derive(Debug)]
pub struct Admin {
    state: Arc<AppState>,
    started: Instant,
}

impl Admin {
    /// Shows what happens behind `state`.
    pub fn new(state: Arc<AppState>) -> Self {
        Self {
            state,
            started: Instant::now(),
        }
    }

    /// Serves until `stop` fires.
    pub async fn serve(self, listener: Listener, stop: CancellationToken) {
        let admin = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_ended) = connections.join_next() => {}
                stream = listener.accept() => {
                    let admin = Arc::clone(&admin);
                    let door = Door::of(&stream);
                    let service = service_fn(move |request| {
                        let admin = Arc::clone(&admin);
                        async move { Ok::<_, Infallible>(admin.answer(&request, door).await) }
                    });
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD_DEADLINE)
                        .serve_connection(TokioIo::new(stream), service);
                    connections.spawn(connection);
                }
            }
        }
    }

    async fn answer(&self, request: &Request<Incoming>, door: Door) -> Response<Full<Bytes>> {
        let answered = match door.check(request) {
            Ok(()) => self.dispatch(request).await,
            Err(error) => Err(error),
        };
        answered.unwrap_or_else(|error| {
            let mut response = document(JSON, error.body());
            *response.status_mut() = error.status;
            if let Some(allow) = error.allow {
                response
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static(allow));
            }
            response
        })
    }

    async fn dispatch(
        &self,
        request: &Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let path = request.uri().path();
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(ApiError::method_not_allowed(
                request.method().as_str(),
                "GET, HEAD",
            ));
        }
        if let Some(asset) = page::asset(path) {
            return Ok(document(asset.media_type, asset.text));
        }
        match path {
            "/metrics" => Ok(document(metrics::CONTENT_TYPE, self.state.metrics())),
            "/status" => Ok(document(JSON, self.status())),
            "/usage" => Ok(document(
                JSON,
                self.state.usage_totals(&asked(request)?).await?,
            )),
            "/usage/raw" => Ok(document(
                JSON,
                self.state.last_usage(asked(request)?).await?,
            )),
            _ => Err(ApiError::unknown_url(request.method().as_str(), path)),
        }
    }

    fn status(&self) -> Vec<u8> {
        status::write(
            &self.state.now(),
            self.state.codex(),
            self.started.elapsed(),
        )
    }
}

/// Which way somebody came.
#[derive(Debug, Clone, Copy)]
enum Door {
    /// By a socket that the file system guards.
    File,
    /// By a port that any program of this machine reaches, a browser too.
    Port,
}

impl Door {
    fn of(connection: &Connection) -> Self {
        match connection {
            Connection::Left(_) => Self::File,
            Connection::Right(_) => Self::Port,
        }
    }

    fn check(self, request: &Request<Incoming>) -> Result<(), ApiError> {
        match self {
            Self::File => Ok(()),
            Self::Port => check_host(request),
        }
    }
}

/// A web page may let its own name point here, and would be let in by the operator's browser; it cannot hide that name.
fn check_host(request: &Request<Incoming>) -> Result<(), ApiError> {
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    let authority = host.and_then(|host| Authority::try_from(host).ok());
    let name = authority.as_ref().map_or("", Authority::host);
    if matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        return Ok(());
    }
    Err(ApiError::permission_denied(
        "The admin interface answers to localhost, 127.0.0.1 and [::1] only; ask it by one of these names.",
    ))
}

/// An operator sees what all clients used.
fn asked(request: &Request<Incoming>) -> Result<Query, ApiError> {
    let operator = Reader {
        client: "",
        admin: true,
    };
    let query = request.uri().query().unwrap_or_default();
    Query::parse(
        form_urlencoded::parse(query.as_bytes()),
        operator,
        SystemTime::now(),
    )
}

fn document(media_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
