//! Parsing of request bodies into turns, which the sidecar does before it involves a child.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};

use gungraun::{library_benchmark, library_benchmark_group};
use sidecar::catalogue::Catalogue;
use sidecar::openai::chat::ClientReasoning;
use sidecar::openai::models::ModelAccess;
use sidecar::openai::{ResponseOptions, chat, responses};
use sidecar::store::{ReasoningCache, ResponseStore, StoreLimits};
use sidecar::turn::{Profile, TurnRequest};

use crate::chat_bodies::{KIB, model_first};
use crate::work::{Work, call};

#[library_benchmark(setup = call)]
#[bench::of_1_kib(parse_chats(model_first(KIB)))]
#[bench::of_64_kib(parse_chats(model_first(64 * KIB)))]
fn parse_chat(work: Work) -> Work {
    call(work)
}

#[library_benchmark(setup = call)]
#[bench::text_input(parse_responses())]
fn parse_response(work: Work) -> Work {
    call(work)
}

library_benchmark_group!(name = parsing, benchmarks = [parse_chat, parse_response]);

fn parse_chats(body: Vec<u8>) -> Work {
    let catalogue = catalogue();
    Box::new(move || drop(black_box(chat(&catalogue, black_box(&body)))))
}

fn parse_responses() -> Work {
    let (catalogue, store) = (catalogue(), store());
    Box::new(move || drop(black_box(response(&catalogue, &store))))
}

/// The catalogue of a sidecar without configured models.
pub(crate) fn catalogue() -> Arc<Catalogue> {
    Catalogue::of_model("gpt-5")
}

pub(crate) fn chat(catalogue: &Arc<Catalogue>, body: &[u8]) -> (TurnRequest, ResponseOptions) {
    let models = ModelAccess::new(Arc::clone(catalogue), None);
    static CACHE: LazyLock<ReasoningCache> = LazyLock::new(ReasoningCache::default);
    let reasoning = ClientReasoning {
        cache: &CACHE,
        client: "bench",
    };
    chat::parse(body, &models, Profile::Chat, reasoning)
        .expect("the body is a valid chat completion request")
}

/// A store with limits that the benchmarks do not reach.
pub(crate) fn store() -> Arc<ResponseStore> {
    Arc::new(ResponseStore::new(StoreLimits {
        responses: NonZeroUsize::new(4096),
        bytes: 64 << 20,
        age: None,
    }))
}

pub(crate) fn response(
    catalogue: &Arc<Catalogue>,
    store: &ResponseStore,
) -> (TurnRequest, responses::ResponseSpec) {
    let body = br#"{"model":"codex-5","input":"Say hello.","instructions":"Be brief.","stream":true,"store":false}"#;
    let models = ModelAccess::new(Arc::clone(catalogue), None);
    let client = "alice";
    let scope = responses::ClientResponses { store, client };
    responses::parse(black_box(body), &models, Profile::Chat, &scope)
        .expect("the body is a valid response request")
}
