//! A legacy completion request: a prompt, and what OpenAI lets a client say about the text that follows it.
//! OpenAI API reference, "Create completion"; its default of 16 for `max_tokens` is not applied: the model ends the text.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::openai::models::ModelAccess;
use crate::openai::request::body;
use crate::openai::request::fields::{self, StreamOptions};
use crate::openai::request::sampling::Sampling;
use crate::openai::response::options::Reply;
use crate::openai::{ApiError, Delivery, Ignored};
use crate::turn::{
    Content, Item, Message, Profile, Role, Summary, Tools, TruncationRules, TurnRequest,
};

/// What stands before the model's text in the answer: the prompt, if the client wants it there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Echo(pub(super) Option<String>);

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redacted = self.0.as_ref().map(|_prompt| "[redacted]");
        f.debug_tuple("Echo").field(&redacted).finish()
    }
}

/// The fields that OpenAI documents. `null` is as good as absent, everywhere.
#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    prompt: Option<Prompt>,
    stream: Option<bool>,
    #[serde(default, deserialize_with = "body::object")]
    stream_options: Option<StreamOptions>,
    include_usage: Option<bool>,
    echo: Option<bool>,
    stop: Option<fields::Stop>,
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
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
enum Prompt {
    One(String),
    Several(Vec<String>),
    Tokens(Vec<u64>),
    SeveralOfTokens(Vec<Vec<u64>>),
}

/// Reads a request body.
///
/// # Errors
/// The body is not JSON, a field is wrong, or asks for what Codex cannot do; `param` points at the place.
pub fn parse(
    body: &[u8],
    models: &ModelAccess<'_>,
    profile: Profile,
) -> Result<(TurnRequest, Reply, Echo), ApiError> {
    let mut ignored = Ignored::default();
    let mut body: Body = body::read(body, &mut ignored)?;
    refuse_unsupported(&body)?;
    check_ranges(&body, &mut ignored)?;
    note_unused(&body, &mut ignored);
    let (model_id, model) = models.resolve(body.model.as_deref())?;
    let prompt = prompt(body.prompt.take(), &mut ignored)?;
    let echo = Echo((body.echo == Some(true)).then(|| prompt.clone()));
    let turn = TurnRequest {
        profile,
        model,
        conversation: vec![Item::Message(Message {
            role: Role::User,
            content: vec![Content::Text(prompt)],
        })],
        tools: Tools::default(),
        schema: None,
        summary: Summary::None,
    };
    let reply = Reply {
        delivery: delivery(&body),
        ignored,
        cut: cut(body)?,
        model_id,
        prompt_chars: turn.prompt_chars(),
    };
    Ok((turn, reply, echo))
}

fn refuse_unsupported(body: &Body) -> Result<(), ApiError> {
    let inserts = body.suffix.as_ref().is_some_and(|text| !text.is_empty());
    fields::refuse([
        (
            body.n.is_some_and(|n| n != 1),
            "n",
            "Only n = 1 is supported; send several requests.",
        ),
        (
            body.best_of.is_some_and(|best_of| best_of != 1),
            "best_of",
            "Only best_of = 1 is supported; send several requests and choose.",
        ),
        (
            body.logprobs.is_some(),
            "logprobs",
            "Codex reports no log probabilities.",
        ),
        (
            inserts,
            "suffix",
            "Codex cannot write what stands before a text; say in the prompt what follows.",
        ),
    ])
}

fn check_ranges(body: &Body, ignored: &mut Ignored) -> Result<(), ApiError> {
    let sampling = Sampling {
        temperature: body.temperature,
        top_p: body.top_p,
        presence_penalty: body.presence_penalty,
        frequency_penalty: body.frequency_penalty,
    };
    sampling.check(ignored)
}

/// Codex has no field for these.
fn note_unused(body: &Body, ignored: &mut Ignored) {
    for (name, present) in [
        ("logit_bias", body.logit_bias.is_some()),
        ("seed", body.seed.is_some()),
        ("user", body.user.is_some()),
    ] {
        ignored.note(name, present);
    }
}

