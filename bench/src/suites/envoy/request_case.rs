//! What clients send: a GET, chats of three sizes, and two of them with a wrong key.
//! The bodies are as official clients write them: the messages first, the model behind them.

use std::sync::OnceLock;

use ::tests::http::{Body, bearer, get, post, with};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::client::KEY;

/// Whether the request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Accepted,
    WrongKey,
}

/// A kind of request, sent again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) kind: Kind,
    size: Size,
}

/// How large the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// A GET.
    None,
    /// 1 KiB.
    Small,
    /// 64 KiB.
    Middle,
    /// 1 MiB.
    Large,
}

impl Workload {
    pub(super) const ACCEPTED: [Self; 4] = [
        Self::new(Kind::Accepted, Size::None),
        Self::new(Kind::Accepted, Size::Small),
        Self::new(Kind::Accepted, Size::Middle),
        Self::new(Kind::Accepted, Size::Large),
    ];

    pub(super) const ALL: [Self; 6] = [
        Self::ACCEPTED[0],
        Self::ACCEPTED[1],
        Self::ACCEPTED[2],
        Self::ACCEPTED[3],
        Self::new(Kind::WrongKey, Size::None),
        Self::new(Kind::WrongKey, Size::Small),
    ];

    const fn new(kind: Kind, size: Size) -> Self {
        Self { kind, size }
    }

    pub(super) fn title(self) -> String {
        match self.kind {
            Kind::Accepted => format!("{}, accepted", self.size.name()),
            Kind::WrongKey => format!("{}, with a wrong key", self.size.name()),
        }
    }

    pub(super) fn short(self) -> &'static str {
        match (self.kind, self.size) {
            (Kind::WrongKey, Size::None) => "GET refused",
            (Kind::WrongKey, _) => "1 KiB refused",
            (Kind::Accepted, size) => size.name(),
        }
    }

    /// How many requests are enough to count instructions by.
    pub(super) fn sample(self) -> usize {
        match self.size {
            Size::None | Size::Small => 300,
            Size::Middle => 60,
            Size::Large => 10,
        }
    }

    pub(super) fn request(self) -> Request<Body> {
        let key = match self.kind {
            Kind::Accepted => KEY,
            Kind::WrongKey => "sk-another-key-than-that-of-the-run",
        };
        let request = match self.size.body() {
            None => get("/v1/responses/resp_1"),
            Some(body) => post("/v1/chat/completions", body),
        };
        let request = with(bearer(request, key), "origin", "https://app.example");
        with(
            with(request, "accept", "application/json"),
            "user-agent",
            "bench/1",
        )
    }
}

impl Size {
    fn name(self) -> &'static str {
        match self {
            Self::None => "GET",
            Self::Small => "POST 1 KiB",
            Self::Middle => "POST 64 KiB",
            Self::Large => "POST 1 MiB",
        }
    }

    /// Made once.
    fn body(self) -> Option<Bytes> {
        static BODIES: OnceLock<[Bytes; 3]> = OnceLock::new();
        let bodies = BODIES.get_or_init(|| [1 << 10, 1 << 16, 1 << 20].map(chat));
        match self {
            Self::None => None,
            Self::Small => Some(bodies[0].clone()),
            Self::Middle => Some(bodies[1].clone()),
            Self::Large => Some(bodies[2].clone()),
        }
    }
}

/// Prose with some code in it: about one character in fifty is escaped in JSON.
const PROSE: &str = "It rained in the town \"on the hill\", and nobody watched the fox that went from door to door, \
    looking for what was left over.\n";

/// Characters of one message.
const MESSAGE: usize = 4000;

/// A conversation whose JSON has about `size` bytes.
fn chat(size: usize) -> Bytes {
    let text = |length: usize| PROSE.chars().cycle().take(length).collect::<String>();
    let body = |length: usize| {
        let lengths = (0..length.div_ceil(MESSAGE)).map(|at| (length - at * MESSAGE).min(MESSAGE));
        let roles = ["user", "assistant"].into_iter().cycle();
        let messages: Vec<Value> = lengths
            .zip(roles)
            .map(|(length, role)| json!({"role": role, "content": text(length)}))
            .collect();
        let messages = Value::from(messages);
        format!(r#"{{"messages":{messages},"stream":true,"temperature":0.2,"model":"codex-5"}}"#)
    };
    let beside = body(size).len() - size;
    body(size - beside.min(size / 2)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_chats_of_about_their_size() {
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
