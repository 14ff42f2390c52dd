//! Parses a legacy completion request: a prompt, and the options for the text that follows the prompt.
//! OpenAI API reference, "Create completion". Its default of 16 for `max_tokens` is not applied: the text has no limit.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::openai::models::ModelAccess;
use crate::openai::request::body;
use crate::openai::request::fields::{self, StopField, StreamOptions, UnsupportedField};
use crate::openai::request::model::RequestedModel;
use crate::openai::request::sampling::Sampling;
use crate::openai::response::options::ResponseOptions;
use crate::openai::{ApiError, Delivery, IgnoredFields};
use crate::turn::{
    Content, ConversationDigest, Item, MemoryHold, Message, Profile, Role, Summary, Tools,
    TruncationRules, TurnRequest,
};

/// The prompt, if the client asked for it in front of the model's text with `echo`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PromptEcho(pub(super) Option<String>);

impl fmt::Debug for PromptEcho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redacted = self.0.as_ref().map(|_prompt| "[redacted]");
        f.debug_tuple("PromptEcho").field(&redacted).finish()
    }
}

/// The fields that OpenAI documents. `null` counts as absent for each.
#[derive(Deserialize)]
struct CompletionBody {
    model: Option<String>,
    prompt: Option<Prompt>,
    stream: Option<bool>,
    #[serde(default, deserialize_with = "body::object")]
    stream_options: Option<StreamOptions>,
    include_usage: Option<bool>,
    echo: Option<bool>,
    stop: Option<StopField>,
    max_tokens: Option<u64>,
    suffix: Option<String>,
    n: Option<u64>,
    best_of: Option<u64>,
    logprobs: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    logit_bias: Option<BTreeMap<String, f64>>,
    seed: Option<i64>,
    user: Option<String>,
    // Fields of the other two routes.
    messages: Option<IgnoredAny>,
    input: Option<IgnoredAny>,
    instructions: Option<IgnoredAny>,
    max_completion_tokens: Option<IgnoredAny>,
    max_output_tokens: Option<IgnoredAny>,
    response_format: Option<IgnoredAny>,
    text: Option<IgnoredAny>,
    tools: Option<IgnoredAny>,
    tool_choice: Option<IgnoredAny>,
    functions: Option<IgnoredAny>,
    function_call: Option<IgnoredAny>,
    previous_response_id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
enum Prompt {
    One(String),
    Several(Vec<String>),
    // Parsed only to be rejected with a message of their own: Codex accepts text.
    Tokens(Vec<u64>),
    SeveralOfTokens(Vec<Vec<u64>>),
}

/// Parses a request body.
///
/// # Errors
/// 400 when the body is not JSON, a field is invalid, or Codex cannot honour a field; 403 or 404 for a model that the
/// client cannot use. `param` is the path of the field.
pub fn parse(
    body: &[u8],
    models: &ModelAccess<'_>,
    profile: Profile,
) -> Result<(TurnRequest, ResponseOptions, PromptEcho), ApiError> {
    let mut ignored = IgnoredFields::default();
    let mut body: CompletionBody = body::read(body, &mut ignored)?;
    reject_foreign(&body)?;
    // Unsupported fields first: their message says what to use instead, which a range error would hide.
    reject_unsupported(&body)?;
    check_ranges(&body, &mut ignored)?;
    add_unused(&body, &mut ignored);
    let requested = RequestedModel {
        id: body.model.as_deref(),
        ..RequestedModel::default()
    };
    let (model_id, model) = models.resolve(&requested, &mut ignored)?;
    let prompt = prompt(body.prompt.take(), &mut ignored)?;
    let echo = PromptEcho((body.echo == Some(true)).then(|| prompt.clone()));
    let turn = TurnRequest {
        profile,
        model,
        conversation: vec![Item::Message(Message {
            phase: None,
            role: Role::User,
            content: vec![Content::Text(prompt)],
        })],
        tools: Tools::default(),
        schema: None,
        summary: Summary::None,
        memory: MemoryHold::default(),
        hint: None,
        token_cap: None,
        digest: ConversationDigest::default(),
    };
    let options = ResponseOptions {
        delivery: delivery(&body),
        ignored,
        truncation: truncation_rules(body)?,
        context_window: models.context_window(&model_id),
        model_id,
        prompt_chars: turn.prompt_chars(),
    };
    Ok((turn, options, echo))
}

fn reject_foreign(body: &CompletionBody) -> Result<(), ApiError> {
    const CHAT: &str = "use /v1/chat/completions";
    const MAX_TOKENS: &str = "use `max_tokens`";
    fields::reject_foreign([
        (
            body.messages.is_some(),
            "messages",
            "send `prompt`, or use /v1/chat/completions",
        ),
        (
            body.input.is_some(),
            "input",
            "send `prompt`, or use /v1/responses",
        ),
        (
            body.instructions.is_some(),
            "instructions",
            "write them into the `prompt`",
        ),
        (
            body.max_completion_tokens.is_some(),
            "max_completion_tokens",
            MAX_TOKENS,
        ),
        (
            body.max_output_tokens.is_some(),
            "max_output_tokens",
            MAX_TOKENS,
        ),
        (body.response_format.is_some(), "response_format", CHAT),
        (body.text.is_some(), "text", "use /v1/responses"),
        (body.tools.is_some(), "tools", CHAT),
        (body.tool_choice.is_some(), "tool_choice", CHAT),
        (body.functions.is_some(), "functions", CHAT),
        (body.function_call.is_some(), "function_call", CHAT),
        (
            body.previous_response_id.is_some(),
            "previous_response_id",
            "use /v1/responses",
        ),
    ])
}

fn reject_unsupported(body: &CompletionBody) -> Result<(), ApiError> {
    let has_suffix = body.suffix.as_ref().is_some_and(|text| !text.is_empty());
    fields::reject_unsupported([
        UnsupportedField::choices(body.n),
        UnsupportedField::new(
            body.best_of.is_some_and(|best_of| best_of != 1),
            "best_of",
            "`best_of` must be 1; send several requests and choose.",
        ),
        UnsupportedField::log_probabilities(body.logprobs.is_some(), "logprobs"),
        UnsupportedField::new(
            has_suffix,
            "suffix",
            "`suffix` is not supported; describe in the prompt the text that follows.",
        ),
    ])
}

fn check_ranges(body: &CompletionBody, ignored: &mut IgnoredFields) -> Result<(), ApiError> {
    let sampling = Sampling {
        temperature: body.temperature,
        top_p: body.top_p,
        presence_penalty: body.presence_penalty,
        frequency_penalty: body.frequency_penalty,
    };
    sampling.check(ignored)
}

/// Adds the fields that Codex has no counterpart for.
fn add_unused(body: &CompletionBody, ignored: &mut IgnoredFields) {
    for (name, present) in [
        ("logit_bias", body.logit_bias.is_some()),
        ("seed", body.seed.is_some()),
        ("user", body.user.is_some()),
    ] {
        ignored.add_if(name, present);
    }
}

/// Returns the prompt. Several prompts are joined to one by newlines, as the earlier Node proxy did: a choice for each
/// prompt would need a turn for each. The client learns of that from `prompt[]` among the ignored fields.
fn prompt(prompt: Option<Prompt>, ignored: &mut IgnoredFields) -> Result<String, ApiError> {
    let text = match prompt {
        Some(Prompt::One(text)) => text,
        Some(Prompt::Several(texts)) => {
            ignored.add_if("prompt[]", texts.len() > 1);
            texts.join("\n")
        }
        Some(Prompt::Tokens(tokens)) => return Err(token_prompt(tokens.len())),
        Some(Prompt::SeveralOfTokens(prompts)) => {
            return Err(token_prompt(prompts.iter().map(Vec::len).sum()));
        }
        None => String::new(),
    };
    if text.is_empty() {
        let text =
            "`prompt` must be a string that is not empty; send messages to /v1/chat/completions.";
        return Err(ApiError::invalid(text).at("prompt"));
    }
    Ok(text)
}

fn token_prompt(tokens: usize) -> ApiError {
    let text = format!("Unsupported prompt of {tokens} token ids; send the prompt as a string.");
    ApiError::unsupported("prompt", text)
}

fn truncation_rules(body: CompletionBody) -> Result<TruncationRules, ApiError> {
    Ok(TruncationRules {
        stop: fields::stop_sequences(body.stop)?,
        max_tokens: fields::max_tokens("max_tokens", body.max_tokens)?,
        ..TruncationRules::default()
    })
}

fn delivery(body: &CompletionBody) -> Delivery {
    let options = body.stream_options.as_ref();
    Delivery::of(
        body.stream,
        fields::include_usage(options, body.include_usage),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::openai::request::tests::fields_table::{self, ObjectFields, Parsed};

    fn read(body: &str) -> Result<(TurnRequest, ResponseOptions, PromptEcho), ApiError> {
        let models = ModelAccess::new(Catalogue::of_model("gpt-5"), None);
        parse(body.as_bytes(), &models, Profile::Chat)
    }

    fn with(field: &str) -> String {
        format!(r#"{{"prompt":"Say hi.",{field}}}"#)
    }

    #[test]
    fn a_prompt_becomes_one_user_message() {
        for (prompt, text, ignored) in [
            (r#""Say hi.""#, "Say hi.", None),
            (r#"["Say hi."]"#, "Say hi.", None),
            (r#"["Say","hi."]"#, "Say\nhi.", Some("prompt[]")),
        ] {
            let body = format!(r#"{{"prompt":{prompt},"model":"codex-5-low","echo":true}}"#);
            let (turn, options, echo) = read(&body).unwrap();
            let message = Item::Message(Message {
                phase: None,
                role: Role::User,
                content: vec![Content::Text(text.to_owned())],
            });
            assert_eq!(turn.conversation, [message]);
            assert_eq!(turn.model.effort, crate::turn::Effort::parse("low"));
            assert_eq!(options.ignored.list().as_deref(), ignored);
            assert_eq!(echo.0.as_deref(), Some(text));
            assert!(
                !format!("{echo:?}").contains("hi."),
                "a prompt must not reach the log"
            );
        }
    }

    #[test]
    fn the_table_of_fields_matches_the_parser() {
        let objects = [ObjectFields::of::<StreamOptions>("stream_options")];
        fields_table::check::<CompletionBody>(
            "/v1/completions",
            r#"{"prompt":"Hi."}"#,
            &objects,
            |body| {
                let (turn, options, echo) = read(std::str::from_utf8(body).unwrap())?;
                Ok(Parsed {
                    meaning: format!(
                        "{turn:?} {:?} {:?} {echo:?}",
                        options.truncation, options.delivery
                    ),
                    ignored: options.ignored.list(),
                })
            },
        );
    }

    #[test]
    fn invalid_fields_are_rejected_with_code_and_param() {
        let invalid = "invalid_request_error";
        let unsupported = "unsupported_value";
        for (body, code, param) in [
            ("{}".to_owned(), invalid, "prompt"),
            (r#"{"prompt":""}"#.to_owned(), invalid, "prompt"),
            (r#"{"prompt":[""]}"#.to_owned(), invalid, "prompt"),
            (r#"{"prompt":[]}"#.to_owned(), invalid, "prompt"),
            (r#"{"prompt":7}"#.to_owned(), invalid, "prompt"),
            (r#"{"prompt":["a",7]}"#.to_owned(), invalid, "prompt"),
            (
                r#"{"messages":[]}"#.to_owned(),
                "unsupported_parameter",
                "messages",
            ),
            (r#"{"prompt":[1,2]}"#.to_owned(), unsupported, "prompt"),
            (r#"{"prompt":[[1],[2]]}"#.to_owned(), unsupported, "prompt"),
            (with(r#""model":"gpt-4""#), "model_not_found", "model"),
            (with(r#""n":2"#), unsupported, "n"),
            (with(r#""best_of":3"#), unsupported, "best_of"),
            (with(r#""logprobs":0"#), unsupported, "logprobs"),
            (with(r#""suffix":"}""#), unsupported, "suffix"),
            (with(r#""echo":"yes""#), invalid, "echo"),
            (with(r#""stream":1"#), invalid, "stream"),
            (with(r#""max_tokens":0"#), invalid, "max_tokens"),
            (with(r#""stop":["a","b","c","d","e"]"#), invalid, "stop"),
            (with(r#""temperature":2.1"#), invalid, "temperature"),
            (with(r#""top_p":-1"#), invalid, "top_p"),
            (with(r#""presence_penalty":3"#), invalid, "presence_penalty"),
            (
                with(r#""frequency_penalty":-3"#),
                invalid,
                "frequency_penalty",
            ),
            (with(r#""logit_bias":[]"#), invalid, "logit_bias"),
            (with(r#""seed":"x""#), invalid, "seed"),
        ] {
            let error = read(&body).unwrap_err();
            let response = String::from_utf8(error.body()).unwrap();
            assert_eq!(error.code(), code, "{body}: {response}");
            let param = format!("\"param\":\"{param}\"");
            assert!(response.contains(&param), "{body}: {response}");
        }
    }

    #[test]
    fn null_counts_as_absent() {
        let nulls = with(
            r#""model":null,"stream":null,"stream_options":null,"echo":null,"stop":null,"max_tokens":null,"suffix":null,"n":null,"best_of":null,"logprobs":null,"temperature":null,"user":null"#,
        );
        let (_, options, echo) = read(&nulls).unwrap();
        assert_eq!((options.ignored.list(), echo), (None, PromptEcho(None)));
        assert_eq!(
            options.truncation,
            TruncationRules::default(),
            "no limit of 16 tokens"
        );
        assert!(read(&with(r#""suffix":"","n":1,"best_of":1"#)).is_ok());
    }
}