/// The text to go on from. Several prompts are lines of one, as the Node proxy had it: a choice for each would take a
/// turn for each, and the client is told that it gets one.
fn prompt(prompt: Option<Prompt>, ignored: &mut Ignored) -> Result<String, ApiError> {
    let text = match prompt {
        Some(Prompt::One(text)) => text,
        Some(Prompt::Several(texts)) => {
            ignored.note("prompt[]", texts.len() > 1);
            texts.join("\n")
        }
        Some(Prompt::Tokens(tokens)) => return Err(refuse_tokens(tokens.len())),
        Some(Prompt::SeveralOfTokens(prompts)) => {
            return Err(refuse_tokens(prompts.iter().map(Vec::len).sum()));
        }
        None => String::new(),
    };
    if text.is_empty() {
        let text =
            "A prompt is needed, a string that is not empty; messages go to /v1/chat/completions.";
        return Err(ApiError::invalid(text).at("prompt"));
    }
    Ok(text)
}

fn refuse_tokens(number: usize) -> ApiError {
    let text = format!("The prompt is {number} tokens; Codex takes text, so send it as a string.");
    ApiError::unsupported("prompt", text)
}

fn cut(body: Body) -> Result<TruncationRules, ApiError> {
    Ok(TruncationRules {
        stop: fields::stop(body.stop)?,
        max_tokens: fields::max_tokens("max_tokens", body.max_tokens)?,
        ..TruncationRules::default()
    })
}

fn delivery(body: &Body) -> Delivery {
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
    use crate::openai::request::fields_table::{self, Parsed};

    fn read(body: &str) -> Result<(TurnRequest, Reply, Echo), ApiError> {
        let catalogue = Catalogue::new("gpt-5", "", Vec::new());
        let models = ModelAccess::new(&catalogue, None);
        parse(body.as_bytes(), &models, Profile::Chat)
    }

    fn with(field: &str) -> String {
        format!(r#"{{"prompt":"Say hi.",{field}}}"#)
    }

    #[test]
    fn a_prompt_is_one_message_of_the_user() {
        for (prompt, text, ignored) in [
            (r#""Say hi.""#, "Say hi.", None),
            (r#"["Say hi."]"#, "Say hi.", None),
            (r#"["Say","hi."]"#, "Say\nhi.", Some("prompt[]")),
        ] {
            let body = format!(r#"{{"prompt":{prompt},"model":"codex-5-low","echo":true}}"#);
            let (turn, reply, echo) = read(&body).unwrap();
            let message = Item::Message(Message {
                role: Role::User,
                content: vec![Content::Text(text.to_owned())],
            });
            assert_eq!(turn.conversation, [message]);
            assert_eq!(turn.model.effort, crate::turn::Effort::parse("low"));
            assert_eq!(reply.ignored.list().as_deref(), ignored);
            assert_eq!(echo.0.as_deref(), Some(text));
            assert!(
                !format!("{echo:?}").contains("hi."),
                "prompts stay out of the log"
            );
        }
    }

    #[test]
    fn the_table_of_fields_is_so() {
        fields_table::check::<Body>("/v1/completions", r#"{"prompt":"Hi."}"#, |body| {
            let (turn, reply, echo) = read(std::str::from_utf8(body).unwrap())?;
            Ok(Parsed {
                meaning: format!("{turn:?} {:?} {:?} {echo:?}", reply.cut, reply.delivery),
                ignored: reply.ignored.list(),
            })
        });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let invalid = "invalid_request_error";
        let unsupported = "unsupported_value";
        for (body, code, param) in [
            ("{}".to_owned(), invalid, "prompt"),
            (r#"{"prompt":""}"#.to_owned(), invalid, "prompt"),
            (r#"{"prompt":[""]}"#.to_owned(), invalid, "prompt"),
            (r#"{"prompt":[]}"#.to_owned(), invalid, "prompt"),
            (r#"{"prompt":7}"#.to_owned(), invalid, "prompt"),
            (r#"{"prompt":["a",7]}"#.to_owned(), invalid, "prompt"),
            (r#"{"messages":[]}"#.to_owned(), invalid, "prompt"),
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
            let answer = String::from_utf8(error.body()).unwrap();
            assert_eq!(error.code(), code, "{body}: {answer}");
            let param = format!("\"param\":\"{param}\"");
            assert!(answer.contains(&param), "{body}: {answer}");
        }
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let nulls = with(
            r#""model":null,"stream":null,"stream_options":null,"echo":null,"stop":null,"max_tokens":null,"suffix":null,"n":null,"best_of":null,"logprobs":null,"temperature":null,"user":null"#,
        );
        let (_, reply, echo) = read(&nulls).unwrap();
        assert_eq!((reply.ignored.list(), echo), (None, Echo(None)));
        assert_eq!(
            reply.cut,
            TruncationRules::default(),
            "no limit of 16 tokens"
        );
        assert!(read(&with(r#""suffix":"","n":1,"best_of":1"#)).is_ok());
    }
}
