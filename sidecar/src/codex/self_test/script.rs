//! The calls of the self-test and the checks of their results, without IO.
//! The calls are those of `app_server/`, each with every field that the sidecar relies on; JSON-RPC 2.0 without the
//! `jsonrpc` field.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::codex::json_line::json_line;

/// Longest message of Codex that an error quotes; after an unknown method Codex names all of its methods, in 6 kB.
const MAX_MESSAGE_CHARS: usize = 120;

/// A call of the self-test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestCall {
    /// `initialize`, with the experimental fields enabled.
    Initialize,
    /// `model/list`.
    ModelList,
    /// `thread/start` of a plain model.
    ThreadStart,
    /// `thread/inject_items`.
    InjectItems,
    /// `thread/start` with a tool of the client.
    ToolOffer,
}

impl fmt::Display for TestCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = if *self == Self::ToolOffer {
            " with a tool"
        } else {
            ""
        };
        write!(f, "`{}`{with}", self.method())
    }
}

impl TestCall {
    fn method(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::ModelList => "model/list",
            Self::ThreadStart | Self::ToolOffer => "thread/start",
            Self::InjectItems => "thread/inject_items",
        }
    }
}

/// The reason why Codex does not pass the self-test.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The app-server cannot be started.
    #[error("`codex app-server` cannot be started")]
    Start(#[source] std::io::Error),
    /// Codex rejected the call.
    #[error("{call} was rejected: {message} ({code})")]
    Rejected {
        /// The call.
        call: TestCall,
        /// The code of the JSON-RPC error.
        code: i64,
        /// The message of the JSON-RPC error.
        message: String,
    },
    /// The result lacks what the sidecar reads from it.
    #[error("{0} has an unexpected result")]
    UnexpectedResult(TestCall),
    /// Codex did not respond in time.
    #[error("{0} timed out")]
    Timeout(TestCall),
    /// Codex ended before its response.
    #[error("Codex ended before it responded to {0}")]
    Closed(TestCall),
}

/// A self-test in progress: the call that waits for its response.
#[derive(Debug)]
pub(super) struct SelfTestScript {
    call: TestCall,
    /// The first model of `model/list`, which the threads are started with.
    model: String,
}

/// The step after a line of Codex.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// The line is not the awaited response.
    Wait,
    /// These lines are sent next.
    Send(Vec<u8>),
    /// Every call has succeeded.
    Passed,
}

#[derive(Deserialize)]
struct Line {
    id: Option<Value>,
    method: Option<String>,
    #[serde(default)]
    result: Value,
    error: Option<CallError>,
}

#[derive(Deserialize)]
struct CallError {
    code: i64,
    #[serde(default)]
    message: String,
}

impl SelfTestScript {
    /// Starts the script, and returns its first line.
    pub(super) fn start() -> (Self, Vec<u8>) {
        let script = Self {
            call: TestCall::Initialize,
            model: String::new(),
        };
        let params = json!({
            "clientInfo": {"name": "codex-edge", "title": "codex-edge", "version": env!("CARGO_PKG_VERSION")},
            "capabilities": {"experimentalApi": true, "requestAttestation": false},
        });
        let line = script.line(&params);
        (script, line)
    }

    /// Returns the call that waits for its response.
    pub(super) fn call(&self) -> TestCall {
        self.call
    }

    /// Reads a line of Codex.
    ///
    /// # Errors
    /// Codex rejected the call, or its result is not usable.
    pub(super) fn read_line(&mut self, line: &str) -> Result<Step, SelfTestError> {
        // Anything but the awaited response is left to the protocol itself, which ignores unknown notifications.
        let Ok(line) = serde_json::from_str::<Line>(line) else {
            return Ok(Step::Wait);
        };
        if line.method.is_some() || line.id != Some(json!(self.id())) {
            return Ok(Step::Wait);
        }
        match line.error {
            Some(CallError { code, message }) => Err(SelfTestError::Rejected {
                call: self.call,
                code,
                message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
            }),
            None => self
                .on_result(&line.result)
                .ok_or(SelfTestError::UnexpectedResult(self.call)),
        }
    }

