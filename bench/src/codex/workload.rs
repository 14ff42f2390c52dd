//! What a turn of the stand-in consists of, written into the prompt.
//! The shape of the prompt's way to the child is that of `thread/inject_items`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// So many deltas, with so much time between two.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Order {
    /// How many.
    pub deltas: u32,
    /// Microseconds from one to the next; with 0 all come at once.
    pub pause_us: u64,
}

impl Order {
    /// The text of a message that orders this.
    pub fn prompt(&self) -> String {
        serde_json::to_string(self).expect("two numbers are JSON")
    }

    /// The order in the last of a conversation's items; nothing where there is none.
    pub fn of(items: &Value) -> Self {
        let last = items.as_array().and_then(|items| items.last());
        let text = last.and_then(|item| item["content"][0]["text"].as_str());
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_order_is_found_in_the_last_item() {
        let prompt = Order {
            deltas: 3,
            pause_us: 7,
        }
        .prompt();
        let message = |text: &str| json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]});
        let order = Order::of(&json!([message("hello"), message(&prompt)]));
        assert_eq!((order.deltas, order.pause_us), (3, 7));
        assert_eq!(Order::of(&json!([message("hello")])).deltas, 0);
    }
}
