//! The receiver's server.

use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::received::Received;
use crate::http::DEADLINE;

/// The response to exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectorBehavior {
    /// Decodes the export: 200, or 400 if it is not OTLP.
    Accept,
    /// 400, without decoding; exporters do not repeat the export.
    Reject,
    /// Reads the export and never responds.
    NeverRespond,
}

/// A running collector; stopped when dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    state: Arc<CollectorState>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct CollectorState {
    behavior: Mutex<CollectorBehavior>,
    received: Mutex<Received>,
}

impl Collector {
    /// Listens on a free loopback port.
    pub async fn start(behavior: CollectorBehavior) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::listen(any_port, behavior).await
    }

    /// Listens on an address.
    pub async fn listen(address: SocketAddr, behavior: CollectorBehavior) -> Self {
        let listener = TcpListener::bind(address)
            .await
            .unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let address = listener.local_addr().expect("the listener is bound");
        let state = Arc::new(CollectorState {
            behavior: Mutex::new(behavior),
            received: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            _tasks: tasks,
        }
    }

    /// The address of the receiver.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the behaviour from the next export on.
    pub fn set_behavior(&self, behavior: CollectorBehavior) {
        *lock(&self.state.behavior) = behavior;
    }

    /// Everything received so far.
    pub fn received(&self) -> Received {
        lock(&self.state.received).clone()
    }

    /// Waits until the received spans and metrics satisfy `wanted`.
    pub async fn wait_until(&self, wanted: impl Fn(&Received) -> bool) -> Received {
        let wait = async {
            loop {
                let received = self.received();
                if wanted(&received) {
                    return received;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, wait)
            .await
            .unwrap_or_else(|_| panic!("never received: {:#?}", self.received()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<CollectorState>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&state)));
    }
}

async fn serve(stream: TcpStream, state: Arc<CollectorState>) {
    let service = service_fn(|request| respond(request, Arc::clone(&state)));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    connection.await.ok(); // The exporter may close it at any time.
}

async fn respond(
    request: Request<Incoming>,
    state: Arc<CollectorState>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(status(StatusCode::BAD_REQUEST));
    };
    let behavior = *lock(&state.behavior);
    match behavior {
        CollectorBehavior::Accept => {}
        CollectorBehavior::Reject => return Ok(status(StatusCode::BAD_REQUEST)),
        CollectorBehavior::NeverRespond => return std::future::pending().await,
    }
    let body = body.to_bytes();
    let decoded = match head.headers.get("content-encoding") {
        Some(encoding) if encoding == "gzip" => gunzip(&body),
        Some(_) => Err("unknown encoding".to_owned()),
        None => Ok(body),
    };
    let added = decoded.and_then(|body| lock(&state.received).add(head, body));
    Ok(match added {
        Ok(()) => status(StatusCode::OK),
        Err(_) => status(StatusCode::BAD_REQUEST),
    })
}

fn gunzip(body: &[u8]) -> Result<Bytes, String> {
    let mut decoded = Vec::new();
    let read = GzDecoder::new(body).read_to_end(&mut decoded);
    read.map_err(|error| error.to_string())?;
    Ok(decoded.into())
}

/// An empty body is the response without a partial success.
fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
