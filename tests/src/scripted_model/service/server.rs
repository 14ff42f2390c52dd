//! The service: accepts connections, routes requests, begins answers.
//! It listens on loopback addresses only: there is no credential to guard it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::control;
use super::state::State;
use crate::scripted_model::error::{self, ApiError, json_response};
use crate::scripted_model::request::ModelRequest;
use crate::scripted_model::request::Recording;
use crate::scripted_model::script::Answer;
use crate::scripted_model::script::Head;
use crate::scripted_model::stream::AnswerBody;
use crate::scripted_model::stream::Player;

/// Most bytes of a request; Codex sends whole conversations with images.
const MAX_BODY_BYTES: usize = 128 << 20;
/// Pause after a failed `accept`, which is most often for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(20);

type Body = Either<Full<Bytes>, AnswerBody>;

/// Binds a loopback address.
pub(crate) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip().is_loopback() {
        TcpListener::bind(address).await
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{address} is not a loopback address"),
        ))
    }
}

/// Serves until cancelled; running answers are cut then.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, Arc::clone(&state)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
            },
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    connections.shutdown().await;
}

async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    // Without this a delta waits for the acknowledgement of the one before; a closed socket is noticed later.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(respond(&state, request).await) }
    });
    // A connection ends with an error when the client leaves or a script aborts; the log says which.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(state: &State, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            return whole(ApiError::invalid(None, format!("Unreadable body: {error}.")).response());
        }
    };
    if head.uri.path().starts_with(control::PREFIX) {
        return whole(control::answer(state, &head, &body));
    }
    let mut recording = state.log.record(&head, &body);
    match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/responses") => respond_as_model(state, head, &body, recording).await,
        (&Method::GET, "/v1/models") => {
            recording.done();
            whole(json_response(
                StatusCode::OK,
                &json!({"object": "list", "data": []}),
            ))
        }
        (method, path) => {
            recording.done();
            whole(ApiError::unknown_url(method, path).response())
        }
    }
}

async fn respond_as_model(
    state: &State,
    head: Parts,
    body: &[u8],
    mut recording: Recording,
) -> Response<Body> {
    let planned = ModelRequest::parse(head.headers, body)
        .and_then(|request| Ok((state.script_for(&request)?, request)));
    let (script, request) = match planned {
        Ok(planned) => planned,
        Err(refusal) => {
            recording.done();
            return whole(refusal.response());
        }
    };
    for wait in &script.before {
        wait.wait(&state.holds).await;
    }
    match script.answer {
        Answer::Status(status) => {
            recording.done();
            whole(error::scripted(status))
        }
        Answer::Stream { head, acts, end } => {
            let holds = state.holds.clone();
            let body = AnswerBody::new(|writer| {
                Player::new(request, recording, writer, holds).play(acts, end)
            });
            streamed(&head, body)
        }
    }
}

fn whole(response: Response<Full<Bytes>>) -> Response<Body> {
    response.map(Either::Left)
}

fn streamed(head: &Head, body: AnswerBody) -> Response<Body> {
    let mut response = Response::new(Either::Right(body));
    let fields = response.headers_mut();
    let event_stream = HeaderValue::from_static("text/event-stream; charset=utf-8");
    fields.insert(CONTENT_TYPE, event_stream);
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    head.write(fields);
    response
}
