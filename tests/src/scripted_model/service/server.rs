//! The HTTP server: accepts connections, routes requests, starts responses.
//! It requires no credentials, so the program listens on loopback addresses unless it is told otherwise.

use std::convert::Infallible;
use std::pin::pin;
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
use super::state::ModelState;
use crate::scripted_model::error::{self, ApiError, json_response};
use crate::scripted_model::request::ModelRequest;
use crate::scripted_model::request::RecordingGuard;
use crate::scripted_model::script::ResponseHead;
use crate::scripted_model::script::ScriptedResponse;
use crate::scripted_model::stream::EventBody;
use crate::scripted_model::stream::Player;

/// Maximum bytes of a request body; Codex sends whole conversations with images.
const MAX_BODY_BYTES: usize = 128 << 20;
/// Pause after a failed `accept`; the usual cause is a lack of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(20);

type ResponseBody = Either<Full<Bytes>, EventBody>;

/// The two ways in which a service ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shutdown {
    /// Closes each connection after its running response.
    pub(crate) drain: CancellationToken,
    /// Aborts running responses.
    pub(crate) abort: CancellationToken,
}

/// Accepts connections until a shutdown, and returns when none is left.
pub(crate) async fn serve(listener: TcpListener, state: Arc<ModelState>, shutdown: Shutdown) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let drain = shutdown.drain.clone();
                    connections.spawn(serve_connection(stream, Arc::clone(&state), drain));
                }
                Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
            },
            Some(_) = connections.join_next() => {}
            () = shutdown.drain.cancelled() => break,
            () = shutdown.abort.cancelled() => break,
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    shutdown.abort.run_until_cancelled(drained).await;
    connections.shutdown().await;
}

async fn serve_connection(stream: TcpStream, state: Arc<ModelState>, drain: CancellationToken) {
    // Nagle's algorithm would hold a delta back until the previous one is acknowledged. Fails on a closed socket, which
    // the first read reports.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(respond(&state, request).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // An error means that the client disconnected or that a script aborts; the recorder tells them apart.
    let ended = drain.run_until_cancelled(connection.as_mut()).await;
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

async fn respond(state: &ModelState, request: Request<Incoming>) -> Response<ResponseBody> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            return buffered(
                ApiError::invalid(format!("Could not read the body: {error}.")).response(),
            );
        }
    };
    if head.uri.path().starts_with(control::PREFIX) {
        return buffered(control::respond(state, &head, &body));
    }
    let mut recording = state.log.record(&head, &body);
    match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/responses") => respond_as_model(state, head, &body, recording).await,
        (&Method::GET, "/v1/models") => {
            recording.done();
            buffered(json_response(
                StatusCode::OK,
                &json!({"object": "list", "data": []}),
            ))
        }
        (method, path) => {
            recording.done();
            buffered(ApiError::unknown_url(method, path).response())
        }
    }
}

async fn respond_as_model(
    state: &ModelState,
    head: Parts,
    body: &[u8],
    mut recording: RecordingGuard,
) -> Response<ResponseBody> {
    let served = state.served_models();
    let scripted = ModelRequest::parse(head.headers, body, &served)
        .and_then(|request| Ok((state.script_for(&request)?, request)));
    let (script, request) = match scripted {
        Ok(scripted) => scripted,
        Err(error) => {
            recording.done();
            return buffered(error.response());
        }
    };
    for wait in &script.before {
        wait.wait(&state.holds).await;
    }
    match script.response {
        ScriptedResponse::Status(status) => {
            recording.done();
            buffered(error::scripted(status))
        }
        ScriptedResponse::Stream { head, actions, end } => {
            let tokens = state.count_prompt(&request);
            recording.set_prompt(tokens);
            let holds = state.holds.clone();
            let body = EventBody::new(|writer| {
                Player::new(request, tokens, recording, writer, holds).play(actions, end)
            });
            streamed(&head, body)
        }
    }
}

fn buffered(response: Response<Full<Bytes>>) -> Response<ResponseBody> {
    response.map(Either::Left)
}

fn streamed(head: &ResponseHead, body: EventBody) -> Response<ResponseBody> {
    let mut response = Response::new(Either::Right(body));
    let headers = response.headers_mut();
    let event_stream = HeaderValue::from_static("text/event-stream; charset=utf-8");
    headers.insert(CONTENT_TYPE, event_stream);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    head.write(headers);
    response
}
