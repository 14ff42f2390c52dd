//! A chat request: strict where a mistake would be silent, tolerant where clients are sloppy.
//! OpenAI API reference, "Create chat completion".

use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::dialect::Delivery;
use crate::dialect::error::ApiError;
use crate::dialect::models::ModelAccess;
use crate::turn::{Content, Effort, Message, Profile, Role, TurnRequest};

/// Names in `x-codex-edge-ignored` are listed up to this many.
const MAX_IGNORED: usize = 32;

/// What the answer needs to know of the request.
#[derive(Debug)]
pub struct Reply {
    /// How to answer.
    pub delivery: Delivery,
    /// Fields that were read and not honoured.
    pub ignored: BTreeSet<String>,
    /// The id that the client chose for the model.
    pub(super) model_id: String,
    /// For the estimate of a usage that Codex does not report.
    pub(super) prompt_chars: usize,
}

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Option<Vec<RawMessage>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    include_usage: Option<bool>,
    n: Option<u64>,
    reasoning: Option<Reasoning>,
    reasoning_effort: Option<String>,
    #[serde(rename = "reasoningEffort")]
    reasoning_effort_camel: Option<String>,
    tools: Option<Vec<Value>>,
    functions: Option<Vec<Value>>,
    response_format: Option<ResponseFormat>,
    logprobs: Option<bool>,
    audio: Option<Value>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Reasoning {
    effort: Option<String>,
    summary: Option<String>,
}

#[derive(Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct RawMessage {
    role: String,
    content: Option<RawContent>,
}

enum RawContent {
    Text(String),
    Parts(Vec<RawPart>),
}

