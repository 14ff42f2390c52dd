//! Responses of all endpoints, parsed: the text, the tool call, and the end.
//! OpenAI API reference: "Chat completions", "Completions (legacy)", "Responses"; an error frame is `{"error":{...}}`.

use serde_json::Value;

/// An endpoint of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Responses,
}

/// The content of a response.
#[derive(Debug, Default)]
pub(crate) struct ParsedResponse {
    /// The model's text, as far as it arrived.
    pub(crate) text: String,
    /// The arguments of the tool call.
    pub(crate) call: Option<String>,
    /// The response id, which a conversation continues from.
    pub(crate) id: String,
    pub(crate) end: Ending,
}

/// The end of a response, as far as the response itself shows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A finish reason, `[DONE]` or `response.completed`.
    Complete,
    /// An error event with this code.
    Failed(String),
    /// No end marker.
    #[default]
    Unmarked,
}

impl Endpoint {
    /// The path, which is also the route in records and metrics.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
        }
    }

    /// Parses a stream; an incomplete last event is ignored.
    pub(crate) fn parse_stream(self, body: &str) -> ParsedResponse {
        let complete_events = body.rsplit_once("\n\n").map_or("", |(events, _cut)| events);
        let data = complete_events
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        let mut response = ParsedResponse::default();
        for data in data {
            if data == "[DONE]" {
                response.end = Ending::Complete;
                continue;
            }
            let event: Value = serde_json::from_str(data).unwrap_or_default();
            response.end = code(&event).map_or(Ending::Unmarked, Ending::Failed);
            match self {
                Self::Chat => response.add_choice(&event["choices"][0]["delta"]),
                Self::Completions => response.add_choice(&event["choices"][0]),
                Self::Responses => response.add_event(&event),
            }
        }
        response
    }

    /// Parses a response that is one JSON object.
    pub(crate) fn parse_body(self, body: &str) -> ParsedResponse {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let mut response = ParsedResponse::default();
        let choice = &body["choices"][0];
        let is_complete = match self {
            Self::Chat => {
                response.add_choice(&choice["message"]);
                is_end(&choice["finish_reason"])
            }
            Self::Completions => {
                response.add_choice(choice);
                is_end(&choice["finish_reason"])
            }
            Self::Responses => {
                response.add_response(&body);
                body["status"] == "completed"
            }
        };
        if is_complete {
            response.end = Ending::Complete;
        }
        response
    }
}

impl ParsedResponse {
    /// Adds a choice's message, delta, or the choice itself.
    fn add_choice(&mut self, choice: &Value) {
        for field in ["content", "text"] {
            self.text.push_str(choice[field].as_str().unwrap_or(""));
        }
        let call = &choice["tool_calls"][0]["function"]["arguments"];
        self.call = self.call.take().or(call.as_str().map(str::to_owned));
    }

    fn add_event(&mut self, event: &Value) {
        match event["type"].as_str() {
            Some("response.output_text.delta") => {
                self.text.push_str(event["delta"].as_str().unwrap_or(""));
            }
            Some("response.completed") => {
                self.id = text(&event["response"]["id"]);
                self.end = Ending::Complete;
            }
            _ => {}
        }
    }

    fn add_response(&mut self, response: &Value) {
        self.id = text(&response["id"]);
        let items = response["output"].as_array().into_iter().flatten();
        self.text = items
            .map(|item| text(&item["content"][0]["text"]))
            .collect();
    }
}

/// The code of an error in OpenAI's shape.
pub(crate) fn code(body: &Value) -> Option<String> {
    let error = body["error"].as_object()?;
    let is_complete = error["message"].is_string() && error["type"].is_string();
    let code = error["code"].as_str().filter(|_| is_complete);
    code.map(str::to_owned)
}

fn is_end(finish_reason: &Value) -> bool {
    finish_reason == "stop" || finish_reason == "tool_calls"
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(endpoint: Endpoint, events: &[Value], text: &str, end: &Ending) {
        let frames = events.iter().map(|event| format!("data: {event}\n\n"));
        let response = endpoint.parse_stream(&frames.collect::<String>());
        assert_eq!(
            (response.text.as_str(), &response.end),
            (text, end),
            "{response:?}"
        );
    }

    #[test]
    fn stream_of_a_response_ends_with_its_completion_or_an_error() {
        let delta = |text: &str| json!({"type": "response.output_text.delta", "delta": text});
        let completed = json!({"type": "response.completed", "response": {"id": "resp_1"}});
        let error = json!({"message": "m", "type": "server_error", "code": "codex_failed"});
        let error = json!({"type": "error", "code": "codex_failed", "error": error});
        let (first, second) = (delta("mar"), delta("ker"));
        let failed = Ending::Failed("codex_failed".into());
        check(
            Endpoint::Responses,
            &[first.clone(), second, completed],
            "marker",
            &Ending::Complete,
        );
        check(Endpoint::Responses, &[first.clone(), error], "mar", &failed);
        check(Endpoint::Responses, &[first], "mar", &Ending::Unmarked);
    }

    #[test]
    fn buffered_response_has_text_call_and_id() {
        let item = json!({"type": "message", "content": [{"text": "marker"}]});
        let mut response = json!({"id": "resp_1", "status": "completed", "output": [item]});
        let read = Endpoint::Responses.parse_body(&response.to_string());
        assert_eq!((read.text.as_str(), read.id.as_str()), ("marker", "resp_1"));
        assert_eq!(read.end, Ending::Complete);
        response["status"] = json!("incomplete");
        let read = Endpoint::Responses.parse_body(&response.to_string());
        assert_eq!(read.end, Ending::Unmarked);

        let call = json!({"tool_calls": [{"function": {"arguments": "{}"}}]});
        let chat = json!({"choices": [{"message": call, "finish_reason": "tool_calls"}]});
        let read = Endpoint::Chat.parse_body(&chat.to_string());
        assert_eq!(
            (read.call.as_deref(), read.end),
            (Some("{}"), Ending::Complete)
        );
    }
}
