//! The page's own server: serves the page, and receives its reports.
//! HTTP/1.1 on a loopback port (RFC 9112, by way of hyper).

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Capacity for unread reports; a page sends one at a time.
const MAX_UNREAD: usize = 4;

/// A running server; stops when dropped.
#[derive(Debug)]
pub(super) struct Server {
    port: u16,
    reports: mpsc::Receiver<Value>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(html: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a loopback port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let (sender, reports) = mpsc::channel(MAX_UNREAD);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Bytes::from(html), sender));
        Self {
            port: address.port(),
            reports,
            _tasks: tasks,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The next report.
    pub(super) async fn report(&mut self) -> Value {
        let report = self.reports.recv().await;
        report.expect("the server runs as long as `self`")
    }
}

async fn accept(listener: TcpListener, html: Bytes, reports: mpsc::Sender<Value>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (html, reports) = (html.clone(), reports.clone());
        connections.spawn(async move {
            let service = service_fn(|request| respond(request, html.clone(), reports.clone()));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // An error means that the browser closed the connection.
            let _ = connection.await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    html: Bytes,
    reports: mpsc::Sender<Value>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let builder = Response::builder();
    let response = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => builder
            .header("content-type", "text/html")
            .body(html.into()),
        (&Method::POST, "/report") => {
            let body = request.into_body().collect().await;
            let report = body.ok().map(|body| body.to_bytes());
            if let Some(report) = report.and_then(|body| serde_json::from_slice(&body).ok()) {
                // Fails only when the page's handle was dropped.
                let _ = reports.send(report).await;
            }
            builder.body(Full::default())
        }
        _ => builder.status(StatusCode::NOT_FOUND).body(Full::default()),
    };
    Ok(response.expect("the parts are valid"))
}
