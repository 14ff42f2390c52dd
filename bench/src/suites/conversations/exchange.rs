//! One request of a conversation and its streamed response, in either API.

use std::time::Duration;

use anyhow::{Context, bail};
use http::Request;
use serde_json::Value;
use tests::http::{Body, Client};
use tests::scripted_model::PromptTokens;
use tests::sse::{self, Events};
use tokio::time::Instant;

use super::variant::THREAD_HEADER;

/// A request as its client experiences it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) reply: Reply,
    /// Time from the request to the first text, or to the first part of a call.
    pub(super) first_token: Duration,
    /// The kind of thread, where the response names it.
    pub(super) thread: Option<String>,
}

/// A response as the client understands it.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// The id of a response; empty for a chat completion.
    pub(super) id: String,
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
    /// The output items of a response.
    pub(super) items: Vec<Value>,
    /// The usage that the client is told.
    pub(super) usage: PromptTokens,
}

/// A call of a client's tool.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

impl Exchange {
    /// Sends `request` and reads the response to its end.
    ///
    /// # Errors
    /// When the response is an error, has no token, or has no usage.
    pub(super) async fn measure(
        client: &mut Client,
        request: Request<Body>,
    ) -> anyhow::Result<Self> {
        let sent_at = Instant::now();
        let stream = client.stream(request).await?;
        // `Events` panics on the body of an error.
        if stream.status != 200 {
            let error = stream.collect().await?;
            bail!("{}: {}", error.status, String::from_utf8_lossy(&error.body));
        }
        let thread = stream.headers.get(THREAD_HEADER).cloned();
        let mut events = Events::new(stream);
        let (mut reply, mut first_token) = (Reply::default(), None);
        while let Some(event) = events.next().await? {
            // A comment, or the marker at the end of a chat completion.
            if event.starts_with(':') || event == "data: [DONE]" {
                continue;
            }
            if reply.on_event(&sse::json(&event))? {
                first_token.get_or_insert_with(|| sent_at.elapsed());
            }
        }
        Ok(Self {
            reply: reply.require_usage()?,
            first_token: first_token.context("the response has no token")?,
            thread: thread.map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned()),
        })
    }
}

impl Reply {
    /// Adds an event; returns whether it has a text or a part of a call.
    fn on_event(&mut self, event: &Value) -> anyhow::Result<bool> {
        match event["type"].as_str() {
            Some(kind) => self.on_response_event(kind, event),
            None => self.on_chunk(event),
        }
    }

    fn on_chunk(&mut self, chunk: &Value) -> anyhow::Result<bool> {
        if chunk.get("error").is_some() {
            bail!("the stream ended with {chunk}");
        }
        self.usage = parse_usage(&chunk["usage"], "/prompt_tokens").unwrap_or(self.usage);
        let delta = &chunk["choices"][0]["delta"];
        let text = delta["content"].as_str().unwrap_or_default();
        self.text += text;
        let calls = delta["tool_calls"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        for part in calls {
            self.on_call_part(part)?;
        }
        Ok(!text.is_empty() || !calls.is_empty())
    }

    fn on_call_part(&mut self, part: &Value) -> anyhow::Result<()> {
        let index = part["index"].as_u64().context("a call without an index")?;
        let index = usize::try_from(index)?;
        if index >= self.calls.len() {
            self.calls.resize_with(index + 1, Call::default);
        }
        let call = &mut self.calls[index];
        for (field, value) in [
            (&mut call.id, &part["id"]),
            (&mut call.name, &part["function"]["name"]),
            (&mut call.arguments, &part["function"]["arguments"]),
        ] {
            *field += value.as_str().unwrap_or_default();
        }
        Ok(())
    }

    fn on_response_event(&mut self, kind: &str, event: &Value) -> anyhow::Result<bool> {
        match kind {
            "response.completed" => self.on_completed(&event["response"])?,
            "response.failed" | "response.incomplete" | "error" => {
                bail!("the stream ended with {event}")
            }
            _ => {}
        }
        // Not the event that announces an item, which is sent before the model has said anything.
        let is_token = matches!(
            kind,
            "response.output_text.delta" | "response.function_call_arguments.delta"
        );
        Ok(is_token)
    }

    fn on_completed(&mut self, response: &Value) -> anyhow::Result<()> {
        self.id = response["id"]
            .as_str()
            .context("a response without an id")?
            .to_owned();
        self.usage = parse_usage(&response["usage"], "/input_tokens").unwrap_or_default();
        for item in response["output"]
            .as_array()
            .context("a response without output")?
        {
            self.items.push(item.clone());
            let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
            match item["type"].as_str() {
                Some("message") => {
                    let parts = item["content"].as_array().into_iter().flatten();
                    self.text
                        .extend(parts.filter_map(|part| part["text"].as_str()));
                }
                Some("function_call") => self.calls.push(Call {
                    id: text("call_id"),
                    name: text("name"),
                    arguments: text("arguments"),
                }),
                _ => {}
            }
        }
        Ok(())
    }

    fn require_usage(self) -> anyhow::Result<Self> {
        if self.usage.input == 0 {
            bail!("the response has no usage: {self:?}");
        }
        Ok(self)
    }
}

/// Tokens of the input, at the pointer `input`, and tokens of it that were cached.
fn parse_usage(usage: &Value, input: &str) -> Option<PromptTokens> {
    let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64);
    Some(PromptTokens {
        input: count(input)?,
        cached: count(&format!("{input}_details/cached_tokens")).unwrap_or(0),
    })
}
