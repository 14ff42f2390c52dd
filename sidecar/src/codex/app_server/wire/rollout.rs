//! Threads that are rebuilt from a rollout file, and the records that a turn adds to the file: what raw events have for a thread
//! of `thread/start`, and Codex does not send for a resumed one.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::incoming::RawItem;
use super::names;
use crate::codex::wire::TokenCounts;
use crate::turn::{Tool, ToolCall};

/// A thread that is rebuilt from a rollout file.
#[derive(Debug, Clone)]
pub(in crate::codex) struct RebuiltThread {
    /// The thread's own id. A random one: several threads of a child may have one session id.
    pub(in crate::codex) id: String,
    /// The session id, which the provider gets as `prompt_cache_key`.
    pub(in crate::codex) session: String,
    /// The rollout file.
    pub(in crate::codex) path: PathBuf,
}

/// A record of a turn.
pub(in crate::codex) enum RolloutRecord<'a> {
    /// An item as the provider sent it.
    Item {
        turn_id: Cow<'a, str>,
        item: &'a RawValue,
    },
    /// The end of a response of the model.
    ResponseEnd {
        turn_id: Cow<'a, str>,
        usage: TokenCounts,
    },
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct ItemPayload<'a> {
    #[serde(rename = "internal_chat_message_metadata_passthrough", borrow)]
    origin: ItemOrigin<'a>,
}

#[derive(Deserialize)]
struct ItemOrigin<'a> {
    #[serde(borrow)]
    turn_id: Cow<'a, str>,
}

/// The fields of an item by which its notifications are found.
#[derive(Deserialize)]
struct AnnouncedItem {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    #[serde(default)]
    summary: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct UsagePayload<'a> {
    #[serde(borrow)]
    turn_id: Cow<'a, str>,
    usage: TokenCounts,
}

impl<'a> RolloutRecord<'a> {
    /// Parses a line of a rollout file; `None` for a line of another kind.
    pub(in crate::codex) fn parse(line: &'a str) -> Option<Self> {
        let line: Line<'a> = serde_json::from_str(line).ok()?;
        match line.kind.as_ref() {
            "response_item" => {
                let payload: ItemPayload<'a> = serde_json::from_str(line.payload.get()).ok()?;
                Some(Self::Item {
                    turn_id: payload.origin.turn_id,
                    item: line.payload,
                })
            }
            "token_usage_record" => {
                let payload: UsagePayload<'a> = serde_json::from_str(line.payload.get()).ok()?;
                Some(Self::ResponseEnd {
                    turn_id: payload.turn_id,
                    usage: payload.usage,
                })
            }
            _ => None,
        }
    }
}

impl RolloutRecord<'_> {
    /// Returns the id of the item, or of the call, if Codex sends a line about it that belongs before the record: the end of a
    /// streamed item, or the request for the output of a call of an offered tool.
    pub(in crate::codex::app_server) fn awaited_id(&self, offered: &[Tool]) -> Option<String> {
        let Self::Item { item, .. } = self else {
            return None;
        };
        let announced: AnnouncedItem = serde_json::from_str(item.get()).ok()?;
        match announced.kind.as_str() {
            "message" => announced.id,
            "reasoning" => announced.id.filter(|_| !announced.summary.is_empty()),
            "function_call" => requested_call(item, offered),
            _ => None,
        }
    }
}

/// Returns the id of a call if Codex asks for its output. Codex answers a call of an unknown tool, or with arguments that are
/// not JSON, itself.
fn requested_call(item: &RawValue, offered: &[Tool]) -> Option<String> {
    let RawItem::FunctionCall(call) = serde_json::from_str(item.get()).ok()? else {
        return None;
    };
    let call = ToolCall::from(call);
    let is_offered = offered
        .iter()
        .any(|tool| names::is_call_of(&call, &tool.name, tool.namespace.as_deref()));
    let is_json = serde_json::from_str::<IgnoredAny>(&call.arguments).is_ok();
    (is_offered && is_json).then_some(call.call_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Describes the record of a line.
    fn describe(line: &str) -> String {
        match RolloutRecord::parse(line) {
            Some(RolloutRecord::Item { turn_id, item }) => format!("{turn_id} {}", item.get()),
            Some(RolloutRecord::ResponseEnd { turn_id, usage }) => {
                let usage = crate::turn::Usage::from(usage);
                format!("{turn_id} {}+{}", usage.input_tokens, usage.output_tokens)
            }
            None => "other".to_owned(),
        }
    }

    #[test]
    fn items_and_ends_of_responses_are_read_with_their_turn() {
        let item = r#"{"type":"reasoning","summary":[],"encrypted_content":"e","internal_chat_message_metadata_passthrough":{"turn_id":"T"}}"#;
        let line =
            format!(r#"{{"timestamp":"t","ordinal":4,"type":"response_item","payload":{item}}}"#);
        assert_eq!(describe(&line), format!("T {item}"));
        let end = r#"{"type":"token_usage_record","payload":{"turn_id":"T","usage":{"input_tokens":7,"output_tokens":2}}}"#;
        assert_eq!(describe(end), "T 7+2");
        for other in [
            r#"{"type":"event_msg","payload":{"type":"task_started"}}"#,
            r#"{"type":"response_item","payload":{"type":"message"}}"#,
            "{}",
            "",
        ] {
            assert_eq!(describe(other), "other", "{other}");
        }
    }
}
