//! The deltas that the stand-in writes for a turn, requested in the prompt as JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A number of deltas and their interval.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Workload {
    /// Number of deltas.
    pub deltas: u32,
    /// Time between two deltas in microseconds; with 0 the stand-in writes all deltas at once.
    pub pause_us: u64,
}

impl Workload {
    /// A response of one second, as of a fast model.
    pub const STEADY: Self = Self {
        deltas: 50,
        pause_us: 20_000,
    };

    /// A long response without pauses; far more than sockets and channels hold.
    pub const BURST: Self = Self {
        deltas: 20_000,
        pause_us: 0,
    };

    /// Returns the text of a message that requests this workload.
    pub fn prompt(&self) -> String {
        serde_json::to_string(self).expect("two numbers serialize to JSON")
    }

    /// Returns the workload in the last of the items of `thread/inject_items`, or an empty workload.
    pub fn from_items(items: &Value) -> Self {
        items
            .as_array()
            .and_then(|items| items.last())
            .and_then(|item| item["content"][0]["text"].as_str())
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// Returns the workload in the input of `turn/start`, or an empty workload. Gateways put text around a message.
    pub fn from_input(input: &Value) -> Self {
        let text = input[0]["text"].as_str().unwrap_or_default();
        let object = text.find('{').zip(text.rfind('}'));
        object
            .and_then(|(start, end)| text.get(start..=end))
            .and_then(|object| serde_json::from_str(object).ok())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_item_determines_the_workload() {
        let prompt = Workload {
            deltas: 3,
            pause_us: 7,
        }
        .prompt();
        let message = |text: &str| json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]});
        let workload = Workload::from_items(&json!([message("hello"), message(&prompt)]));
        assert_eq!((workload.deltas, workload.pause_us), (3, 7));
        assert_eq!(Workload::from_items(&json!([message("hello")])).deltas, 0);
        let input = |text: &str| json!([{"type": "text", "text": text}]);
        let wrapped = format!("<user>{prompt}</user>");
        assert_eq!(Workload::from_input(&input(&wrapped)).deltas, 3);
        for empty in [json!([]), input("hello"), input("}{")] {
            assert_eq!(Workload::from_input(&empty).deltas, 0);
        }
    }
}
