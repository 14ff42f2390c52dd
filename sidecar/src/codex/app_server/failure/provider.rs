//! The provider's refusal of a request in a failure message of Codex: the provider's error body, or its sentence alone.
//! OpenAI API reference, "Error codes". Codex keeps the body of a 400 and drops the code of every other refusal, so the
//! sentence has to tell.

use serde_json::Value;

use crate::turn::{Refusal, RequestField};

/// The beginnings of OpenAI's sentences about a request, each with its code and its part of the request.
const SENTENCES: [(&str, &str, Option<RequestField>); 4] = [
    (
        "Invalid schema for response_format",
        "invalid_json_schema",
        Some(RequestField::OutputSchema),
    ),
    (
        "Invalid schema for function",
        "invalid_function_parameters",
        Some(RequestField::Tools),
    ),
    ("Invalid prompt", "invalid_prompt", None),
    ("Invalid value", "invalid_value", None),
];

/// The beginnings of the paths of OpenAI's Responses API, each with its part of the request.
const PATHS: [(&str, RequestField); 9] = [
    ("input", RequestField::Conversation),
    ("instructions", RequestField::Conversation),
    ("tools", RequestField::Tools),
    ("text.format", RequestField::OutputSchema),
    ("text.verbosity", RequestField::Verbosity),
    ("reasoning.effort", RequestField::Effort),
    ("reasoning.summary", RequestField::Summary),
    ("service_tier", RequestField::ServiceTier),
    ("model", RequestField::Model),
];

/// The name that Codex gives to each output schema, which no client has seen.
const SCHEMA_NAME: &str = " 'codex_output_schema'";

/// Longest code, in characters. OpenAI's longest is half as long.
const MAX_CODE: usize = 64;

/// Returns the refusal in the message of a failure that is known to be one.
pub(super) fn refusal(message: &str) -> Refusal {
    let body = provider_body(message);
    parse_body(message)
        .or_else(|| parse_body(body))
        .unwrap_or_else(|| by_sentence(body))
}

/// Returns the refusal in the message of a failure that may be another one: an error body, or a sentence that OpenAI
/// has for requests.
pub(super) fn refusal_in_text(message: &str) -> Option<Refusal> {
    let sentence = message
        .strip_prefix("stream disconnected before completion: ")
        .unwrap_or(message);
    parse_body(message).or_else(|| Some(by_sentence(sentence)).filter(|known| known.code.is_some()))
}

/// Returns the provider's sentence.
pub(super) fn provider_message(message: &str) -> String {
    refusal(message).sentence
}

/// Returns the provider's body, which is the message of Codex, or the part of it between status and address.
fn provider_body(message: &str) -> &str {
    let body = message
        .strip_prefix("unexpected status ")
        .and_then(|rest| rest.split_once(": "))
        .map_or(message, |(_status, body)| body);
    // Removed for the client: the address is internal to the operator's network.
    body.split_once(", url: ").map_or(body, |(text, _)| text)
}

fn parse_body(body: &str) -> Option<Refusal> {
    let body: Value = serde_json::from_str(body).ok()?;
    let error = body.get("error").unwrap_or(&Value::Null);
    let sentence = error.get("message").or_else(|| body.get("detail"))?;
    let known = by_sentence(sentence.as_str()?);
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    Some(Refusal {
        code: text("code")
            .filter(|code| is_code(code))
            .map(str::to_owned)
            .or(known.code),
        field: text("param").map_or(known.field, field_at),
        sentence: known.sentence,
    })
}

fn by_sentence(sentence: &str) -> Refusal {
    let known = SENTENCES
        .iter()
        .find(|(start, ..)| sentence.starts_with(start));
    Refusal {
        sentence: sentence.replace(SCHEMA_NAME, ""),
        code: known.map(|(_, code, _)| (*code).to_owned()),
        field: known.and_then(|(.., field)| *field),
    }
}

/// Returns the part of the request at a path of the provider's request, which Codex composes: an index in it does not
/// count the client's items. `None` for a field that is Codex's own.
fn field_at(path: &str) -> Option<RequestField> {
    let is_below = |start: &str| {
        let rest = path.strip_prefix(start);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let known = PATHS.iter().find(|(start, _)| is_below(start));
    known.map(|(_, field)| *field)
}

fn is_code(code: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_of_the_provider_keeps_code_field_and_sentence() {
        use RequestField::{Conversation, OutputSchema, Tools};
        for (body, code, field, sentence) in [
            (
                r#"{"error":{"code":"invalid_json_schema","message":"Invalid schema for response_format 'codex_output_schema': No.","param":"text.format.schema"}}"#,
                Some("invalid_json_schema"),
                Some(OutputSchema),
                "Invalid schema for response_format: No.",
            ),
            (
                r#"{"error":{"code":"invalid_function_parameters","message":"No.","param":"tools[0].parameters"}}"#,
                Some("invalid_function_parameters"),
                Some(Tools),
                "No.",
            ),
            (
                r#"{"error":{"code":"unsupported_value","message":"No.","param":"input[3].content[0]"}}"#,
                Some("unsupported_value"),
                Some(Conversation),
                "No.",
            ),
            (
                r#"{"error":{"code":null,"message":"No.","param":"client_metadata"}}"#,
                None,
                None,
                "No.",
            ),
            (
                r#"{"error":{"code":"Not a code","message":"No.","param":"inputs"}}"#,
                None,
                None,
                "No.",
            ),
            (r#"{"detail":"No."}"#, None, None, "No."),
        ] {
            let refusal = refusal(body);
            assert_eq!(
                (refusal.code.as_deref(), refusal.field),
                (code, field),
                "{body}"
            );
            assert_eq!(refusal.sentence, sentence, "{body}");
        }
    }

    #[test]
    fn sentence_alone_is_a_refusal_only_where_openai_has_it_for_requests() {
        for (message, code) in [
            ("Invalid prompt: flagged", Some("invalid_prompt")),
            (
                "stream disconnected before completion: Invalid schema for function 'f': No.",
                Some("invalid_function_parameters"),
            ),
            ("stream disconnected before completion: Boom.", None),
            ("internal error; agent loop died unexpectedly", None),
        ] {
            let refusal = refusal_in_text(message);
            assert_eq!(
                refusal.and_then(|refusal| refusal.code).as_deref(),
                code,
                "{message}"
            );
        }
    }
}
