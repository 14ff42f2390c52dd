//! An upstream of the tests' own behind the filter: responds with a configured behaviour, and records requests.
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

/// The response to every request.
#[derive(Clone, Debug)]
pub enum Behavior {
    /// 200, with the method, the path and the length of the body as JSON.
    Echo,
    /// This status, with this JSON.
    Json(StatusCode, Value),
    /// 200, with these headers in addition to those of [`Behavior::Echo`].
    Headers(&'static [(&'static str, &'static str)]),
    /// A stream of `data: 0`, `data: 1`, … with `every` between two.
    Events {
        /// The number of events.
        count: usize,
        /// The time before each event but the first.
        every: Duration,
    },
    /// 200, with this many octets.
    Octets(usize),
    /// Reads the request and never responds.
    NeverRespond,
    /// Does not read the body, and never responds.
    NeverRead,
    /// Reads the request and closes the connection.
    Disconnect,
}

/// A request as the upstream received it.
#[derive(Clone, Debug)]
pub struct UpstreamRequest {
    /// The head.
    pub head: http::request::Parts,
    /// The whole body.
    pub body: Bytes,
}

impl UpstreamRequest {
    /// The value of the header `name`; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| {
            value.to_str().expect("the value is visible ASCII")
        })
    }
}

/// A running upstream; stopped when dropped.
#[derive(Debug)]
pub struct Upstream {
    dir: TempDir,
    state: Arc<UpstreamState>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct UpstreamState {
    behavior: Mutex<Behavior>,
    requests: Mutex<Vec<UpstreamRequest>>,
    connections: AtomicUsize,
    aborted_streams: AtomicUsize,
}

impl Upstream {
    /// Listens on a socket of its own with this behaviour.
    pub fn start(behavior: Behavior) -> Self {
        let dir = TempDir::new().expect("the temporary folder is writable");
        let listener =
            UnixListener::bind(dir.path().join(SOCKET)).expect("the path is short and free");
        let state = Arc::new(UpstreamState {
            behavior: Mutex::new(behavior),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            aborted_streams: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, state.clone()));
        Self {
            dir,
            state,
            _tasks: tasks,
        }
    }

    /// The path of the upstream's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(SOCKET)
    }

    /// Changes the behaviour from the next request on.
    pub fn set_behavior(&self, behavior: Behavior) {
        *self.state.behavior.lock().expect("no holder panics") = behavior;
    }

    /// The requests so far, in the order of their completion.
    pub fn requests(&self) -> Vec<UpstreamRequest> {
        self.state
            .requests
            .lock()
            .expect("no holder panics")
            .clone()
    }

    /// The number of connections accepted so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// The number of streams that were closed before their end.
    pub fn aborted_streams(&self) -> usize {
        self.state.aborted_streams.load(Ordering::Relaxed)
    }
}

const SOCKET: &str = "upstream.sock";

async fn accept(listener: UnixListener, state: Arc<UpstreamState>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(serve(stream, state.clone()));
    }
}

async fn serve(stream: UnixStream, state: Arc<UpstreamState>) {
    let service = service_fn(|request| respond(request, state.clone()));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // An error means that the peer or `Behavior::Disconnect` closed the connection, which tests provoke.
    let _ = connection.await;
}

async fn respond(
    request: Request<Incoming>,
    state: Arc<UpstreamState>,
) -> Result<Response<UpstreamBody>, Disconnected> {
    let behavior = state.behavior.lock().expect("no holder panics").clone();
    if let Behavior::NeverRead = behavior {
        // Held while pending: hyper would drain the body of a dropped request.
        let _request = request;
        return std::future::pending().await;
    }
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|_left| Disconnected)?
        .to_bytes();
    let received = UpstreamRequest { head, body };
    let echo = json!({
        "method": received.head.method.as_str(),
        "path": received.head.uri.to_string(),
        "octets": received.body.len(),
    });
    state
        .requests
        .lock()
        .expect("no holder panics")
        .push(received);
    match behavior {
        Behavior::Echo => Ok(reply(StatusCode::OK, JSON, Full::from(echo.to_string()))),
        Behavior::Headers(headers) => {
            let mut response = reply(StatusCode::OK, JSON, Full::from(echo.to_string()));
            for (name, value) in headers {
                response
                    .headers_mut()
                    .append(*name, HeaderValue::from_static(value));
            }
            Ok(response)
        }
        Behavior::Json(status, value) => Ok(reply(status, JSON, Full::from(value.to_string()))),
        Behavior::Events { count, every } => {
            let events = NumberedEvents {
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
        Behavior::Octets(count) => Ok(reply(
            StatusCode::OK,
            "application/octet-stream",
            Full::from(vec![0; count]),
        )),
        Behavior::NeverRespond | Behavior::NeverRead => std::future::pending().await,
        Behavior::Disconnect => Err(Disconnected),
    }
}

const JSON: &str = "application/json; charset=utf-8";

type UpstreamBody = BoxBody<Bytes, Infallible>;

fn reply<B>(status: StatusCode, content_type: &str, body: B) -> Response<UpstreamBody>
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static,
{
    let response = Response::builder()
        .status(status)
        .header("content-type", content_type);
    response.body(body.boxed()).expect("the parts are valid")
}

/// Closes a connection without a response.
#[derive(Debug)]
struct Disconnected;

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream disconnected")
    }
}

impl std::error::Error for Disconnected {}

/// The body of [`Behavior::Events`]; counts itself as aborted if it is dropped before its end.
struct NumberedEvents {
    sent: usize,
    count: usize,
    ticks: Interval,
    state: Arc<UpstreamState>,
}

impl http_body::Body for NumberedEvents {
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

impl Drop for NumberedEvents {
    fn drop(&mut self) {
        if self.sent < self.count {
            self.state.aborted_streams.fetch_add(1, Ordering::Relaxed);
        }
    }
}
