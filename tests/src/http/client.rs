//! A client connection and its responses.
//! Follows RFC 9112 and RFC 9113 by way of hyper.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use super::deadline::deadline;
use super::request::Body;

/// The HTTP version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    H1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2,
}

/// A connection, which is closed when the client and all its responses are dropped.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    connection: Connection,
}

/// The task that reads and writes the connection.
type Connection = Arc<JoinSet<()>>;

#[derive(Debug)]
enum Sender {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

impl Client {
    /// Connects to `address`.
    pub async fn connect(address: SocketAddr, version: Version) -> Self {
        let stream = deadline(TcpStream::connect(address))
            .await
            .expect("the server accepts a connection");
        stream
            .set_nodelay(true)
            .expect("the connection is a TCP connection");
        Self::over(stream, version).await
    }

    /// Connects to the Unix socket at `path` with HTTP/1.1.
    ///
    /// # Errors
    /// Fails if no server listens on the socket.
    pub async fn connect_unix(path: &Path) -> std::io::Result<Self> {
        Ok(Self::over(deadline(UnixStream::connect(path)).await?, Version::H1).await)
    }

    async fn over<S>(stream: S, version: Version) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = TokioIo::new(stream);
        let mut tasks = JoinSet::new();
        let sender = match version {
            Version::H1 => {
                let (sender, connection) = http1::handshake(io)
                    .await
                    .expect("an HTTP/1.1 handshake sends nothing");
                tasks.spawn(async { drop(connection.await) });
                Sender::H1(sender)
            }
            Version::H2 => {
                let handshake = http2::handshake(TokioExecutor::new(), io);
                let (sender, connection) = handshake.await.expect("the server speaks HTTP/2");
                tasks.spawn(async { drop(connection.await) });
                Sender::H2(sender)
            }
        };
        Self {
            sender,
            connection: Arc::new(tasks),
        }
    }

    /// Sends `request` to its URI, which is a path, and returns when the response head has arrived.
    ///
    /// # Errors
    /// Fails if the server closes the connection or resets the stream before the head.
    pub async fn stream(&mut self, mut request: Request<Body>) -> hyper::Result<StreamedResponse> {
        let response = match &mut self.sender {
            Sender::H1(sender) => {
                request
                    .headers_mut()
                    .entry(HOST)
                    .or_insert_with(|| "edge".parse().expect("a host name"));
                sender.ready().await?;
                deadline(sender.send_request(request)).await?
            }
            Sender::H2(sender) => {
                let uri = format!("http://edge{}", request.uri());
                *request.uri_mut() = uri.parse::<Uri>().expect("the request's URI is a path");
                sender.ready().await?;
                deadline(sender.send_request(request)).await?
            }
        };
        Ok(StreamedResponse::new(response, self.connection.clone()))
    }

    /// Sends `request` and returns the whole response.
    ///
    /// # Errors
    /// Fails as [`Client::stream`], and if the body is cut off.
    pub async fn send(&mut self, request: Request<Body>) -> hyper::Result<BufferedResponse> {
        self.stream(request).await?.collect().await
    }
}

/// A response head, and the body chunk by chunk.
#[derive(Debug)]
pub struct StreamedResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The trailers, once the end was read.
    pub trailers: Box<HeaderMap>,
    body: Incoming,
    _connection: Connection,
}

/// A chunk of a body and the time of its arrival.
#[derive(Debug)]
pub struct Chunk {
    /// The time of arrival.
    pub at: Instant,
    /// The octets.
    pub data: Bytes,
}

impl StreamedResponse {
    fn new(response: Response<Incoming>, connection: Connection) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            trailers: Box::default(),
            body,
            _connection: connection,
        }
    }

    /// The next chunk as it was read; `None` at the end.
    ///
    /// # Errors
    /// Fails if the body is cut off.
    pub async fn next(&mut self) -> hyper::Result<Option<Chunk>> {
        while let Some(frame) = deadline(self.body.frame()).await {
            match frame?.into_data() {
                // HTTP/2 may end a stream with an empty DATA frame.
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    return Ok(Some(Chunk {
                        at: Instant::now(),
                        data,
                    }));
                }
                Err(frame) => self
                    .trailers
                    .extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        Ok(None)
    }

    /// Reads the rest of the body.
    ///
    /// # Errors
    /// Fails if the body is cut off.
    pub async fn collect(mut self) -> hyper::Result<BufferedResponse> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.next().await? {
            body.extend_from_slice(&chunk.data);
        }
        Ok(BufferedResponse {
            status: self.status,
            headers: self.headers,
            trailers: *self.trailers,
            body: body.freeze(),
        })
    }
}

/// A complete response.
#[derive(Debug)]
pub struct BufferedResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The trailers.
    pub trailers: HeaderMap,
    /// The body, without its framing.
    pub body: Bytes,
}

impl BufferedResponse {
    /// The value of the header `name`; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| {
            value.to_str().expect("the value is visible ASCII")
        })
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the body of {self:?}"))
    }
}
