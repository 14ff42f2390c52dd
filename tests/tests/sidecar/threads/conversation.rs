//! A client that returns what it gets, and the requests that the model received.

use serde_json::{Value, json};
use tests::http::{post, with};
use tests::scripted_model::{RecordedRequest, ScriptedModel};
use tests::sidecar::Sidecar;

/// A conversation of one client over `/v1/chat/completions`.
#[derive(Clone)]
pub(super) struct Chat<'a> {
    pub(super) sidecar: &'a Sidecar,
    pub(super) client: &'static str,
    pub(super) messages: Vec<Value>,
    /// Fields of the body beside `model` and `messages`.
    pub(super) fields: Value,
}

impl<'a> Chat<'a> {
    pub(super) fn new(sidecar: &'a Sidecar) -> Self {
        Self {
            sidecar,
            client: "ann",
            messages: vec![json!({"role": "system", "content": "Be brief."})],
            fields: json!({}),
        }
    }

    /// Adds a message of the user, after which the model plays `script`.
    pub(super) fn user(&mut self, text: &str, script: &Value) {
        let content = format!("{text} [[model:{script}]]");
        self.messages
            .push(json!({"role": "user", "content": content}));
    }

    /// Adds the output of a tool call.
    pub(super) fn output(&mut self, call_id: &str, content: &str) {
        self.messages
            .push(json!({"role": "tool", "tool_call_id": call_id, "content": content}));
    }

    /// Sends the conversation, adds the answer, and returns the value of `x-codex-edge-thread`.
    pub(super) async fn send(&mut self) -> String {
        let (thread, answer) = self.clone().answer().await;
        self.messages.push(answer["choices"][0]["message"].clone());
        thread
    }

    /// Sends the conversation. Returns the value of `x-codex-edge-thread`, and the answer.
    pub(super) async fn answer(self) -> (String, Value) {
        let mut body = json!({"model": "codex-5", "messages": self.messages});
        let fields = self.fields.as_object().expect("an object").clone();
        body.as_object_mut().expect("an object").extend(fields);
        let request = post("/v1/chat/completions", body.to_string());
        let request = with(request, "x-codex-edge-client", self.client);
        let mut connection = self.sidecar.connect().await;
        let response = connection.send(request).await.expect("a response arrives");
        assert_eq!(response.status, 200, "{response:?}");
        let thread = response.header("x-codex-edge-thread").to_owned();
        (thread, response.json())
    }

    /// Adds a message of the user, sends the conversation, and returns the value of `x-codex-edge-thread`.
    pub(super) async fn ask(&mut self, text: &str) -> String {
        self.user(text, &json!({"text": format!("Answer to {text}.")}));
        self.send().await
    }
}

/// The ids under which the provider would cache the prompts, in the order of the requests.
pub(super) fn cache_keys(model: &ScriptedModel) -> Vec<String> {
    let key = |request: &RecordedRequest| request.body["prompt_cache_key"].to_string();
    model.requests().iter().map(key).collect()
}

/// Asserts that the input of each request begins with the whole input of the request before, ids included.
#[track_caller]
pub(super) fn assert_each_input_begins_with_the_last(model: &ScriptedModel) {
    let input =
        |request: &RecordedRequest| request.body["input"].as_array().expect("a list").clone();
    let inputs: Vec<_> = model.requests().iter().map(input).collect();
    for pair in inputs.windows(2) {
        assert_eq!(pair[0], pair[1][..pair[0].len()], "ids included");
    }
}

/// A request to the model without what differs between two threads of one conversation: ids, and the model's reasoning.
pub(super) fn comparable(request: &RecordedRequest) -> Value {
    let mut body = request.body.clone();
    for field in ["prompt_cache_key", "client_metadata"] {
        body[field].take();
    }
    let items = body["input"].as_array_mut().expect("a list");
    items.retain(|item| item["type"] != "reasoning");
    for item in items {
        let item = item.as_object_mut().expect("an object");
        // `status` and `annotations` are the provider's own, in the items that it sent.
        for field in ["id", "status"] {
            item.remove(field);
        }
        for part in item
            .get_mut("content")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            part.as_object_mut()
                .expect("an object")
                .remove("annotations");
        }
    }
    body
}

/// A tool of a chat.
pub(super) fn tool(name: &str) -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    json!({"type": "function", "function": {"name": name, "description": "Weather.", "parameters": parameters}})
}

/// A step of a script: a call of the tool `look`.
pub(super) fn call(call_id: &str) -> Value {
    json!({"call": "look", "call_id": call_id, "arguments": "{\"city\": \"Oslo\"}"})
}
