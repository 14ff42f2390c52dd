//! The prompt: the parts of a request that the model reads, as one text, so that a cache can compare its start.
//! The order is that of OpenAI's guide "Prompt caching": the output schema and the tools stand before the messages.

use serde::Serializer as _;
use serde_json::{Map, Value};

/// Bytes that count as a token.
pub(crate) const TOKEN_BYTES: usize = 4;

/// The fields that stand before the input, in the order in which the model reads them.
const HEAD: [&str; 4] = ["model", "text", "tools", "instructions"];

/// Token counts of a prompt, computed from its bytes, whatever usage the script reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromptTokens {
    /// Tokens of the whole prompt.
    pub input: u64,
    /// Tokens at its start that the prompt cache had.
    pub cached: u64,
}

/// Tokens in `bytes` bytes of text, rounded up.
pub(crate) fn tokens_of(bytes: usize) -> u64 {
    bytes.div_ceil(TOKEN_BYTES) as u64
}

/// The prompt of a request: the fields of `HEAD`, then the items of the input without their ids, each on a line.
pub(super) fn write_prompt(body: &Value) -> Vec<u8> {
    let mut prompt = Vec::new();
    for value in HEAD.iter().filter_map(|field| body.get(field)) {
        write_line(&mut prompt, value);
    }
    match &body["input"] {
        Value::Array(items) => {
            for item in items {
                write_item(&mut prompt, item);
            }
        }
        input => write_line(&mut prompt, input),
    }
    prompt
}

fn write_item(prompt: &mut Vec<u8>, item: &Value) {
    match item {
        Value::Object(fields) => write_without_id(prompt, fields),
        _ => write_line(prompt, item),
    }
}

fn write_without_id(prompt: &mut Vec<u8>, fields: &Map<String, Value>) {
    let fields = fields.iter().filter(|(name, _)| *name != "id");
    serde_json::Serializer::new(&mut *prompt)
        .collect_map(fields)
        .expect("a vector takes any JSON");
    prompt.push(b'\n');
}

fn write_line(prompt: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(&mut *prompt, value).expect("a vector takes any JSON");
    prompt.push(b'\n');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prompt_has_the_fields_that_the_model_reads_in_their_order() {
        let body = json!({
            "client_metadata": {"turn": 7}, "include": [], "stream": true, "prompt_cache_key": "key",
            "input": [{"id": "msg_1", "role": "user", "content": "hi"}, {"call_id": "call_1", "output": "1"}],
            "instructions": "be brief", "model": "gpt-5", "text": {"verbosity": "low"}, "tools": [{"name": "f"}],
        });
        let prompt = String::from_utf8(write_prompt(&body)).expect("JSON is UTF-8");
        let lines = [
            r#""gpt-5""#,
            r#"{"verbosity":"low"}"#,
            r#"[{"name":"f"}]"#,
            r#""be brief""#,
            r#"{"content":"hi","role":"user"}"#,
            r#"{"call_id":"call_1","output":"1"}"#,
        ];
        assert_eq!(prompt.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn input_that_is_a_text_is_the_last_line() {
        let body = json!({"model": "gpt-5", "input": "hi"});
        assert_eq!(write_prompt(&body), b"\"gpt-5\"\n\"hi\"\n");
    }
}
