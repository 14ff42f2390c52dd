//! A conversation before it takes place: what its client sends, and what the scripted model answers.

use serde_json::{Value, json};

/// A recorded shape of conversation.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) dialect: Dialect,
    /// The system prompt.
    pub(super) instructions: String,
    pub(super) tools: Vec<ToolSpec>,
    pub(super) turns: Vec<UserTurn>,
}

/// API of a client, and the way in which it sends the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Chat completions; the history has an empty text beside tool calls, as the AI SDK (opencode) sends it.
    ChatEmptyText,
    /// Chat completions; the history has `null` beside tool calls, as `langchain-openai` sends it.
    ChatNullText,
    /// Responses with all items in `input`, as openai-agents sends them.
    ResponsesInput,
    /// Responses with `previous_response_id` and the new items.
    ResponsesStored,
}

/// A function tool.
#[derive(Debug, Clone)]
pub(super) struct ToolSpec {
    pub(super) name: &'static str,
    pub(super) description: String,
    /// Names of its parameters, all of them texts.
    pub(super) parameters: &'static [&'static str],
}

/// A message of the user, and the model's requests until it is answered.
#[derive(Debug, Clone)]
pub(super) struct UserTurn {
    pub(super) words: String,
    /// The steps before the answer; each is one model request.
    pub(super) steps: Vec<ToolStep>,
    /// Characters of the answer.
    pub(super) answer_chars: usize,
}

/// A response of the model that calls tools.
#[derive(Debug, Clone)]
pub(super) struct ToolStep {
    /// Text before the calls; empty for none.
    pub(super) words: &'static str,
    pub(super) calls: Vec<ToolCall>,
}

/// A call that the model makes.
#[derive(Debug, Clone)]
pub(super) struct ToolCall {
    pub(super) tool: &'static str,
    pub(super) arguments: Value,
    pub(super) output_bytes: usize,
}

impl Shape {
    /// The shape with another first message, so that no cache has the conversation of an earlier round.
    pub(super) fn of_round(&self, round: usize) -> Self {
        let mut shape = self.clone();
        if let Some(first) = shape.turns.first_mut() {
            first.words = format!("Round {round}. {}", first.words);
        }
        shape
    }

    /// The first `turns` turns, with the model's first and last request of each.
    pub(super) fn shortened(mut self, turns: usize) -> Self {
        self.turns.truncate(turns);
        // One step is enough for a call and its output.
        for turn in &mut self.turns {
            turn.steps.truncate(1);
        }
        self
    }

    /// Requests of the conversation.
    pub(super) fn requests(&self) -> usize {
        self.turns.iter().map(|turn| turn.steps.len() + 1).sum()
    }
}

impl UserTurn {
    /// The message for a client of the API: its words, and the script of the model.
    pub(super) fn prompt(&self) -> String {
        self.message(|call| json!({"call": call.tool, "arguments": call.arguments}))
    }

    /// The message for `codex exec`: the same words, and a script that calls Codex's own tool. Its outputs have the same
    /// size, from `file`.
    pub(super) fn codex_prompt(&self, file: &str) -> String {
        self.message(|call| {
            let command = format!("head -c {} {file}", call.output_bytes);
            json!({"call": "exec_command", "arguments": {"cmd": command, "login": false}})
        })
    }

    fn message(&self, call: impl Fn(&ToolCall) -> Value) -> String {
        let steps = self.steps.iter().map(|step| {
            let words = (!step.words.is_empty()).then(|| json!({"text": step.words}));
            let calls = step.calls.iter().map(&call);
            words.into_iter().chain(calls).collect::<Value>()
        });
        let answer = json!([{"chars": self.answer_chars, "delta_chars": 40}]);
        let script: Value = steps.chain([answer]).collect();
        format!("{} [[model:{script}]]", self.words)
    }
}
