//! What Codex asks: checks a request as the Responses API does and finds what an answer needs to know.
//! The source is OpenAI's Responses API, `POST /v1/responses`.

use std::collections::HashSet;

use http::HeaderMap;
use serde_json::{Map, Value};

use crate::scripted_model::error::ApiError;
use crate::scripted_model::script::Echo;

/// A request that has been checked.
#[derive(Debug)]
pub(crate) struct ModelRequest {
    pub(crate) model: String,
    headers: HeaderMap,
    body: Value,
    body_bytes: usize,
}

impl ModelRequest {
    /// Checks the body of `POST /v1/responses`.
    ///
    /// # Errors
    /// The refusal that the Responses API gives.
    pub(crate) fn parse(headers: HeaderMap, body: &[u8]) -> Result<Self, ApiError> {
        let body_bytes = body.len();
        let body: Value = serde_json::from_slice(body).map_err(|error| {
            ApiError::invalid(None, format!("We could not parse the JSON body: {error}"))
        })?;
        let model = body["model"]
            .as_str()
            .ok_or_else(|| ApiError::invalid(Some("model"), "`model` has to be a string."))?
            .to_owned();
        if body["stream"] != true {
            return Err(ApiError::invalid(
                Some("stream"),
                "Only `stream: true` is answered here, which is all that Codex sends.",
            ));
        }
        check_input(&body["input"])?;
        check_tools(&body["tools"])?;
        Ok(Self {
            model,
            headers,
            body,
            body_bytes,
        })
    }

    /// The text of the last message of the user; empty when there is none.
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

    /// The outputs of tools that came after the last message of the user, oldest first.
    pub(crate) fn tool_outputs(&self) -> Vec<String> {
        self.since_user()
            .iter()
            .filter(|item| is_output(item))
            .map(|item| text_of(&item["output"]))
            .collect()
    }

    /// What the last message of the user asks for, with what was said after it; what was said before is history.
    pub(crate) fn asked(&self) -> String {
        if let Some(text) = self.body["input"].as_str() {
            return text.to_owned();
        }
        let items = self.since_user().iter();
        let texts = items.map(|item| text_of(&item["content"]));
        texts.collect::<Vec<_>>().join("\n")
    }

    /// What the application says after the last message of the user.
    pub(crate) fn instructed(&self) -> String {
        let items = self.since_user().iter();
        let told = items.filter(|item| item["role"] == "developer");
        let texts = told.map(|item| text_of(&item["content"]));
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The functions that may be called.
    pub(crate) fn function_tools(&self) -> impl Iterator<Item = &Value> + Clone {
        let tools = self.body["tools"].as_array().into_iter().flatten();
        tools.filter(|tool| tool["type"] == "function")
    }

    /// The shape that the answer must have.
    pub(crate) fn schema(&self) -> Option<&Value> {
        self.body.pointer("/text/format/schema")
    }

    /// Whether a summary of the reasoning is asked for.
    pub(crate) fn wants_summary(&self) -> bool {
        let summary = self.body["reasoning"]["summary"].as_str();
        summary.is_some_and(|word| word != "none")
    }

    /// How many times the model has been asked since the last message of the user: each batch of tool outputs
    /// asks once more.
    pub(crate) fn round(&self) -> usize {
        let outputs = self.since_user().iter().map(is_output);
        let mut before = false;
        outputs
            .filter(|output| std::mem::replace(&mut before, *output) != *output && *output)
            .count()
    }

    /// A part of the request as compact JSON.
    pub(crate) fn echo(&self, part: Echo) -> String {
        match part {
            Echo::Input => self.body["input"].to_string(),
            Echo::Tools => self.body["tools"].to_string(),
            Echo::Body => self.body.to_string(),
            Echo::Headers => headers_json(&self.headers).to_string(),
        }
    }

    /// Input tokens by the rule of thumb of four bytes a token.
    pub(crate) fn estimated_tokens(&self) -> u64 {
        tokens_of(self.body_bytes)
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

/// Tokens in so many bytes of text, rounded up.
pub(crate) fn tokens_of(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4)
}

/// Header fields as a JSON object; what is not UTF-8 is replaced, what is repeated is joined.
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

fn check_input(input: &Value) -> Result<(), ApiError> {
    let invalid = |message: String| Err(ApiError::invalid(Some("input"), message));
    let items = match input {
        Value::String(_) => return Ok(()),
        Value::Array(items) => items,
        _ => return invalid("`input` has to be a string or an array.".to_owned()),
    };
    let mut calls = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        check_item(item).map_err(|why| {
            ApiError::invalid(Some("input"), format!("Invalid `input[{index}]`: {why}"))
        })?;
        let call_id = item["call_id"].as_str().unwrap_or_default();
        if is_output(item) {
            if !calls.remove(call_id) {
                return invalid(format!(
                    "No tool call found for function call output with call_id {call_id}."
                ));
            }
        } else if !call_id.is_empty() {
            calls.insert(call_id);
        }
    }
    match calls.into_iter().next() {
        Some(call_id) => invalid(format!("No tool output found for function call {call_id}.")),
        None => Ok(()),
    }
}

/// Says what the Responses API would not take in an item.
fn check_item(item: &Value) -> Result<(), String> {
    let need = |name: &str| match item[name].as_str() {
        Some(_) => Ok(()),
        None => Err(format!("`{name}` has to be a string")),
    };
    match item["type"].as_str() {
        Some("message") | None => check_message(item),
        Some("function_call") => need("call_id").and(need("name")).and(need("arguments")),
        Some("custom_tool_call") => need("call_id").and(need("name")).and(need("input")),
        Some("function_call_output" | "custom_tool_call_output") => {
            need("call_id")?;
            match &item["output"] {
                Value::String(_) | Value::Array(_) => Ok(()),
                _ => Err("`output` has to be a string or an array".to_owned()),
            }
        }
        Some(_) => Ok(()),
    }
}

fn check_message(item: &Value) -> Result<(), String> {
    let allowed: &[&str] = match item["role"].as_str() {
        Some("assistant") => &["output_text", "refusal"],
        Some("user" | "developer" | "system") => {
            &["input_text", "input_image", "input_file", "input_audio"]
        }
        _ => return Err("`role` has to be assistant, user, developer or system".to_owned()),
    };
    let parts = match &item["content"] {
        Value::String(_) => return Ok(()),
        Value::Array(parts) => parts,
        _ => return Err("`content` has to be a string or an array".to_owned()),
    };
    let foreign = parts.iter().find(|part| {
        let kind = part["type"].as_str();
        !kind.is_some_and(|kind| allowed.contains(&kind))
    });
    match foreign {
        Some(part) => Err(format!(
            "content of type {} where {allowed:?} may stand",
            part["type"]
        )),
        None => Ok(()),
    }
}

fn check_tools(tools: &Value) -> Result<(), ApiError> {
    let invalid = |message: String| Err(ApiError::invalid(Some("tools"), message));
    let tools = match tools {
        Value::Null => return Ok(()),
        Value::Array(tools) => tools,
        _ => return invalid("`tools` has to be an array.".to_owned()),
    };
    for (index, tool) in tools.iter().enumerate() {
        let fits = match tool["type"].as_str() {
            Some("function") => tool["name"].is_string() && tool["parameters"].is_object(),
            Some(_) => true,
            None => false,
        };
        if !fits {
            return invalid(format!("Invalid `tools[{index}]`."));
        }
    }
    Ok(())
}
