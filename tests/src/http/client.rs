//! One connection and what comes back over it.
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

/// The HTTP version that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    H1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2,
}

/// One connection, which ends when the client and all its [`Stream`]s are dropped.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    connection: Connection,
}

/// The task that moves a connection's octets.
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

    /// Connects to the Unix socket at `path` and speaks HTTP/1.1.
    ///
    /// # Errors
    /// When nobody listens there.
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
                    .expect("HTTP/1.1 has no handshake");
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

    /// Sends `request`, whose URI is a path, and returns when the response head is there.
    ///
    /// # Errors
    /// When the server closes the connection or resets the stream instead of answering.
    pub async fn stream(&mut self, mut request: Request<Body>) -> hyper::Result<Stream> {
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
        Ok(Stream::new(response, self.connection.clone()))
    }

    /// Sends `request` and returns the whole answer.
    ///
    /// # Errors
    /// As [`Client::stream`], and when the body breaks off.
    pub async fn send(&mut self, request: Request<Body>) -> hyper::Result<Answer> {
        self.stream(request).await?.collect().await
    }
}

/// A response head and the body behind it, piece by piece.
#[derive(Debug)]
pub struct Stream {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    body: Incoming,
    _connection: Connection,
}

/// A piece of a body and when it came.
#[derive(Debug)]
pub struct Piece {
    /// When the piece was there.
    pub at: Instant,
    /// What it holds.
    pub data: Bytes,
}

impl Stream {
    fn new(response: Response<Incoming>, connection: Connection) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body,
            _connection: connection,
        }
    }

    /// The next piece as it came off the wire; `None` at the end.
    ///
    /// # Errors
    /// When the body breaks off.
    pub async fn next(&mut self) -> hyper::Result<Option<Piece>> {
        while let Some(frame) = deadline(self.body.frame()).await {
            // HTTP/2 may end a stream with a frame that holds nothing.
            if let Ok(data) = frame?.into_data()
                && !data.is_empty()
            {
                return Ok(Some(Piece {
                    at: Instant::now(),
                    data,
                }));
            }
        }
        Ok(None)
    }

    /// The rest of the body, with the head.
    ///
    /// # Errors
    /// When the body breaks off.
    pub async fn collect(mut self) -> hyper::Result<Answer> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.next().await? {
            body.extend_from_slice(&piece.data);
        }
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            body: body.freeze(),
        })
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, without its framing.
    pub body: Bytes,
}

impl Answer {
    /// The value of the field `name`; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| {
            value.to_str().expect("the field is visible ASCII")
        })
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the body of {self:?}"))
    }
}
