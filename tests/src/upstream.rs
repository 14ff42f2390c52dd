//! Somebody else's upstream behind the filter: answers as told, and keeps what reached it.
//! An HTTP/1.1 server on a Unix socket (RFC 9112, by way of hyper).

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Interval, interval};

/// What the upstream does with every request.
#[derive(Clone, Debug)]
pub enum Script {
    /// 200, with the method, the path and the length of the body as JSON.
    Echo,
    /// This status, with this JSON.
    Json(StatusCode, Value),
    /// 200, with these fields beside those of [`Script::Echo`].
    Fields(&'static [(&'static str, &'static str)]),
    /// A stream of `data: 0`, `data: 1`, … with `every` between two.
    Events {
        /// How many.
        count: usize,
        /// The time before each but the first.
        every: Duration,
    },
    /// 200, with this many octets.
    Octets(usize),
    /// Reads the request and never answers.
    Silence,
    /// Reads no body, and never answers.
    Deafness,
    /// Reads the request and closes the connection.
    HangUp,
}

/// A request as it reached the upstream.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The head.
    pub head: http::request::Parts,
    /// The whole body.
    pub body: Bytes,
}

impl Seen {
    /// The value of the field `name`; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| {
            value.to_str().expect("the field is visible ASCII")
        })
    }
}

/// A running upstream; stops when dropped.
#[derive(Debug)]
pub struct Upstream {
    dir: TempDir,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    abandoned: AtomicUsize,
}

impl Upstream {
    /// Listens on a socket of its own and follows `script`.
    pub fn start(script: Script) -> Self {
        let dir = TempDir::new().expect("the temporary folder can be written");
        let listener =
            UnixListener::bind(dir.path().join(SOCKET)).expect("the path is short and free");
        let state = Arc::new(State {
            script: Mutex::new(script),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, state.clone()));
        Self {
            dir,
            state,
            _tasks: tasks,
        }
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(SOCKET)
    }

    /// Follows `script` from the next request on.
    pub fn follow(&self, script: Script) {
        *self.state.script.lock().expect("no holder panics") = script;
    }

    /// The requests so far, in order of their end.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("no holder panics").clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Streams whose reader left before the end.
    pub fn abandoned(&self) -> usize {
        self.state.abandoned.load(Ordering::Relaxed)
    }
}

const SOCKET: &str = "upstream.sock";

async fn accept(listener: UnixListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(serve(stream, state.clone()));
    }
}

async fn serve(stream: UnixStream, state: Arc<State>) {
    let service = service_fn(|request| answer(request, state.clone()));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A connection ends with an error when its script hangs up or its peer leaves: both are part of the play.
    let _ = connection.await;
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, HungUp> {
    let script = state.script.lock().expect("no holder panics").clone();
    if let Script::Deafness = script {
        let _unread = request;
        return std::future::pending().await;
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_left| HungUp)?.to_bytes();
    let seen = Seen { head, body };
    let echo = json!({
        "method": seen.head.method.as_str(),
        "path": seen.head.uri.to_string(),
        "octets": seen.body.len(),
    });
    state.seen.lock().expect("no holder panics").push(seen);
    match script {
        Script::Echo => Ok(reply(StatusCode::OK, JSON, Full::from(echo.to_string()))),
        Script::Fields(fields) => {
            let mut response = reply(StatusCode::OK, JSON, Full::from(echo.to_string()));
            for (name, value) in fields {
                response
                    .headers_mut()
                    .append(*name, HeaderValue::from_static(value));
            }
            Ok(response)
        }
        Script::Json(status, value) => Ok(reply(status, JSON, Full::from(value.to_string()))),
        Script::Events { count, every } => {
            let events = Events {
                sent: 0,
                count,
                ticks: interval(every),
                state,
            };
            Ok(reply(
                StatusCode::OK,
                "text/event-stream; charset=utf-8",
                events,
            ))
        }
        Script::Octets(count) => Ok(reply(
            StatusCode::OK,
            "application/octet-stream",
            Full::from(vec![0; count]),
        )),
        Script::Silence | Script::Deafness => std::future::pending().await,
        Script::HangUp => Err(HungUp),
    }
}

const JSON: &str = "application/json; charset=utf-8";

type Body = BoxBody<Bytes, Infallible>;

fn reply<B>(status: StatusCode, content_type: &str, body: B) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static,
{
    let response = Response::builder()
        .status(status)
        .header("content-type", content_type);
    response.body(body.boxed()).expect("the parts are valid")
}

/// Ends a connection without an answer.
#[derive(Debug)]
struct HungUp;

impl fmt::Display for HungUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream hung up")
    }
}

impl std::error::Error for HungUp {}

/// The body of [`Script::Events`]; notices when its reader leaves.
struct Events {
    sent: usize,
    count: usize,
    ticks: Interval,
    state: Arc<State>,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.sent == this.count {
            return Poll::Ready(None);
        }
        ready!(this.ticks.poll_tick(context));
        let event = format!("data: {}\n\n", this.sent);
        this.sent += 1;
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if self.sent < self.count {
            self.state.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}
