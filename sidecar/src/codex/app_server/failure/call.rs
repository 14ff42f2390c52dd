//! The failure of a call that prepares a turn: `thread/start`, `thread/inject_items` or `turn/start`.
//! Codex 0.169 and 0.171 report nearly every such failure as -32600, so the text tells a request that Codex does not take
//! from a fault of Codex or of the sidecar.

use crate::codex::app_server::calls::Call;
use crate::codex::app_server::wire;
use crate::turn::{Refusal, RequestField, TurnError};

/// JSON-RPC 2.0, "Invalid Request" and "Invalid params".
const REFUSALS: [i64; 2] = [-32600, -32602];

/// The beginnings of refusals that no client can cause: the sidecar's call does not fit this Codex, or Codex's own
/// configuration is broken.
const FAULTS: [&str; 7] = [
    "Invalid request",
    "Not initialized",
    "failed to load configuration",
    "No models are available",
    "thread not found",
    "invalid thread id",
    "thread/",
];

const TOOL: &str = "dynamic tool ";
const TOOL_SCHEMA: &str = "dynamic tool input schema is not supported for ";
const TOOL_RESERVED: &str = "dynamic tool name is reserved: ";
const TOOL_DUPLICATE: &str = "duplicate dynamic tool name: ";

/// Returns the error of a turn after a failed call.
pub(in crate::codex::app_server) fn call_error(call: Call, error: &wire::CallError) -> TurnError {
    if error.code == wire::OVERLOADED {
        return TurnError::Busy;
    }
    if !REFUSALS.contains(&error.code) {
        return TurnError::Protocol;
    }
    refusal(call, &error.message).map_or(TurnError::Protocol, TurnError::RefusedByCodex)
}

/// Returns the refusal of the client's request; `None` for a fault of Codex or of the sidecar.
fn refusal(call: Call, message: &str) -> Option<Refusal> {
    let is_about = |word: &str| message.contains(word);
    if is_about("reasoning_effort") {
        let sentence = "the reasoning effort must not be empty".to_owned();
        return Some(about(RequestField::Effort, sentence));
    }
    if FAULTS.iter().any(|fault| message.starts_with(fault)) {
        return None;
    }
    if message.starts_with(TOOL) || message.starts_with(TOOL_DUPLICATE) {
        return Some(tool_refusal(message));
    }
    if is_about("schema") {
        let sentence = "the output schema is not supported".to_owned();
        return Some(about(RequestField::OutputSchema, sentence));
    }
    // The call has the conversation and nothing else of the client.
    if matches!(call, Call::InjectItems(_)) || is_about("image") || is_about("Input") {
        return Some(about(
            RequestField::Conversation,
            conversation_reason(message),
        ));
    }
    None
}

fn about(field: RequestField, sentence: String) -> Refusal {
    Refusal {
        sentence,
        code: None,
        field: Some(field),
    }
}

fn tool_refusal(message: &str) -> Refusal {
    if let Some((name, reason)) = message
        .strip_prefix(TOOL_SCHEMA)
        .and_then(|rest| rest.split_once(": "))
    {
        let sentence = format!(
            "the JSON schema of the tool \"{name}\" is not supported: {}",
            schema_reason(reason)
        );
        return Refusal {
            code: Some("invalid_function_parameters".to_owned()),
            ..about(RequestField::Tools, sentence)
        };
    }
    let sentence = if let Some(name) = message.strip_prefix(TOOL_RESERVED) {
        format!("the tool name \"{name}\" is reserved; rename the tool")
    } else if let Some(name) = message.strip_prefix(TOOL_DUPLICATE) {
        format!("two tools have the name \"{name}\"; rename one of them")
    } else {
        "a tool name is not supported; use up to 64 letters, digits, underscores and hyphens".into()
    };
    about(RequestField::Tools, sentence)
}

