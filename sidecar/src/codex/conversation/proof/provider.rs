//! A provider on a loopback port for the length of a proof: it hands out each request, and answers it as told.
//! OpenAI API, "Create a model response", streamed.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::codex::conversation::id::ConversationId;

/// Maximum bytes of a request; those of a proof have some kilobytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Time that Codex has for a request to the provider after the start of a turn; it took 20 ms.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A request of Codex to the model.
#[derive(Debug)]
pub(super) struct ModelRequest {
    /// The value of the header `session-id`.
    pub(super) session: Option<String>,
    pub(super) body: Value,
}

/// A provider. Dropping it closes its port.
pub(super) struct LocalProvider {
    url: String,
    requests: mpsc::Receiver<(ModelRequest, oneshot::Sender<String>)>,
    _server: JoinSet<()>,
}

impl LocalProvider {
    /// Starts a provider on a free port, below a path that no other program can guess.
    ///
    /// # Errors
    /// No port can be bound.
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let path = format!("/{}", ConversationId::random());
        let url = format!("http://{}{path}", listener.local_addr()?);
        let (sender, requests) = mpsc::channel(4);
        let mut server = JoinSet::new();
        server.spawn(serve(listener, path, sender));
        Ok(Self {
            url,
            requests,
            _server: server,
        })
    }

    /// Returns the `base_url` of the provider.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the next request, and answers it with `items`. `None` if no request comes in time.
    pub(super) async fn answer(&mut self, items: &[Value]) -> Option<ModelRequest> {
        let next = timeout(REQUEST_TIMEOUT, self.requests.recv()).await;
        let (request, respond) = next.ok()??;
        respond.send(events(items)).ok(); // Fails if Codex has closed the connection.
        Some(request)
    }

    /// Whether Codex has asked once more than it was answered.
    pub(super) fn has_request(&self) -> bool {
        !self.requests.is_empty()
    }
}

/// Returns the events of a response with these items.
fn events(items: &[Value]) -> String {
    let created = json!({"type": "response.created", "response": {"id": "proof"}});
    let items = items
        .iter()
        .map(|item| json!({"type": "response.output_item.done", "item": item}));
    let usage = json!({"input_tokens": 1, "output_tokens": 1, "total_tokens": 2});
    let completed =
        json!({"type": "response.completed", "response": {"id": "proof", "usage": usage}});
    let all = std::iter::once(created).chain(items).chain([completed]);
    all.map(|event| {
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap_or_default()
        )
    })
    .collect()
}

type Requests = mpsc::Sender<(ModelRequest, oneshot::Sender<String>)>;

async fn serve(listener: TcpListener, path: String, requests: Requests) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _address)) => {
                    connections.spawn(serve_connection(stream, path.clone(), requests.clone()));
                }
                Err(_) => return, // The proof fails for want of a request.
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, path: String, requests: Requests) {
    let service = service_fn(|request| {
        let (path, requests) = (path.clone(), requests.clone());
        async move { Ok::<_, Infallible>(respond(request, &path, &requests).await) }
    });
    // An error means that Codex has closed the connection.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    request: Request<Incoming>,
    path: &str,
    requests: &Requests,
) -> Response<Full<Bytes>> {
    match read(request, path).await {
        Some(request) => {
            let (respond, events) = oneshot::channel();
            requests.send((request, respond)).await.ok(); // Fails when the proof has ended.
            match events.await {
                Ok(events) => response(StatusCode::OK, events),
                Err(_) => response(StatusCode::SERVICE_UNAVAILABLE, String::new()),
            }
        }
        None => response(StatusCode::NOT_FOUND, String::new()),
    }
}

async fn read(request: Request<Incoming>, path: &str) -> Option<ModelRequest> {
    let (head, body) = request.into_parts();
    if head.uri.path().strip_prefix(path)? != "/responses" {
        return None;
    }
    let session = head.headers.get("session-id");
    let received = Limited::new(body, MAX_BODY_BYTES).collect().await.ok()?;
    Some(ModelRequest {
        session: session.and_then(|value| Some(value.to_str().ok()?.to_owned())),
        body: serde_json::from_slice(&received.to_bytes()).ok()?,
    })
}

fn response(status: StatusCode, events: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(events.into()));
    *response.status_mut() = status;
    let text = http::HeaderValue::from_static("text/event-stream");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, text);
    response
}
