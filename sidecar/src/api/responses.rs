//! The routes of responses: make one, and read, list, cancel or delete one that was made.
//! OpenAI API reference, "Responses".

use std::time::Duration;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::state::{Body, EDGE_CLIENT, Routes, entry, ignored, json, query, stream, text};
use crate::api::TurnInfo;
use crate::openai::responses::{self, ClientResponses, Delivery, Page, ResponseWriter};
use crate::openai::{self, ApiError, event_stream};

/// Time that a cancelled response has to come to its end. One whose reader has stopped reading has not.
const CANCEL_DEADLINE: Duration = Duration::from_secs(2);

impl Routes {
    pub(super) async fn respond(
        &self,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<Response<Body>, ApiError> {
        let body = self.read_body(head, body).await?;
        let shelf = self.shelf(head);
        let (turn, reply) =
            responses::parse(&body, &self.models(head), self.profile(head), &shelf)?;
        drop(body);
        self.check_prompt(reply.prompt_chars, "input")?;
        let (delivery, ignored) = (reply.delivery, ignored(&reply.ignored));
        let waits = match delivery {
            Delivery::Stream => openai::Delivery::Stream {
                include_usage: true,
            },
            Delivery::Buffered | Delivery::Background => openai::Delivery::Buffered,
        };
        let entry = TurnInfo {
            stream: delivery == Delivery::Stream,
            status_sent_early: delivery != Delivery::Buffered,
            ..entry(head, &turn, reply.model_id(), reply.prompt_chars)
        };
        let mut turn = self.begin(turn, waits, &reply.cut, entry).await?;
        let writer = ResponseWriter::new(reply, &self.responses, shelf.client);
        if let Some(stop) = writer.stop() {
            turn = turn.until(stop);
        }
        let mut response = match delivery {
            Delivery::Stream => stream(event_stream(turn, writer, self.keepalive(head))),
            Delivery::Buffered => json(StatusCode::OK, responses::collect(writer, turn).await?),
            Delivery::Background => {
                let begun = writer.in_progress();
                self.background.spawn(responses::collect(writer, turn));
                json(StatusCode::OK, begun)
            }
        };
        response.headers_mut().extend(ignored);
        Ok(response)
    }

    /// The responses that the caller may refer to.
    fn shelf<'a>(&'a self, head: &'a Parts) -> ClientResponses<'a> {
        ClientResponses {
            store: &self.responses,
            client: text(&head.headers, &EDGE_CLIENT).unwrap_or_default(),
        }
    }

    pub(super) fn stored_response(
        &self,
        head: &Parts,
        id: &str,
    ) -> Result<Response<Body>, ApiError> {
        let ClientResponses { store, client } = self.shelf(head);
        if head.method == Method::DELETE {
            return if store.delete(client, id) {
                Ok(json(StatusCode::OK, responses::deleted(id)))
            } else if store.is_running(client, id) {
                Err(ApiError::invalid(
                    "The response is still being made; cancel it first.",
                ))
            } else {
                Err(ApiError::response_not_found(id))
            };
        }
        if query(head).any(|(name, value)| name == "stream" && value == "true") {
            let text = "A response that is over cannot be streamed again; leave out stream.";
            return Err(ApiError::unsupported("stream", text));
        }
        let document = store.document(client, id);
        let document = document.ok_or_else(|| ApiError::response_not_found(id))?;
        Ok(json(StatusCode::OK, document))
    }

    pub(super) fn input_items(&self, head: &Parts, id: &str) -> Result<Response<Body>, ApiError> {
        let ClientResponses { store, client } = self.shelf(head);
        let page = Page::parse(query(head))?;
        if store.is_running(client, id) {
            let text = "The response is still being made; ask again when it is over.";
            return Err(ApiError::invalid(text));
        }
        let stored = store.stored(client, id);
        let stored = stored.ok_or_else(|| ApiError::response_not_found(id))?;
        let items = responses::input_items(id, &stored, &page)?;
        Ok(json(StatusCode::OK, items))
    }

    /// Ends a response that is being made; one that is over stays as it is, as with OpenAI.
    pub(super) async fn cancel(&self, head: &Parts, id: &str) -> Result<Response<Body>, ApiError> {
        let ClientResponses { store, client } = self.shelf(head);
        let _still_running = timeout(CANCEL_DEADLINE, store.cancel(client, id)).await;
        let document = store.document(client, id);
        let document = document.ok_or_else(|| ApiError::response_not_found(id))?;
        Ok(json(StatusCode::OK, document))
    }
}
