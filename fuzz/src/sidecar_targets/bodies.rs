//! Request bodies of each endpoint: accepted, or rejected in OpenAI's error format. The model of an accepted body is the
//! one that the filter finds in the same bytes; otherwise a key could use a model that the filter does not allow.

use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};

use filter::scan::{ModelField, ModelScanner, ScanError};
use serde::Deserialize;
use serde_json::Value;
use sidecar::anthropic;
use sidecar::catalogue::Catalogue;
use sidecar::openai::chat::ClientReasoning;
use sidecar::openai::models::ModelAccess;
use sidecar::openai::{ApiError, chat, completions, responses};
use sidecar::store::{ReasoningCache, ResponseStore, StoreLimits};
use sidecar::turn::{Profile, TurnRequest};

static CATALOGUE: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Catalogue::of_model("gpt-5"));

/// The model id of a body without one.
const DEFAULT_MODEL: &str = "gpt-5";

pub(crate) fn check_chat(body: &[u8]) {
    let cache = ReasoningCache::default();
    let reasoning = ClientReasoning {
        cache: &cache,
        client: "",
    };
    let parsed = chat::parse(body, &models(), Profile::Chat, reasoning);
    check(body, parsed.map(|(turn, reply)| (turn, reply.model_id)));
}

pub(crate) fn check_completions(body: &[u8]) {
    let parsed = completions::parse(body, &models(), Profile::Chat);
    check(body, parsed.map(|(turn, reply, _)| (turn, reply.model_id)));
}

pub(crate) fn check_responses(body: &[u8]) {
    let store = ResponseStore::new(StoreLimits {
        responses: NonZeroUsize::new(1),
        bytes: 1 << 20,
        age: None,
    });
    let client = "alice";
    let shelf = responses::ClientResponses {
        store: &store,
        client,
    };
    let parsed = responses::parse(body, &models(), Profile::Chat, &shelf);
    check(
        body,
        parsed.map(|(turn, spec)| (turn, spec.options.model_id)),
    );
}

pub(crate) fn check_messages(body: &[u8]) {
    let cache = ReasoningCache::default();
    let reasoning = ClientReasoning {
        cache: &cache,
        client: "",
    };
    let parsed = anthropic::parse(body, &models(), Profile::Chat, reasoning);
    if let Err(error) = &parsed {
        let body = anthropic::error_body(error, None);
        let body: Value = serde_json::from_slice(&body).expect("a rejection is JSON");
        assert!(body["type"] == "error" && body["error"]["type"].is_string());
    }
    let counted = anthropic::count_tokens(body, &models(), Profile::Chat, reasoning);
    assert!(
        parsed.is_err() || counted.is_ok(),
        "the tokens of an accepted body are counted"
    );
    check(
        body,
        parsed.map(|(turn, spec)| (turn, spec.options.model_id)),
    );
}

fn models() -> ModelAccess<'static> {
    ModelAccess::new(Arc::clone(&CATALOGUE), None)
}

fn check(body: &[u8], parsed: Result<(TurnRequest, String), ApiError>) {
    match parsed {
        Ok((turn, model_id)) => {
            let text = std::str::from_utf8(body).expect("an accepted body is UTF-8");
            serde_json::from_str::<serde::de::IgnoredAny>(text).expect("an accepted body is JSON");
            let found = model_of(body);
            // The patterns of a key do not depend on the case, and a response has the id as it is listed.
            assert!(
                found.is_none_or(|found| found.eq_ignore_ascii_case(&model_id)),
                "filter and sidecar agree"
            );
            assert!(
                !turn.conversation.is_empty(),
                "an accepted conversation is not empty"
            );
        }
        Err(error) => check_rejection(&error),
    }
}

/// The model as the filter finds it; `None` if the filter rejects the body.
fn model_of(body: &[u8]) -> Option<String> {
    let mut scanner = ModelScanner::default();
    scanner.feed(body);
    match scanner.finish() {
        ModelField::Named(model) => Some(model),
        ModelField::Missing => Some(DEFAULT_MODEL.to_owned()),
        // Such a depth is possible only in a field that the sidecar ignores.
        ModelField::Invalid(ScanError::TooDeep) => None,
        ModelField::Invalid(fault) => panic!("the filter rejects the body: {fault:?}"),
    }
}

/// `{"error":{"message","type","param","code"}}`, without further fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorFields {
    message: String,
    r#type: String,
    param: Value,
    code: String,
}

fn check_rejection(error: &ApiError) {
    assert!(error.status.is_client_error(), "{error:?}");
    let body = error.body();
    let ErrorBody { error } =
        serde_json::from_slice(&body).expect("a rejection has OpenAI's format");
    assert!(!error.message.is_empty() && !error.r#type.is_empty() && !error.code.is_empty());
    assert!(
        error.param.is_null() || error.param.is_string(),
        "{}",
        error.param
    );
}