/// Returns the reason in the terms of JSON; that of Codex has the terms of its parser: "invalid type: string \"a\",
/// expected a sequence".
fn schema_reason(reason: &str) -> String {
    let words = reason
        .strip_prefix("invalid type: ")
        .and_then(|rest| rest.split_once(", expected "));
    let Some((found, expected)) = words else {
        return "its outermost type must be \"object\", and every keyword must have a value of its type"
            .to_owned();
    };
    let found = match found.split(' ').next().unwrap_or_default() {
        "string" => "a string",
        "sequence" => "a list",
        "map" => "an object",
        "boolean" => "a boolean",
        "null" | "unit" => "null",
        _ => "a number",
    };
    let expected = match expected {
        "a sequence" => "a list",
        "a string" => "a string",
        "a boolean" => "a boolean",
        _ => "an object",
    };
    format!("one of its keywords has {found} where {expected} must stand")
}

fn conversation_reason(message: &str) -> String {
    if message.starts_with("remote image") {
        "an image must be a data URL; images on other servers are not supported".to_owned()
    } else if message.starts_with("Input exceeds") {
        "a text of the conversation is too long; shorten it".to_owned()
    } else {
        "an item of the conversation is not supported; the sidecar's log has the reason".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codex::app_server::ids::TurnKey;

    /// The messages are those of Codex 0.171.0, from one call for each.
    #[test]
    fn refused_request_names_its_field_and_a_fault_stays_a_fault() {
        use RequestField::{Conversation, Effort, Tools};
        let key = TurnKey(1);
        let (start, inject, turn) = (
            Call::ThreadStart(key),
            Call::InjectItems(key),
            Call::TurnStart(key),
        );
        for (call, message, field) in [
            (start, "dynamic tool name is reserved: mcp", Some(Tools)),
            (start, "duplicate dynamic tool name: look", Some(Tools)),
            (start, "dynamic tool name must not be empty", Some(Tools)),
            (
                start,
                "dynamic tool input schema is not supported for look: invalid type: string \"a\", expected a sequence",
                Some(Tools),
            ),
            (
                inject,
                "items[0] is not a valid response item: missing field `content`",
                Some(Conversation),
            ),
            (
                inject,
                "remote image URLs are not supported; use an inline data URL instead",
                Some(Conversation),
            ),
            (
                turn,
                "Input exceeds the maximum length of 1048576 characters.",
                Some(Conversation),
            ),
            (
                turn,
                "Invalid request: reasoning_effort must not be empty",
                Some(Effort),
            ),
            (turn, "Invalid request: unknown variant `zz`", None),
            (inject, "thread not found: 01a2", None),
            (
                start,
                "failed to load configuration: Model provider `zz` not found",
                None,
            ),
            (
                start,
                "thread/start.dynamicTools requires experimentalApi capability",
                None,
            ),
        ] {
            let error = wire::CallError {
                code: -32600,
                message: message.to_owned(),
            };
            match (call_error(call, &error), field) {
                (TurnError::RefusedByCodex(refusal), Some(_)) => {
                    assert_eq!(refusal.field, field, "{message}");
                    let parser_terms = ["sequence", "invalid type", "struct", "items["];
                    let has = |term: &&str| refusal.sentence.contains(*term);
                    assert!(!parser_terms.iter().any(has), "{}", refusal.sentence);
                }
                (TurnError::Protocol, None) => {}
                (other, _) => panic!("{message}: {other:?}"),
            }
        }
    }

    #[test]
    fn internal_error_is_a_fault_and_an_overload_is_busy() {
        for (code, expected) in [
            (wire::OVERLOADED, TurnError::Busy),
            (-32603, TurnError::Protocol),
        ] {
            let message = "dynamic tool name is reserved: mcp".to_owned();
            let error = wire::CallError { code, message };
            let call = Call::ThreadStart(TurnKey(1));
            assert_eq!(call_error(call, &error), expected);
        }
    }
}