    /// Returns the next step; `None` for an unexpected result.
    fn on_result(&mut self, result: &Value) -> Option<Step> {
        match self.call {
            TestCall::Initialize => {
                let mut lines = b"{\"method\":\"initialized\"}\n".to_vec();
                lines.extend(self.next(TestCall::ModelList, &json!({})));
                Some(Step::Send(lines))
            }
            TestCall::ModelList => {
                self.model = result.pointer("/data/0/model")?.as_str()?.to_owned();
                let params = self.thread(&json!([]));
                Some(Step::Send(self.next(TestCall::ThreadStart, &params)))
            }
            TestCall::ThreadStart => {
                let thread = result.pointer("/thread/id")?.as_str()?;
                let text = json!({"type": "input_text", "text": "Hello."});
                let item = json!({"type": "message", "role": "user", "content": [text]});
                let params = json!({"threadId": thread, "items": [item]});
                Some(Step::Send(self.next(TestCall::InjectItems, &params)))
            }
            TestCall::InjectItems => {
                let tool = json!({
                    "type": "function",
                    "name": "self_test",
                    "description": "A tool of the self-test.",
                    "inputSchema": {"type": "object", "properties": {}},
                });
                let params = self.thread(&json!([tool]));
                Some(Step::Send(self.next(TestCall::ToolOffer, &params)))
            }
            TestCall::ToolOffer => {
                result.pointer("/thread/id")?.as_str()?;
                Some(Step::Passed)
            }
        }
    }

    fn thread(&self, tools: &Value) -> Value {
        json!({
            "ephemeral": true,
            "model": self.model,
            "approvalPolicy": "never",
            "sandbox": "read-only",
            "baseInstructions": "",
            "environments": [],
            "dynamicTools": tools,
            "experimentalRawEvents": true,
        })
    }

    fn next(&mut self, call: TestCall, params: &Value) -> Vec<u8> {
        self.call = call;
        self.line(params)
    }

    fn line(&self, params: &Value) -> Vec<u8> {
        json_line(&json!({"id": self.id(), "method": self.call.method(), "params": params}))
    }

    /// Each call is made once, so its place in the script is its id.
    fn id(&self) -> u8 {
        self.call as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Results that are enough for each call, in the order of the calls.
    const RESULTS: [&str; 5] = [
        "{}",
        r#"{"data":[{"id":"a","model":"gpt-a"}],"nextCursor":null}"#,
        r#"{"thread":{"id":"T1"}}"#,
        "{}",
        r#"{"thread":{"id":"T2"}}"#,
    ];

    /// Plays the script against `results`, and returns the lines that it sent.
    fn play(results: &[&str]) -> Result<Vec<String>, SelfTestError> {
        let (mut script, first) = SelfTestScript::start();
        let mut sent = vec![String::from_utf8(first).unwrap()];
        for (id, result) in results.iter().enumerate() {
            // A notification, and a response to another call, change nothing.
            for other in [
                r#"{"method":"configWarning","params":{}}"#,
                r#"{"id":9,"result":{}}"#,
            ] {
                assert_eq!(script.read_line(other)?, Step::Wait);
            }
            match script.read_line(&format!(r#"{{"id":{id},"result":{result}}}"#))? {
                Step::Send(lines) => sent.push(String::from_utf8(lines).unwrap()),
                step => assert_eq!(step, Step::Passed),
            }
        }
        Ok(sent)
    }

    #[test]
    fn every_call_of_a_turn_but_the_turn_itself_is_made() {
        let sent = play(&RESULTS).unwrap().concat();
        let methods: Vec<_> = sent
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["method"].clone())
            .collect();
        let expected = [
            "initialize",
            "initialized",
            "model/list",
            "thread/start",
            "thread/inject_items",
            "thread/start",
        ];
        assert_eq!(methods, expected);
        assert!(sent.contains(r#""model":"gpt-a""#) && sent.contains(r#""threadId":"T1""#));
    }

    #[test]
    fn the_failed_call_is_named() {
        for (place, result, expected) in [
            (1, "{}", "`model/list` has an unexpected result"),
            (1, r#"{"data":[]}"#, "`model/list` has an unexpected result"),
            (2, "{}", "`thread/start` has an unexpected result"),
            (
                4,
                "{}",
                "`thread/start` with a tool has an unexpected result",
            ),
        ] {
            let mut results = RESULTS[..place].to_vec();
            results.push(result);
            let error = play(&results).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let (mut script, _) = SelfTestScript::start();
        let rejected = r#"{"id":0,"error":{"code":-32600,"message":"Not initialized"}}"#;
        let error = script.read_line(rejected).unwrap_err();
        let expected = "`initialize` was rejected: Not initialized (-32600)";
        assert_eq!(error.to_string(), expected);
    }
}
