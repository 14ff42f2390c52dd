//! Lines of a `codex app-server`: it may say anything, and our side stays whole.
//!
//! Seeds are recorded transcripts: `{"in":…}` is what their client did, `{"out":…}` what the child wrote, and any
//! other line is written as it stands. Answers come to our calls of the same method, since our ids are others.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sidecar::codex::Protocol;

use crate::child::Child;
use crate::lines;

pub(crate) fn check(input: &[u8]) {
    let mut transcript = Transcript::start();
    for line in lines::of(input) {
        if !transcript.play(line) {
            break;
        }
    }
}

/// One line of a transcript.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a> {
    In(Value),
    #[serde(borrow)]
    Out(&'a RawValue),
    /// Seconds without a word.
    Silence(u8),
}

struct Transcript {
    child: Child,
    /// The transcript's calls: methods by id.
    theirs: HashMap<u64, String>,
    /// Our unanswered calls: ids by method.
    ours: HashMap<String, Value>,
}

impl Transcript {
    fn start() -> Self {
        let mut transcript = Self {
            child: Child::start(Protocol::AppServer),
            theirs: HashMap::new(),
            ours: HashMap::new(),
        };
        transcript.answer_usually();
        transcript
    }

    /// Plays a line; false when the child is of no more use.
    fn play(&mut self, line: &str) -> bool {
        let is_alive = match serde_json::from_str(line) {
            Ok(Line::In(message)) => {
                self.client_does(&message);
                true
            }
            Ok(Line::Out(message)) => self.child_says(message),
            Ok(Line::Silence(seconds)) => self.child.is_silent(seconds.into()),
            Err(_) => self.child.says(line),
        };
        is_alive && self.answer_usually()
    }

    fn client_does(&mut self, message: &Value) {
        let method = message["method"].as_str().unwrap_or_default();
        if let Some(id) = message["id"].as_u64() {
            self.theirs.insert(id, method.to_owned());
        }
        match method {
            "thread/start" => self.child.begin(),
            "turn/interrupt" => self.child.interrupt(),
            _ => {}
        }
    }

    fn child_says(&mut self, message: &RawValue) -> bool {
        let Ok(mut answer) = serde_json::from_str::<Value>(message.get()) else {
            return self.child.says(message.get());
        };
        let call = answer["id"].as_u64().and_then(|id| self.theirs.get(&id));
        let ours = call.and_then(|method| self.ours.remove(method));
        match ours.filter(|_| answer.get("method").is_none()) {
            Some(id) => {
                answer["id"] = id;
                self.child.says(&answer.to_string())
            }
            None => self.child.says(message.get()),
        }
    }

    /// Answers what we call and the clients of the transcripts did not.
    fn answer_usually(&mut self) -> bool {
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
                match usual_answer(method) {
                    Some(result) => {
                        if !self
                            .child
                            .says(&json!({"id": id, "result": result}).to_string())
                        {
                            return false;
                        }
                    }
                    None => drop(self.ours.insert(method.to_owned(), id.clone())),
                }
            }
        }
    }
}

fn usual_answer(method: &str) -> Option<Value> {
    match method {
        "getAuthStatus" => Some(json!({"authMethod": null, "requiresOpenaiAuth": false})),
        "thread/inject_items" => Some(json!({})),
        "thread/unsubscribe" => Some(json!({"status": "unsubscribed"})),
        _ => None,
    }
}
