//! Requests of the load: a GET, chats of three sizes, and two of them with a wrong key.
//!
//! Bodies have the field order of official clients, with `model` after `messages`.

use std::sync::OnceLock;

// The module `tests` at the end of this file hides the crate.
use ::tests::http::{Body, bearer, get, post, with};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::variant::Variant;
use crate::client::KEY;

/// The API key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ApiKey {
    Valid,
    Wrong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodySize {
    /// A GET without a body.
    None,
    Kib1,
    Kib64,
    Mib1,
}

/// A kind of request, sent repeatedly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestCase {
    key: ApiKey,
    size: BodySize,
}

impl RequestCase {
    pub(super) const ACCEPTED: [Self; 4] = [
        Self::new(ApiKey::Valid, BodySize::None),
        Self::new(ApiKey::Valid, BodySize::Kib1),
        Self::new(ApiKey::Valid, BodySize::Kib64),
        Self::new(ApiKey::Valid, BodySize::Mib1),
    ];

    pub(super) const ALL: [Self; 6] = [
        Self::ACCEPTED[0],
        Self::ACCEPTED[1],
        Self::ACCEPTED[2],
        Self::ACCEPTED[3],
        Self::new(ApiKey::Wrong, BodySize::None),
        Self::new(ApiKey::Wrong, BodySize::Kib1),
    ];

    const fn new(key: ApiKey, size: BodySize) -> Self {
        Self { key, size }
    }

    pub(super) fn title(self) -> String {
        match self.key {
            ApiKey::Valid => format!("{}, accepted", self.size.name()),
            ApiKey::Wrong => format!("{}, wrong key", self.size.name()),
        }
    }

    pub(super) fn short_name(self) -> &'static str {
        match (self.key, self.size) {
            (ApiKey::Wrong, BodySize::None) => "GET rejected",
            (ApiKey::Wrong, _) => "1 KiB rejected",
            (ApiKey::Valid, size) => size.name(),
        }
    }

    /// Name of the table row of `variant`.
    pub(super) fn row_name(self, variant: Variant) -> &'static str {
        match (self.key, variant) {
            (ApiKey::Wrong, Variant::None) => "none, forwards the request",
            (ApiKey::Wrong | ApiKey::Valid, _) => variant.name(),
        }
    }

    /// Status code of the response that `variant` must give.
    pub(super) fn expected_status(self, variant: Variant) -> u16 {
        match (self.key, variant) {
            // Without a filter Envoy forwards a wrong key, which shows the cost of forwarding.
            (ApiKey::Valid, _) | (ApiKey::Wrong, Variant::None) => 200,
            (ApiKey::Wrong, _) => 401,
        }
    }

    /// Number of requests for one instruction count. Larger bodies need fewer: their count varies less, and Envoy under
    /// Valgrind is slow.
    pub(super) fn requests_per_count(self) -> usize {
        match self.size {
            BodySize::None | BodySize::Kib1 => 300,
            BodySize::Kib64 => 60,
            BodySize::Mib1 => 10,
        }
    }

    pub(super) fn request(self) -> Request<Body> {
        let key = match self.key {
            ApiKey::Valid => KEY,
            ApiKey::Wrong => "sk-another-key-than-that-of-the-run",
        };
        let request = match self.size.body() {
            None => get("/v1/responses/resp_1"),
            Some(body) => post("/v1/chat/completions", body),
        };
        [
            ("origin", "https://app.example"),
            ("accept", "application/json"),
            ("user-agent", "bench/1"),
        ]
        .into_iter()
        .fold(bearer(request, key), |request, (name, value)| {
            with(request, name, value)
        })
    }
}

impl BodySize {
    fn name(self) -> &'static str {
        match self {
            Self::None => "GET",
            Self::Kib1 => "POST 1 KiB",
            Self::Kib64 => "POST 64 KiB",
            Self::Mib1 => "POST 1 MiB",
        }
    }

    /// Returns a body of this size. Bodies are created once, since the load generator shares the cores with Envoy.
    fn body(self) -> Option<Bytes> {
        static BODIES: OnceLock<[Bytes; 3]> = OnceLock::new();
        let bodies = BODIES.get_or_init(|| [1 << 10, 1 << 16, 1 << 20].map(chat));
        match self {
            Self::None => None,
            Self::Kib1 => Some(bodies[0].clone()),
            Self::Kib64 => Some(bodies[1].clone()),
            Self::Mib1 => Some(bodies[2].clone()),
        }
    }
}

/// Text in which JSON escapes about one character in fifty, as in conversations with some code.
const PROSE: &str = "It rained in the town \"on the hill\", and nobody watched the fox that went from door to door, \
    looking for what was left over.\n";

/// Length of one message, in characters.
const MESSAGE_CHARS: usize = 4000;

/// Returns a chat completion request of about `size` bytes.
fn chat(size: usize) -> Bytes {
    let text = |length: usize| PROSE.chars().cycle().take(length).collect::<String>();
    let body = |length: usize| {
        let lengths = (0..length.div_ceil(MESSAGE_CHARS))
            .map(|at| (length - at * MESSAGE_CHARS).min(MESSAGE_CHARS));
        let roles = ["user", "assistant"].into_iter().cycle();
        let messages: Value = lengths
            .zip(roles)
            .map(|(length, role)| json!({"role": role, "content": text(length)}))
            .collect();
        // Formatted rather than serialized: serde_json would sort the fields.
        format!(r#"{{"messages":{messages},"stream":true,"temperature":0.2,"model":"codex-5"}}"#)
    };
    // A first body shows the bytes that the JSON adds to the text; the second body has that much less text.
    let overhead = body(size).len() - size;
    body(size - overhead.min(size / 2)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_chat_requests_of_about_the_requested_size() {
        for size in [1 << 10, 1 << 16, 1 << 20] {
            let body = chat(size);
            assert!(
                body.len().abs_diff(size) < size / 20,
                "{} of {size}",
                body.len()
            );
            let json: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(json["model"], "codex-5");
        }
    }
}
