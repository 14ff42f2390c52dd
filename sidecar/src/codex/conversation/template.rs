//! The lines that a rollout file begins with, taken from a thread of the same Codex.
//! The format is that of Codex 0.169 and 0.171: JSON lines with `timestamp`, `ordinal`, `type` and `payload`.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::id::SessionId;
use crate::codex::json_line::json_line;

/// The types of the lines that a thread has before its items, in their order.
const TYPES: [&str; 3] = ["session_meta", "world_state", "turn_context"];

/// The first lines of a rollout file.
#[derive(Debug, Clone)]
pub(in crate::codex) struct RolloutTemplate {
    meta: RolloutLine,
    world_state: RolloutLine,
    turn_context: RolloutLine,
}

/// The fields of a line that differ from thread to thread.
#[derive(Debug)]
pub(in crate::codex) struct RolloutFields<'a> {
    pub(in crate::codex) thread: &'a str,
    pub(in crate::codex) session: &'a SessionId,
    pub(in crate::codex) model: &'a str,
    /// The name of the provider in Codex's configuration.
    pub(in crate::codex) provider: &'a str,
    /// The client's tools in the form of `thread/start`.
    pub(in crate::codex) tools: Option<&'a RawValue>,
}

#[derive(Debug, Clone)]
struct RolloutLine {
    timestamp: Value,
    payload: Map<String, Value>,
}

/// A line as it is written.
#[derive(Serialize)]
struct WrittenLine<'a, P> {
    timestamp: &'a Value,
    ordinal: usize,
    #[serde(rename = "type")]
    kind: &'static str,
    payload: P,
}

/// The payload of the first line. The tools stand beside the other fields as the client wrote them: the order of their
/// fields reaches the model.
#[derive(Serialize)]
struct MetaPayload<'a> {
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dynamic_tools: Option<&'a RawValue>,
}

impl RolloutTemplate {
    /// Reads the template from the text of a rollout file. `None` while lines of it are missing, or if they have another
    /// format.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let complete = &text[..=text.rfind('\n')?];
        let mut lines = complete.lines().map(serde_json::from_str::<Value>);
        let mut next = |kind: &str| {
            let line = lines.next()?.ok()?;
            let Value::Object(mut fields) = line else {
                return None;
            };
            if fields.get("type")? != kind {
                return None;
            }
            let timestamp = fields.remove("timestamp")?;
            match fields.remove("payload")? {
                Value::Object(payload) => Some(RolloutLine { timestamp, payload }),
                _ => None,
            }
        };
        let [meta, world_state, turn_context] = TYPES.map(&mut next);
        let template = Self {
            meta: meta?,
            world_state: world_state?,
            turn_context: turn_context?,
        };
        template.has_expected_fields().then_some(template)
    }

    /// Whether each field that is replaced exists: Codex would ignore it under another name.
    fn has_expected_fields(&self) -> bool {
        let meta = ["id", "session_id", "model_provider", "history_mode"];
        let has_meta = |name| self.meta.payload.get(name).is_some_and(Value::is_string);
        let world_state = self.world_state.payload.get("state");
        meta.into_iter().all(has_meta)
            && world_state.is_some_and(|state| state.get("model").is_some_and(Value::is_string))
            && self.turn_context.payload.contains_key("model")
    }

    /// Returns the text of the rollout file of a thread without items.
    pub(in crate::codex) fn render(&self, fields: &RolloutFields<'_>) -> Vec<u8> {
        let meta = self.meta(fields);
        let meta_payload = MetaPayload {
            fields: &meta,
            dynamic_tools: fields.tools,
        };
        let world_state = self.world_state(fields.model);
        let turn_context = self.turn_context(fields.model);
        [
            self.meta.write(0, meta_payload),
            self.world_state.write(1, world_state),
            self.turn_context.write(2, turn_context),
        ]
        .concat()
    }

    fn meta(&self, fields: &RolloutFields<'_>) -> Map<String, Value> {
        let mut meta = self.meta.payload.clone();
        meta.remove("dynamic_tools");
        meta.insert("id".to_owned(), fields.thread.into());
        meta.insert("session_id".to_owned(), fields.session.0.as_str().into());
        meta.insert("model_provider".to_owned(), fields.provider.into());
        // Codex also keeps the items of a `paginated` history in a database, at twice the time.
        meta.insert("history_mode".to_owned(), "legacy".into());
        meta
    }

    fn world_state(&self, model: &str) -> Map<String, Value> {
        let mut payload = self.world_state.payload.clone();
        if let Some(state) = payload.get_mut("state") {
            state["model"] = model.into();
        }
        payload
    }

    fn turn_context(&self, model: &str) -> Map<String, Value> {
        let mut payload = self.turn_context.payload.clone();
        payload.insert("model".to_owned(), model.into());
        if let Some(settings) = payload.get_mut("collaboration_mode")
            && let Some(Value::Object(settings)) = settings.get_mut("settings")
        {
            settings.insert("model".to_owned(), model.into());
        }
        // A mark of the model's kind. Where it is not the mark of the thread's model, Codex asks the model of the file for a
        // summary of the conversation, and goes on with that.
        payload.remove("comp_hash");
        payload
    }
}