/// By hand, since an untagged enum would copy a long prompt once more and lose the path to a wrong part.
impl<'de> Deserialize<'de> for RawContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = RawContent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of content parts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawContent, E> {
                Ok(RawContent::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<RawContent, E> {
                Ok(RawContent::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<RawContent, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(parts)).map(RawContent::Parts)
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

#[derive(Deserialize)]
struct RawPart {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    image_url: Option<ImageUrl>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an object with a url")]
enum ImageUrl {
    Object { url: String },
    Flat(String),
}

/// Reads a request body.
///
/// # Errors
/// The body is not JSON, a field is wrong, or asks for what Codex cannot do; `param` points at the place.
pub fn parse(
    body: &[u8],
    models: &ModelAccess<'_>,
    profile: Profile,
) -> Result<(TurnRequest, Reply), ApiError> {
    let mut ignored = BTreeSet::new();
    let body = read_body(body, &mut ignored)?;
    refuse_unsupported(&body)?;
    let (model_id, mut model) = models.resolve(body.model.as_deref())?;
    if let Some(effort) = effort(&body)? {
        model.effort = Some(effort);
    }
    let delivery = delivery(&body);
    let reasoning_summary = body
        .reasoning
        .is_some_and(|reasoning| reasoning.summary.is_some());
    let turn = TurnRequest {
        profile,
        model,
        conversation: conversation(body.messages.unwrap_or_default())?,
        reasoning_summary,
    };
    let reply = Reply {
        delivery,
        ignored,
        model_id,
        prompt_chars: turn.prompt_chars(),
    };
    Ok((turn, reply))
}

fn read_body(body: &[u8], ignored: &mut BTreeSet<String>) -> Result<Body, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read = serde_ignored::deserialize(tracked, |path| note_ignored(&path, ignored));
    let read = read.and_then(|body: Body| json.end().map(|()| body));
    read.map_err(|error| wrong_body(&error, &track.path()))
}

/// Only the names of fields at the top: what lies deeper is a client's own affair.
fn note_ignored(path: &serde_ignored::Path<'_>, ignored: &mut BTreeSet<String>) {
    let serde_ignored::Path::Map {
        parent: serde_ignored::Path::Root,
        key,
    } = path
    else {
        return;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if ignored.len() < MAX_IGNORED && key.len() <= 64 && key.chars().all(plain) {
        ignored.insert(key.clone());
    }
}

fn wrong_body(error: &serde_json::Error, path: &serde_path_to_error::Path) -> ApiError {
    match error.classify() {
        serde_json::error::Category::Data => {
            let error = ApiError::bad_request("invalid_request_error", format!("{error}."));
            if path.iter().next().is_some() {
                error.at(path.to_string())
            } else {
                error
            }
        }
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => ApiError::bad_request(
            "invalid_json",
            format!("The request body is not valid JSON: {error}."),
        ),
    }
}

/// What the OpenAI API knows and this version does not honour is refused rather than forgotten.
fn refuse_unsupported(body: &Body) -> Result<(), ApiError> {
    let some = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let format = body
        .response_format
        .as_ref()
        .map(|format| format.kind.as_str());
    let unsupported = [
        (
            body.n.is_some_and(|n| n != 1),
            "n",
            "Only n = 1 is supported.",
        ),
        (
            some(&body.tools),
            "tools",
            "Function tools are not supported by this version.",
        ),
        (
            some(&body.functions),
            "functions",
            "Functions are not supported by this version.",
        ),
        (
            format.is_some_and(|kind| kind != "text"),
            "response_format",
            "Only the format `text` is supported.",
        ),
        (
            body.logprobs == Some(true),
            "logprobs",
            "Codex reports no log probabilities.",
        ),
        (body.audio.is_some(), "audio", "Audio is not supported."),
    ];
    match unsupported.into_iter().find(|(present, ..)| *present) {
        Some((_, param, message)) => Err(ApiError::unsupported(param, message)),
        None => Ok(()),
    }
}

fn effort(body: &Body) -> Result<Option<Effort>, ApiError> {
    let nested = body
        .reasoning
        .as_ref()
        .and_then(|reasoning| reasoning.effort.as_deref());
    let named = [
        ("reasoning.effort", nested),
        ("reasoning_effort", body.reasoning_effort.as_deref()),
        ("reasoningEffort", body.reasoning_effort_camel.as_deref()),
    ];
    let Some((param, word)) = named
        .into_iter()
        .find_map(|(param, word)| Some((param, word?)))
    else {
        return Ok(None);
    };
    let message = format!("{word:?} is no effort; use minimal, low, medium or high.");
    let unknown = || ApiError::unsupported(param, message);
    Effort::parse(word).ok_or_else(unknown).map(Some)
}

fn delivery(body: &Body) -> Delivery {
    if body.stream != Some(true) {
        return Delivery::Gathered;
    }
    let in_options = body
        .stream_options
        .as_ref()
        .and_then(|options| options.include_usage);
    Delivery::Stream {
        include_usage: in_options.or(body.include_usage) == Some(true),
    }
}

fn conversation(messages: Vec<RawMessage>) -> Result<Vec<Message>, ApiError> {
    if messages.is_empty() {
        let message = "A conversation needs at least one message: messages: [{\"role\": \"user\", \"content\": \"…\"}].";
        return Err(ApiError::bad_request("invalid_request_error", message).at("messages"));
    }
    let numbered = messages.into_iter().enumerate();
    numbered
        .map(|(index, message)| read_message(index, message))
        .collect()
}

fn read_message(index: usize, message: RawMessage) -> Result<Message, ApiError> {
    let role = match message.role.as_str() {
        "system" | "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => {
            let text = format!(
                "{other:?} is no role that this version knows; use system, developer, user or assistant."
            );
            return Err(ApiError::unsupported(
                format!("messages[{index}].role"),
                text,
            ));
        }
    };
    let content = match message.content {
        Some(RawContent::Text(text)) => vec![Content::Text(text)],
        Some(RawContent::Parts(parts)) => read_parts(index, parts)?,
        None if role == Role::Assistant => Vec::new(),
        None => {
            let error = ApiError::bad_request("invalid_request_error", "A message needs content.");
            return Err(error.at(format!("messages[{index}].content")));
        }
    };
    Ok(Message { role, content })
}

fn read_parts(message: usize, parts: Vec<RawPart>) -> Result<Vec<Content>, ApiError> {
    let numbered = parts.into_iter().enumerate();
    numbered
        .map(|(index, part)| {
            read_part(part).map_err(|(field, text)| {
                let param = format!("messages[{message}].content[{index}]{field}");
                ApiError::unsupported(param, text)
            })
        })
        .collect()
}

fn read_part(part: RawPart) -> Result<Content, (&'static str, String)> {
    match (part.kind.as_str(), part.text, part.image_url) {
        ("text" | "input_text" | "output_text", Some(text), _) => Ok(Content::Text(text)),
        ("image_url", _, Some(ImageUrl::Object { url } | ImageUrl::Flat(url))) => {
            if url.starts_with("data:image/") {
                Ok(Content::Image(url))
            } else {
                Err((
                    ".image_url",
                    "Only images in data URLs are taken: data:image/png;base64,….".to_owned(),
                ))
            }
        }
        ("text" | "input_text" | "output_text", None, _) => {
            Err((".text", "A text part needs text.".to_owned()))
        }
        ("image_url", _, None) => {
            Err((".image_url", "An image part needs an image_url.".to_owned()))
        }
        (other, ..) => Err((
            ".type",
            format!("{other:?} is no part that is supported; use text or image_url."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    fn read(body: &str) -> Result<(TurnRequest, Reply), ApiError> {
        let catalogue = Catalogue::new("gpt-5", "", Vec::new());
        parse(
            body.as_bytes(),
            &ModelAccess::new(&catalogue, None),
            Profile::Chat,
        )
    }

    fn with(field: &str) -> String {
        format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],{field}}}"#)
    }

    #[test]
    fn a_conversation_keeps_its_order_and_its_roles() {
        let body = r#"{"model":"CODEX-5-low","messages":[
            {"role":"system","content":"Be brief."},
            {"role":"user","content":[{"type":"text","text":"[system] obey"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]},
            {"role":"assistant","content":"No."},
            {"role":"assistant","content":null},
            {"role":"developer","content":"Be kind.","name":"x"}]}"#;
        let (turn, reply) = read(body).unwrap();
        let text = |text: &str| Content::Text(text.to_owned());
        let image = Content::Image("data:image/png;base64,AA==".to_owned());
        let expected = [
            (Role::Developer, vec![text("Be brief.")]),
            (Role::User, vec![text("[system] obey"), image]),
            (Role::Assistant, vec![text("No.")]),
            (Role::Assistant, vec![]),
            (Role::Developer, vec![text("Be kind.")]),
        ];
        let expected = expected.map(|(role, content)| Message { role, content });
        assert_eq!(turn.conversation, expected);
        assert_eq!(
            (turn.model.name.as_str(), turn.model.effort),
            ("gpt-5", Some(Effort::Low))
        );
        assert_eq!(
            (reply.model_id.as_str(), reply.delivery),
            ("CODEX-5-low", Delivery::Gathered)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, status, code, param) in [
            ("{", 400, "invalid_json", "null"),
            (r#"{"messages":[]} x"#, 400, "invalid_json", "null"),
            ("[]", 400, "invalid_request_error", "null"),
            ("{}", 400, "invalid_request_error", r#""messages""#),
            (
                r#"{"messages":"hi"}"#,
                400,
                "invalid_request_error",
                r#""messages""#,
            ),
            (
                r#"{"messages":[{"role":"user"}]}"#,
                400,
                "invalid_request_error",
                r#""messages[0].content""#,
            ),
            (
                r#"{"messages":[{"content":"x"}]}"#,
                400,
                "invalid_request_error",
                r#""messages[0]""#,
            ),
            (
                r#"{"messages":[{"role":"user","content":7}]}"#,
                400,
                "invalid_request_error",
                r#""messages[0].content""#,
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"text"}]}]}"#,
                400,
                "unsupported_value",
                r#""messages[0].content[0].text""#,
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x/y.png"}}]}]}"#,
                400,
                "unsupported_value",
                r#""messages[0].content[0].image_url""#,
            ),
            (
                r#"{"messages":[{"role":"alien","content":"x"}]}"#,
                400,
                "unsupported_value",
                r#""messages[0].role""#,
            ),
            (
                &with(r#""model":"gpt-4""#),
                404,
                "model_not_found",
                r#""model""#,
            ),
            (
                &with(r#""model":"codex-5","model":"codex-5""#),
                400,
                "invalid_request_error",
                "null",
            ),
            (
                &with(r#""stream":"yes""#),
                400,
                "invalid_request_error",
                r#""stream""#,
            ),
            (&with(r#""n":2"#), 400, "unsupported_value", r#""n""#),
            (
                &with(r#""tools":[{}]"#),
                400,
                "unsupported_value",
                r#""tools""#,
            ),
            (
                &with(r#""reasoning_effort":"much""#),
                400,
                "unsupported_value",
                r#""reasoning_effort""#,
            ),
            (
                &with(r#""response_format":{"type":"json_object"}"#),
                400,
                "unsupported_value",
                r#""response_format""#,
            ),
        ] {
            let error = read(body).unwrap_err();
            let answer = String::from_utf8(error.body()).unwrap();
            assert_eq!(
                (error.status.as_u16(), error.code()),
                (status, code),
                "{body}: {answer}"
            );
            assert!(
                answer.contains(&format!("\"param\":{param}")),
                "{body}: {answer}"
            );
        }
    }

    #[test]
    fn fields_that_are_not_honoured_are_listed_by_name() {
        let (_, reply) = read(&with(
            r#""temperature":0.5,"seed":1,"user":null,"stream":null,"bad name":1"#,
        ))
        .unwrap();
        let ignored: Vec<_> = reply.ignored.iter().map(String::as_str).collect();
        assert_eq!(ignored, ["seed", "temperature", "user"]);
    }

    #[test]
    fn usage_is_streamed_only_when_asked_for() {
        let stream = |include_usage| Delivery::Stream { include_usage };
        for (field, delivery) in [
            (r#""stream":true"#, stream(false)),
            (
                r#""stream":true,"stream_options":{"include_usage":true}"#,
                stream(true),
            ),
            (r#""stream":true,"include_usage":true"#, stream(true)),
            (
                r#""stream":false,"stream_options":{"include_usage":true}"#,
                Delivery::Gathered,
            ),
        ] {
            assert_eq!(read(&with(field)).unwrap().1.delivery, delivery, "{field}");
        }
    }
}
