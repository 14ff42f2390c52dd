//! A request of Codex: checked as the Responses API checks it, with accessors for the choice of a response.
//! The source is OpenAI's Responses API, `POST /v1/responses`.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::limits::{self, ServedModels};
use super::prompt::write_prompt;
use crate::scripted_model::error::ApiError;
use crate::scripted_model::script::EchoPart;

/// A valid request.
#[derive(Debug)]
pub(crate) struct ModelRequest {
    pub(crate) model: String,
    headers: HeaderMap,
    body: Value,
}

impl ModelRequest {
    /// Checks the body of `POST /v1/responses`.
    ///
    /// # Errors
    /// The error that the Responses API returns.
    pub(crate) fn parse(
        headers: HeaderMap,
        body: &[u8],
        served: &ServedModels,
    ) -> Result<Self, ApiError> {
        let body: Value = serde_json::from_slice(body).map_err(|error| {
            ApiError::invalid(format!("We could not parse the JSON body: {error}"))
        })?;
        let model = limits::check(&body, served)?;
        Ok(Self {
            model,
            headers,
            body,
        })
    }

    /// The text of the last user message; empty without one.
    pub(crate) fn last_user_text(&self) -> String {
        if let Some(text) = self.body["input"].as_str() {
            return text.to_owned();
        }
        let items = self.items();
        match items.iter().rposition(is_user_message) {
            Some(position) => text_of(&items[position]["content"]),
            None => String::new(),
        }
    }

    /// The tool outputs after the last user message, oldest first.
    pub(crate) fn tool_outputs(&self) -> Vec<String> {
        self.since_user()
            .iter()
            .filter(|item| is_output(item))
            .map(|item| text_of(&item["output"]))
            .collect()
    }

    /// The text of the last user message and of all later items; earlier items are history.
    pub(crate) fn prompt_and_later_texts(&self) -> String {
        if let Some(text) = self.body["input"].as_str() {
            return text.to_owned();
        }
        self.since_user()
            .iter()
            .map(|item| text_of(&item["content"]))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The text of the developer messages after the last user message.
    pub(crate) fn later_developer_texts(&self) -> String {
        self.since_user()
            .iter()
            .filter(|item| item["role"] == "developer")
            .map(|item| text_of(&item["content"]))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The function tools of the request.
    pub(crate) fn function_tools(&self) -> impl Iterator<Item = &Value> + Clone {
        let tools = offered_tools(&self.body).into_iter();
        tools.filter(|tool| tool["type"] == "function")
    }

    /// The JSON Schema of the structured output.
    pub(crate) fn schema(&self) -> Option<&Value> {
        self.body.pointer("/text/format/schema")
    }

    /// Whether the request asks for a summary of the reasoning.
    pub(crate) fn wants_summary(&self) -> bool {
        let summary = self.body["reasoning"]["summary"].as_str();
        summary.is_some_and(|word| word != "none")
    }

    /// The number of earlier requests of the turn: each batch of tool outputs after the last user message is one.
    pub(crate) fn round(&self) -> usize {
        let outputs = self.since_user().iter().map(is_output);
        let mut previous = false;
        outputs
            .filter(|output| std::mem::replace(&mut previous, *output) != *output && *output)
            .count()
    }

    /// A part of the request as compact JSON.
    pub(crate) fn echo(&self, part: EchoPart) -> String {
        match part {
            EchoPart::Input => self.body["input"].to_string(),
            EchoPart::Tools => json!(offered_tools(&self.body)).to_string(),
            EchoPart::Body => self.body.to_string(),
            EchoPart::Headers => headers_json(&self.headers).to_string(),
        }
    }

    /// The key under which the provider caches the prompt.
    pub(crate) fn prompt_cache_key(&self) -> Option<&str> {
        self.body["prompt_cache_key"].as_str()
    }

    /// The parts of the request that the model reads, in a text that begins as those of earlier requests did.
    pub(crate) fn prompt(&self) -> Vec<u8> {
        write_prompt(&self.body)
    }

    fn items(&self) -> &[Value] {
        self.body["input"].as_array().map_or(&[], Vec::as_slice)
    }

    fn since_user(&self) -> &[Value] {
        let items = self.items();
        let start = items.iter().rposition(is_user_message).unwrap_or(0);
        &items[start..]
    }
}

/// The tools in the body of a request, those in a namespace in its place. For a model with `use_responses_lite`, Codex
/// 0.169.0 and 0.171.0 leave `tools` out, and send the tools in the namespace `functions` of an item `additional_tools`.
pub(crate) fn offered_tools(body: &Value) -> Vec<&Value> {
    let items = body["input"].as_array().into_iter().flatten();
    let additional = items.filter(|item| is_additional_tools(item));
    [body]
        .into_iter()
        .chain(additional)
        .flat_map(tools_in)
        .collect()
}

/// Whether an item of the input holds tools instead of a part of the conversation.
pub(crate) fn is_additional_tools(item: &Value) -> bool {
    item["type"] == "additional_tools"
}

/// The tools in the field `tools` of a body, an item or a namespace.
fn tools_in(holder: &Value) -> Vec<&Value> {
    let tools = holder["tools"].as_array().into_iter().flatten();
    tools
        .flat_map(|tool| match tool.get("tools") {
            Some(_) => tools_in(tool),
            None => vec![tool],
        })
        .collect()
}

/// Headers as a JSON object; octets that are not UTF-8 are replaced, repeated headers are joined.
pub(crate) fn headers_json(headers: &HeaderMap) -> Value {
    let text = |name| {
        let values = headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let fields: Map<String, Value> = headers
        .keys()
        .map(|name| (name.to_string(), text(name).into()))
        .collect();
    Value::Object(fields)
}

fn is_user_message(item: &Value) -> bool {
    item["role"] == "user"
}

fn is_output(item: &Value) -> bool {
    item["type"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("_call_output"))
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}
