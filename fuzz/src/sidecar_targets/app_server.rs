//! Lines of a `codex app-server`: for any output of the child, the sidecar's protocol state stays valid.
//!
//! Seeds are recorded transcripts: `{"in":…}` is a message of the recorded client, `{"out":…}` one of the child, and any
//! other line is sent to the sidecar unchanged. A recorded response goes to our call of the same method, because our ids
//! differ from the recorded ones.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sidecar::codex::Protocol;

use super::child::Child;
use super::lines;

pub(crate) fn check(input: &[u8]) {
    let mut transcript = Transcript::start();
    for line in lines::of(input) {
        if !transcript.play(line) {
            break;
        }
    }
}

/// A line of a transcript.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a> {
    In(Value),
    #[serde(borrow)]
    Out(&'a RawValue),
    /// Seconds without output.
    Silence(u8),
}

struct Transcript {
    child: Child,
    /// The calls of the recorded client: methods by id.
    recorded_calls: HashMap<u64, String>,
    /// The sidecar's unanswered calls: ids by method.
    pending_calls: HashMap<String, Value>,
}

impl Transcript {
    fn start() -> Self {
        let mut transcript = Self {
            child: Child::start(Protocol::AppServer),
            recorded_calls: HashMap::new(),
            pending_calls: HashMap::new(),
        };
        transcript.answer_new_calls();
        transcript
    }

    /// Plays a line; false when the child has failed.
    fn play(&mut self, line: &str) -> bool {
        let is_alive = match serde_json::from_str(line) {
            Ok(Line::In(message)) => {
                self.on_client_message(&message);
                true
            }
            Ok(Line::Out(message)) => self.on_child_message(message),
            Ok(Line::Silence(seconds)) => self.child.advance(seconds.into()),
            Err(_) => self.child.receive(line),
        };
        is_alive && self.answer_new_calls()
    }

    fn on_client_message(&mut self, message: &Value) {
        let method = message["method"].as_str().unwrap_or_default();
        if let Some(id) = message["id"].as_u64() {
            self.recorded_calls.insert(id, method.to_owned());
        }
        match method {
            "thread/start" => self.child.begin(),
            "turn/interrupt" => self.child.interrupt(),
            _ => {}
        }
    }

    fn on_child_message(&mut self, message: &RawValue) -> bool {
        let Ok(mut response) = serde_json::from_str::<Value>(message.get()) else {
            return self.child.receive(message.get());
        };
        let call = response["id"]
            .as_u64()
            .and_then(|id| self.recorded_calls.get(&id));
        let pending_calls = call.and_then(|method| self.pending_calls.remove(method));
        match pending_calls.filter(|_| response.get("method").is_none()) {
            Some(id) => {
                response["id"] = id;
                self.child.receive(&response.to_string())
            }
            None => self.child.receive(message.get()),
        }
    }

    /// Answers the sidecar's calls that the recorded clients did not make.
    fn answer_new_calls(&mut self) -> bool {
        loop {
            let written = self.child.take_written();
            if written.is_empty() {
                return true;
            }
            for message in written {
                let (id, method) = (&message["id"], message["method"].as_str());
                let (Some(method), false) = (method, id.is_null()) else {
                    continue;
                };
                match default_result(method) {
                    Some(result) => {
                        if !self
                            .child
                            .receive(&json!({"id": id, "result": result}).to_string())
                        {
                            return false;
                        }
                    }
                    None => drop(self.pending_calls.insert(method.to_owned(), id.clone())),
                }
            }
        }
    }
}

fn default_result(method: &str) -> Option<Value> {
    match method {
        "getAuthStatus" => Some(json!({"authMethod": null, "requiresOpenaiAuth": false})),
        "thread/inject_items" => Some(json!({})),
        "thread/unsubscribe" => Some(json!({"status": "unsubscribed"})),
        _ => None,
    }
}
