//! Request bodies -> turns: what a request costs before a child hears of it.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;

use sidecar::catalogue::Catalogue;
use sidecar::dialect::models::ModelAccess;
use sidecar::dialect::{Reply, chat, responses};
use sidecar::response_store::{ResponseStore, StoreLimits};
use sidecar::turn::{Profile, TurnRequest};

use crate::chat_bodies::{KIB, model_first};
use crate::{Case, Work, case};

pub(crate) const CASES: &[Case] = &[
    case("parse-chat-1KiB", || parse_chats(model_first(KIB))),
    case("parse-chat-64KiB", || parse_chats(model_first(64 * KIB))),
    case("parse-response-text", || {
        let (catalogue, store) = (catalogue(), store());
        Box::new(move || drop(black_box(response(&catalogue, &store))))
    }),
];

fn parse_chats(body: Vec<u8>) -> Work {
    let catalogue = catalogue();
    Box::new(move || drop(black_box(chat(&catalogue, black_box(&body)))))
}

/// What Codex offers when nobody configures anything.
pub(crate) fn catalogue() -> Catalogue {
    Catalogue::new("gpt-5", "", Vec::new())
}

pub(crate) fn chat(catalogue: &Catalogue, body: &[u8]) -> (TurnRequest, Reply) {
    let models = ModelAccess::new(catalogue, None);
    let parsed = chat::parse(body, &models, Profile::Chat, &|_| Vec::new());
    parsed.expect("the body is a chat")
}

/// Room for the responses of a day.
pub(crate) fn store() -> Arc<ResponseStore> {
    Arc::new(ResponseStore::new(StoreLimits {
        responses: NonZeroUsize::new(4096),
        bytes: 64 << 20,
        age: None,
    }))
}

pub(crate) fn response(
    catalogue: &Catalogue,
    store: &ResponseStore,
) -> (TurnRequest, responses::Reply) {
    let body = br#"{"model":"codex-5","input":"Say hello.","instructions":"Be brief.","stream":true,"store":false}"#;
    let models = ModelAccess::new(catalogue, None);
    let client = "alice";
    let shelf = responses::Shelf { store, client };
    let parsed = responses::parse(black_box(body), &models, Profile::Chat, &shelf);
    parsed.expect("the body asks for a response")
}
