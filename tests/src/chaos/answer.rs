//! What an answer says, whichever dialect it is in: its text, its call, and whether it says that it is whole.
//! OpenAI API reference: "Chat completions", "Completions (legacy)", "Responses"; an error frame is `{"error":{...}}`.

use serde_json::Value;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Chat,
    Completions,
    Responses,
}

/// What was said.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The model's text, as far as it came.
    pub(crate) text: String,
    /// The arguments of the call that ended it.
    pub(crate) call: Option<String>,
    /// The id, by which a conversation goes on.
    pub(crate) id: String,
    pub(crate) end: End,
}

/// How it ended, in its own words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// It says that it is whole.
    Whole,
    /// It says that it failed, with this code.
    Failed(String),
    /// It says nothing about its end.
    #[default]
    Unsaid,
}

impl Dialect {
    /// The path, which is also the route in records and metrics.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
        }
    }

    /// Reads a stream; an event that is cut counts for nothing.
    pub(crate) fn read_stream(self, body: &str) -> Answer {
        let whole_events = body.rsplit_once("\n\n").map_or("", |(events, _cut)| events);
        let data = whole_events
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        let mut answer = Answer::default();
        for data in data {
            if data == "[DONE]" {
                answer.end = End::Whole;
                continue;
            }
            let event: Value = serde_json::from_str(data).unwrap_or_default();
            answer.end = code(&event).map_or(End::Unsaid, End::Failed);
            match self {
                Self::Chat => answer.add_choice(&event["choices"][0]["delta"]),
                Self::Completions => answer.add_choice(&event["choices"][0]),
                Self::Responses => answer.add_event(&event),
            }
        }
        answer
    }

    /// Reads an answer that came as one JSON object.
    pub(crate) fn read_whole(self, body: &str) -> Answer {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let mut answer = Answer::default();
        let choice = &body["choices"][0];
        let is_whole = match self {
            Self::Chat => {
                answer.add_choice(&choice["message"]);
                is_end(&choice["finish_reason"])
            }
            Self::Completions => {
                answer.add_choice(choice);
                is_end(&choice["finish_reason"])
            }
            Self::Responses => {
                answer.add_response(&body);
                body["status"] == "completed"
            }
        };
        if is_whole {
            answer.end = End::Whole;
        }
        answer
    }
}

impl Answer {
    /// Takes a choice's message, delta, or the choice itself.
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
                self.end = End::Whole;
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
    let is_told = error["message"].is_string() && error["type"].is_string();
    let code = error["code"].as_str().filter(|_| is_told);
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
    fn check(dialect: Dialect, events: &[Value], text: &str, end: &End) {
        let frames = events.iter().map(|event| format!("data: {event}\n\n"));
        let answer = dialect.read_stream(&frames.collect::<String>());
        assert_eq!(
            (answer.text.as_str(), &answer.end),
            (text, end),
            "{answer:?}"
        );
    }

    #[test]
    fn a_response_ends_with_its_completion_or_an_error() {
        let delta = |text: &str| json!({"type": "response.output_text.delta", "delta": text});
        let completed = json!({"type": "response.completed", "response": {"id": "resp_1"}});
        let error = json!({"message": "m", "type": "server_error", "code": "codex_failed"});
        let error = json!({"type": "error", "code": "codex_failed", "error": error});
        let (can, ary) = (delta("can"), delta("ary"));
        let failed = End::Failed("codex_failed".into());
        check(
            Dialect::Responses,
            &[can.clone(), ary, completed],
            "canary",
            &End::Whole,
        );
        check(Dialect::Responses, &[can.clone(), error], "can", &failed);
        check(Dialect::Responses, &[can], "can", &End::Unsaid);
    }

    #[test]
    fn whole_answers_have_text_call_and_id() {
        let item = json!({"type": "message", "content": [{"text": "canary"}]});
        let mut response = json!({"id": "resp_1", "status": "completed", "output": [item]});
        let read = Dialect::Responses.read_whole(&response.to_string());
        assert_eq!((read.text.as_str(), read.id.as_str()), ("canary", "resp_1"));
        assert_eq!(read.end, End::Whole);
        response["status"] = json!("incomplete");
        let read = Dialect::Responses.read_whole(&response.to_string());
        assert_eq!(read.end, End::Unsaid);

        let call = json!({"tool_calls": [{"function": {"arguments": "{}"}}]});
        let chat = json!({"choices": [{"message": call, "finish_reason": "tool_calls"}]});
        let read = Dialect::Chat.read_whole(&chat.to_string());
        assert_eq!((read.call.as_deref(), read.end), (Some("{}"), End::Whole));
    }
}
