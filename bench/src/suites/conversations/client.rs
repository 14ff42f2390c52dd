//! The client of a conversation: its history, its next request, and its reaction to a reply.

use anyhow::ensure;
use http::Request;
use serde_json::{Value, json};
use tests::http::{Body, bearer, post};

use super::exchange::{Call, Reply};
use super::filler::source_code;
use super::shape::{Dialect, Shape, ToolSpec};
use crate::client::KEY;

/// Model of every request.
const MODEL: &str = "codex-5";

/// A conversation that takes place.
#[derive(Debug)]
pub(super) struct Conversation<'a> {
    shape: &'a Shape,
    /// Messages or items that the next request sends.
    history: Vec<Value>,
    /// The id of the previous response, where the next request names it.
    previous: Option<String>,
    turn: usize,
    step: usize,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(shape: &'a Shape) -> Self {
        let mut conversation = Self {
            shape,
            history: Vec::new(),
            previous: None,
            turn: 0,
            step: 0,
        };
        if conversation.is_chat() {
            conversation.push(json!({"role": "system", "content": shape.instructions}));
        }
        conversation.ask();
        conversation
    }

    /// The next request; `None` after the last answer.
    pub(super) fn next_request(&self) -> Option<Request<Body>> {
        self.shape.turns.get(self.turn)?;
        let (path, body) = if self.is_chat() {
            ("/v1/chat/completions", self.chat_body())
        } else {
            ("/v1/responses", self.responses_body())
        };
        Some(bearer(post(path, body.to_string()), KEY))
    }

    /// Adds a reply and what the client sends after it: the outputs of tools, or the next message.
    ///
    /// # Errors
    /// When the reply is not that of the shape.
    pub(super) fn on_reply(&mut self, reply: &Reply) -> anyhow::Result<()> {
        let turn = &self.shape.turns[self.turn];
        let calls = turn.steps.get(self.step).map(|step| &step.calls[..]);
        let expected = calls.unwrap_or_default();
        let called: Vec<_> = reply.calls.iter().map(|call| &call.name[..]).collect();
        ensure!(
            expected
                .iter()
                .map(|call| call.tool)
                .eq(called.iter().copied()),
            "{}: unexpected calls {called:?} in step {} of turn {}",
            self.shape.name,
            self.step,
            self.turn
        );
        // Before what follows the reply, so that the history is in order.
        self.echo(reply);
        if calls.is_none() {
            ensure!(!reply.text.is_empty(), "{}: empty answer", self.shape.name);
            self.turn += 1;
            self.step = 0;
            self.ask();
            return Ok(());
        }
        for (expected, call) in expected.iter().zip(&reply.calls) {
            let name = format!("file_{}_{}", self.turn, self.step);
            let output = source_code(&name, expected.output_bytes);
            self.push(if self.is_chat() {
                json!({"role": "tool", "tool_call_id": call.id, "content": output})
            } else {
                json!({"type": "function_call_output", "call_id": call.id, "output": output})
            });
        }
        self.step += 1;
        Ok(())
    }

    fn is_chat(&self) -> bool {
        match self.shape.dialect {
            Dialect::ChatEmptyText | Dialect::ChatNullText => true,
            Dialect::ResponsesInput | Dialect::ResponsesStored => false,
        }
    }

    fn push(&mut self, item: Value) {
        self.history.push(item);
    }

    /// Adds the user's next message, if there is one.
    fn ask(&mut self) {
        if let Some(turn) = self.shape.turns.get(self.turn) {
            self.push(json!({"role": "user", "content": turn.prompt()}));
        }
    }

    /// Adds the reply as the client sends it back.
    fn echo(&mut self, reply: &Reply) {
        match self.shape.dialect {
            Dialect::ChatNullText if reply.text.is_empty() => {
                self.push(assistant(reply, &Value::Null));
            }
            Dialect::ChatEmptyText | Dialect::ChatNullText => {
                self.push(assistant(reply, &json!(reply.text)));
            }
            Dialect::ResponsesInput => self.history.extend_from_slice(&reply.items),
            // The sidecar has the items so far, the reply included.
            Dialect::ResponsesStored => {
                self.history.clear();
                self.previous = Some(reply.id.clone());
            }
        }
    }

    fn chat_body(&self) -> Value {
        let mut body = json!({
            "model": MODEL, "stream": true, "stream_options": {"include_usage": true}, "messages": self.history,
        });
        if !self.shape.tools.is_empty() {
            let tool = |tool| json!({"type": "function", "function": function(tool)});
            body["tools"] = self.shape.tools.iter().map(tool).collect();
        }
        body
    }

    fn responses_body(&self) -> Value {
        let tool = |tool| {
            let mut tool = function(tool);
            tool["type"] = "function".into();
            tool
        };
        // With `previous_response_id` too: neither instructions nor tools are part of the stored conversation.
        json!({
            "model": MODEL, "stream": true, "instructions": self.shape.instructions, "input": self.history,
            "tools": self.shape.tools.iter().map(tool).collect::<Value>(),
            "previous_response_id": self.previous,
        })
    }
}

/// A message of the assistant.
fn assistant(reply: &Reply, content: &Value) -> Value {
    let mut message = json!({"role": "assistant", "content": content});
    if !reply.calls.is_empty() {
        let call = |call: &Call| {
            let function = json!({"name": call.name, "arguments": call.arguments});
            json!({"id": call.id, "type": "function", "function": function})
        };
        message["tool_calls"] = reply.calls.iter().map(call).collect();
    }
    message
}

/// The fields that both APIs have for a tool.
fn function(tool: &ToolSpec) -> Value {
    let properties: Value = tool
        .parameters
        .iter()
        .map(|&name| (name.to_owned(), json!({"type": "string"})))
        .collect();
    json!({
        "name": tool.name,
        "description": tool.description,
        "parameters": {"type": "object", "properties": properties, "required": tool.parameters},
    })
}
