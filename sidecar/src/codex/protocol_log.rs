//! What passes between us and the children, for whoever debugs a protocol: each line, without what was said in it.
//! Each text is replaced by its length, so that no prompt, answer or credential gets there; the protocol is kept.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

use crate::telemetry::rotating_log::RotatingLog;

/// Fields whose texts are the protocols' own words, ids, or names of models.
const KEPT: [&str; 19] = [
    "approvalPolicy",
    "approval_policy",
    "callId",
    "call_id",
    "effort",
    "id",
    "itemId",
    "jsonrpc",
    "method",
    "mode",
    "model",
    "phase",
    "role",
    "status",
    "threadId",
    "thread_id",
    "turnId",
    "type",
    "version",
];

/// The log of lines, if the operator wants one.
#[derive(Debug, Clone, Default)]
pub struct ProtocolLog(Option<RotatingLog>);

#[derive(Serialize)]
struct Line<'a> {
    /// Milliseconds since the Unix epoch.
    ts: u64,
    pid: i32,
    from: &'static str,
    line: Said<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    Json(Value),
    Other { not_json_bytes: &'a usize },
}

impl ProtocolLog {
    /// Writes to `log`.
    pub fn new(log: RotatingLog) -> Self {
        Self(Some(log))
    }

    /// The tap on the pipes of one child.
    pub(super) fn on(&self, pid: i32) -> ProtocolTap {
        ProtocolTap {
            log: self.0.clone(),
            pid,
        }
    }
}

/// Hears one child.
#[derive(Debug)]
pub(super) struct ProtocolTap {
    log: Option<RotatingLog>,
    pid: i32,
}

impl ProtocolTap {
    /// The child has said this.
    pub(super) fn heard(&self, line: &[u8]) {
        self.write("codex", line);
    }

    /// The child is told this.
    pub(super) fn told(&self, line: &[u8]) {
        self.write("sidecar", line);
    }

    fn write(&self, from: &'static str, line: &[u8]) {
        let Some(log) = &self.log else { return };
        let bytes = line.len();
        let said = match serde_json::from_slice(line) {
            Ok(mut value) => {
                redact(&mut value);
                Said::Json(value)
            }
            Err(_not_json) => Said::Other {
                not_json_bytes: &bytes,
            },
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let line = Line {
            ts: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            pid: self.pid,
            from,
            line: said,
        };
        log.write(serde_json::to_vec(&line).expect("its keys are strings and no part of it fails"));
    }
}

/// Replaces each text by its length, unless its field says that it is none of anybody's own.
fn redact(value: &mut Value) {
    match value {
        Value::String(text) => {
            *value = Value::String(format!("[{} characters]", text.chars().count()))
        }
        Value::Array(values) => values.iter_mut().for_each(redact),
        Value::Object(fields) => {
            let others = fields
                .iter_mut()
                .filter(|(name, value)| !(value.is_string() && KEPT.contains(&name.as_str())));
            others.for_each(|(_, value)| redact(value));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_said_is_replaced_and_the_protocol_is_kept() {
        let mut line = json!({
            "id": 7, "method": "item/agentMessage/delta",
            "params": {"threadId": "t-1", "delta": "secret", "words": ["more", {"text": "geheim"}]},
        });
        redact(&mut line);
        let expected = json!({
            "id": 7, "method": "item/agentMessage/delta",
            "params": {"threadId": "t-1", "delta": "[6 characters]", "words": ["[4 characters]", {"text": "[6 characters]"}]},
        });
        assert_eq!(line, expected);
    }
}