impl RolloutLine {
    /// Returns the line. Its place in [`TYPES`] is its number, and its type.
    fn write(&self, ordinal: usize, payload: impl Serialize) -> Vec<u8> {
        json_line(&WrittenLine {
            timestamp: &self.timestamp,
            ordinal,
            kind: TYPES[ordinal],
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(
        r#"{"timestamp":"t0","ordinal":0,"type":"session_meta","payload":{"id":"a","session_id":"a","model_provider":"p","history_mode":"paginated","cwd":"/w","dynamic_tools":[1]}}"#,
        "\n",
        r#"{"timestamp":"t1","ordinal":1,"type":"world_state","payload":{"full":true,"state":{"model":"m"}}}"#,
        "\n",
        r#"{"timestamp":"t2","ordinal":2,"type":"turn_context","payload":{"model":"m","comp_hash":"1","collaboration_mode":{"settings":{"model":"m"}}}}"#,
        "\n",
        r#"{"timestamp":"t3","ordinal":3,"type":"response_item","payload":{}}"#,
        "\n",
    );

    fn render(tools: Option<&str>) -> Vec<Value> {
        let template = RolloutTemplate::parse(FILE).unwrap();
        let tools = tools.map(|tools| serde_json::from_str::<Box<RawValue>>(tools).unwrap());
        let text = template.render(&RolloutFields {
            thread: "thread",
            session: &SessionId("session".to_owned()),
            model: "other",
            provider: "ours",
            tools: tools.as_deref(),
        });
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains('m') || !text.contains("\"m\""), "{text}");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn lines_get_the_ids_the_model_and_the_tools() {
        let lines = render(Some(r#"[{"b":1,"a":2}]"#));
        let numbers: Vec<_> = lines
            .iter()
            .map(|line| line["ordinal"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, [0, 1, 2]);
        let meta = &lines[0]["payload"];
        assert_eq!(
            (&meta["id"], &meta["session_id"]),
            (&"thread".into(), &"session".into())
        );
        assert_eq!(
            (&meta["cwd"], &meta["model_provider"]),
            (&"/w".into(), &"ours".into())
        );
        assert_eq!(meta["dynamic_tools"], serde_json::json!([{"a": 2, "b": 1}]));
        assert_eq!(lines[1]["payload"]["state"]["model"], "other");
        let context = &lines[2]["payload"];
        assert_eq!(context["collaboration_mode"]["settings"]["model"], "other");
        assert_eq!(
            (&context["model"], context.get("comp_hash")),
            (&"other".into(), None)
        );
        assert_eq!(render(None)[0]["payload"].get("dynamic_tools"), None);
    }

    #[test]
    fn files_of_another_format_are_no_template() {
        let lines: Vec<_> = FILE.lines().collect();
        let incomplete = FILE.rsplit_once("{\"timestamp\":\"t2\"").unwrap().0;
        for text in [
            "",
            "\n",
            incomplete,
            &FILE[..FILE.len() / 2],
            &FILE.replace("session_meta", "meta"),
            &FILE.replace("session_id", "session"),
            &FILE.replace("\"history_mode\":\"paginated\",", ""),
            &FILE.replace("\"state\":{\"model\"", "\"state\":{\"name\""),
            &[lines[1], lines[0], lines[2], ""].join("\n"),
        ] {
            assert!(RolloutTemplate::parse(text).is_none(), "{text}");
        }
    }
}
