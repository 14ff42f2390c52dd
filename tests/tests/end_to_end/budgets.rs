//! Token budgets of keys through Envoy: the end of a turn in each dialect, and the next request, which Envoy rejects.

use std::time::Duration;

use futures_util::future::join_all;
use http::Request;
use serde_json::{Map, Value, json};
use tests::http::{Body, BufferedResponse, Version, bearer, get, post, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::SidecarOptions;
use tokio::time::{sleep, timeout};

use crate::stack::Chain;

/// Counts the configurations that Envoy has taken.
const RELOADED: &str = "extension_config_discovery.http_filter.codex_edge.config_reload";

/// Output tokens of each key.
const TOKENS: usize = 100;

/// A dialect, and whether its response is a stream.
#[derive(Clone, Copy, Debug)]
struct Case {
    path: &'static str,
    is_stream: bool,
}

const CASES: [Case; 8] = [
    Case {
        path: "/v1/chat/completions",
        is_stream: true,
    },
    Case {
        path: "/v1/chat/completions",
        is_stream: false,
    },
    Case {
        path: "/v1/completions",
        is_stream: true,
    },
    Case {
        path: "/v1/completions",
        is_stream: false,
    },
    Case {
        path: "/v1/responses",
        is_stream: true,
    },
    Case {
        path: "/v1/responses",
        is_stream: false,
    },
    Case {
        path: "/v1/messages",
        is_stream: true,
    },
    Case {
        path: "/v1/messages",
        is_stream: false,
    },
];

impl Case {
    /// Returns a request whose answer has 1,000 characters more than the budget allows.
    fn request(self, key: &str) -> Request<Body> {
        let text = "0123456789".repeat(TOKENS * 4 / 10 + 100);
        let prompt = format!("[[model:{}]]", json!([{"text": text, "delta_chars": 9}]));
        let mut body = json!({"model": "codex-5", "stream": self.is_stream});
        match self.path {
            "/v1/chat/completions" => {
                body["messages"] = json!([{"role": "user", "content": prompt}]);
            }
            "/v1/completions" => body["prompt"] = json!(prompt),
            "/v1/messages" => {
                body["max_tokens"] = json!(TOKENS * 100);
                body["messages"] = json!([{"role": "user", "content": prompt}]);
            }
            _ => body["input"] = json!(prompt),
        }
        bearer(post(self.path, body.to_string()), key)
    }

    /// Returns the text of a response, and its end: the choice with the finish reason, the incomplete response, or the
    /// message with the stop reason.
    fn read(self, response: &BufferedResponse) -> (String, Value) {
        if !self.is_stream {
            return read_document(self.path, &response.json());
        }
        let body = String::from_utf8(response.body.to_vec()).expect("a stream is text");
        let events: Vec<Value> = body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).expect("an event is JSON"))
            .collect();
        let last = events.last().expect("a stream has events");
        if self.path == "/v1/responses" {
            assert_eq!(last["type"], "response.incomplete", "{body}");
            return read_document(self.path, &last["response"]);
        }
        let texts = events.iter().map(|event| {
            let choice = &event["choices"][0];
            choice["delta"]["content"]
                .as_str()
                .or(choice["text"].as_str())
                .or(event["delta"]["text"].as_str())
        });
        let text = texts.flatten().collect();
        if self.path == "/v1/messages" {
            assert_eq!(last["type"], "message_stop", "{body}");
            return (text, events[events.len() - 2]["delta"].clone());
        }
        assert!(body.ends_with("data: [DONE]\n\n"), "{body}");
        (text, last["choices"][0].clone())
    }
}

fn read_document(path: &str, document: &Value) -> (String, Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let choice = &document["choices"][0];
    match path {
        "/v1/chat/completions" => (text(&choice["message"]["content"]), choice.clone()),
        "/v1/completions" => (text(&choice["text"]), choice.clone()),
        "/v1/messages" => (text(&document["content"][0]["text"]), document.clone()),
        _ => (
            text(&document["output"][0]["content"][0]["text"]),
            document.clone(),
        ),
    }
}

/// Asserts that no trace of the sidecar's message to the filter has reached the client.
#[track_caller]
fn assert_clean(response: &BufferedResponse) {
    assert!(!response.headers.contains_key("x-codex-edge-budget-spent"));
    assert!(!response.headers.contains_key("trailer"));
    assert!(response.trailers.is_empty(), "{:?}", response.trailers);
}

/// Asserts that the filter has rejected a request.
#[track_caller]
fn assert_refused_in_envoy(response: &BufferedResponse) {
    assert_eq!(response.status, 429, "{response:?}");
    let body = response.json();
    let error = &body["error"];
    let (kind, code) = match body["type"].as_str() {
        // Anthropic's shape, on its route.
        Some("error") => ("rate_limit_error", &error["details"]["error_code"]),
        _ => ("insufficient_quota", &error["code"]),
    };
    assert_eq!(
        (&error["type"], code),
        (&json!(kind), &json!("insufficient_quota"))
    );
    assert_eq!(response.header("x-should-retry"), "false");
    let seconds: u64 = response.header("retry-after").parse().expect("seconds");
    assert!((1..=86_400).contains(&seconds), "{response:?}");
    assert_clean(response);
    // Only the sidecar's rejection has it.
    assert!(!response.headers.contains_key("x-codex-edge-budget-limit"));
}

async fn send(chain: &Chain, version: Version, request: Request<Body>) -> BufferedResponse {
    let mut client = chain.connect(version).await;
    client.send(request).await.expect("a response arrives")
}

/// Starts the chain with keys, each as its id and its budget.
async fn start(keys: &[(String, &str)]) -> Chain {
    let keys = keys_of(keys);
    Chain::start_with(|options| options.filter("keys", keys)).await
}

fn keys_of(keys: &[(String, &str)]) -> Value {
    let keys = keys.iter().map(|(id, budget)| match *budget {
        "" => json!({"id": id, "key": format!("sk-{id}")}),
        budget => json!({"id": id, "key": format!("sk-{id}"), "budget": budget}),
    });
    keys.collect()
}

#[tokio::test]
async fn turn_ends_at_the_budget_in_each_dialect_and_envoy_rejects_the_next_request() {
    let budget = format!("day.output={TOKENS}");
    let versions = [Version::H1, Version::H2];
    let mut keys: Vec<_> = (0..CASES.len() * 2)
        .map(|index| (format!("key-{index}"), budget.as_str()))
        .collect();
    keys.push(("other".to_owned(), ""));
    let chain = start(&keys).await;
    let cases = CASES
        .iter()
        .flat_map(|case| versions.map(|version| (*case, version)));
    let mut refused_ids = Vec::new();
    for (index, (case, version)) in cases.enumerate() {
        let key = format!("sk-key-{index}");
        let response = send(&chain, version, case.request(&key)).await;
        assert_eq!(response.status, 200, "{case:?} {response:?}");
        assert_clean(&response);
        let (text, end) = case.read(&response);
        assert_eq!(text.len(), TOKENS * 4, "{case:?} {version:?}");
        let spent = match case.path {
            "/v1/responses" => {
                assert_eq!(end["status"], "incomplete", "{end}");
                let details = &end["incomplete_details"];
                assert_eq!(details["reason"], "max_output_tokens", "{end}");
                &details["budget"]
            }
            "/v1/messages" => {
                assert_eq!(end["stop_reason"], "max_tokens", "{end}");
                &end["budget"]
            }
            _ => {
                assert_eq!(end["finish_reason"], "length", "{end}");
                &end["budget"]
            }
        };
        assert_eq!(spent["limit"], "day.output", "{end}");
        assert!(
            spent["resets_at"]
                .as_str()
                .is_some_and(|time| time.ends_with("T00:00:00Z")),
            "{end}"
        );
        for _ in 0..2 {
            let refused = send(&chain, version, case.request(&key)).await;
            assert_refused_in_envoy(&refused);
            let is_anthropic = refused.json()["type"] == "error";
            assert_eq!(is_anthropic, case.path == "/v1/messages", "{refused:?}");
            refused_ids.push(refused.header("x-request-id").to_owned());
        }
        // Usage is open, so that the client finds the reason.
        let usage = send(&chain, version, bearer(get("/v1/usage"), &key))
            .await
            .json();
        assert_eq!(usage["budget"][0]["limit"], "day.output", "{usage}");
        assert_eq!(usage["budget"][0]["remaining"], 0, "{usage}");
        assert_eq!(
            usage["budget"][0]["resets_at"], spent["resets_at"],
            "{usage}"
        );
    }
    let other = send(&chain, Version::H1, CASES[1].request("sk-other")).await;
    assert_eq!(other.status, 200, "{other:?}");
    let last = other.header("x-request-id").to_owned();
    let logged = logged_ids(&chain, &last).await;
    assert!(
        !refused_ids.iter().any(|id| logged.contains(id)),
        "{logged:?}"
    );
    let line = chain
        .envoy
        .access_log_entry(|line| line["reason"] == "budget_spent")
        .await;
    assert_eq!(line["status"], 429, "{line}");
}

/// Returns the ids of the requests that the sidecar has served, up to `last`.
async fn logged_ids(chain: &Chain, last: &str) -> Vec<String> {
    let ids = async {
        loop {
            let id = |line: &Value| line["span"]["id"].as_str().map(str::to_owned);
            let ids: Vec<_> = chain.requests_logged().iter().filter_map(id).collect();
            if ids.iter().any(|id| id == last) {
                return ids;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), ids)
        .await
        .expect("the sidecar logs the last request")
}

#[tokio::test]
async fn client_cannot_set_its_budget() {
    let keys = [("ann".to_owned(), "day=5000"), ("bob".to_owned(), "")];
    let chain = start(&keys).await;
    for (key, expected) in [("sk-ann", json!(5000)), ("sk-bob", Value::Null)] {
        for name in ["x-codex-edge-budget", "x_codex_edge_budget"] {
            let forged = with(bearer(get("/v1/usage"), key), name, "day=7");
            let usage = send(&chain, Version::H2, forged).await.json();
            assert_eq!(usage["budget"][0]["tokens"], expected, "{name} {usage}");
        }
    }
}

#[tokio::test]
async fn new_window_raised_budget_and_changed_keys_reopen_a_spent_budget() {
    let keys = |budget| [("ann".to_owned(), budget)];
    let chain = start(&keys("8s.output=100")).await;
    let case = CASES[0];
    let spend = async || {
        let response = send(&chain, Version::H1, case.request("sk-ann")).await;
        assert_eq!(response.status, 200, "{response:?}");
        let refused = send(&chain, Version::H1, case.request("sk-ann")).await;
        assert_refused_in_envoy(&refused);
        refused
    };
    let opens = async || {
        let opened = async {
            while send(&chain, Version::H1, case.request("sk-ann"))
                .await
                .status
                != 200
            {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(30), opened)
            .await
            .expect("the budget opens");
    };
    let refused = spend().await;
    let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!(seconds <= 9, "{refused:?}");
    opens().await;
    let rewrite = async |keys: &[(String, &str)]| {
        let reloads = chain.envoy.stat(RELOADED).await;
        let fields = Map::from_iter([("keys".to_owned(), keys_of(keys))]);
        let text = chain.envoy.filter_yaml(&fields);
        chain.envoy.write_filter_yaml(&text);
        chain.envoy.wait_for_stat(RELOADED, reloads + 1).await;
    };
    // 200 tokens of this day are spent; a key with another window counts them too.
    rewrite(&keys("day.output=300")).await;
    spend().await;
    // A changed file asks the sidecar again, which knows that nothing was raised.
    let other = ("bob".to_owned(), "");
    rewrite(&[keys("day.output=300"), [other]].concat()).await;
    let refused = send(&chain, Version::H1, case.request("sk-ann")).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_clean(&refused);
    assert_eq!(refused.header("x-codex-edge-budget-remaining"), "0");
    let refused = send(&chain, Version::H1, case.request("sk-ann")).await;
    assert_refused_in_envoy(&refused);
    rewrite(&keys("day.output=400")).await;
    spend().await;
}

#[tokio::test]
async fn parallel_streams_of_a_key_deliver_no_more_than_its_budget() {
    const STREAMS: usize = 64;
    const BUDGET: usize = 20_000;
    let budget = format!("day.output={BUDGET}");
    let keys = keys_of(&[("ann".to_owned(), budget.as_str())]);
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    let sidecar = SidecarOptions::new(&model)
        .env("PROXY_SSE_MAX_CONCURRENCY", "64")
        .start()
        .await;
    let chain = Chain::start_over(model, sidecar, |options| options.filter("keys", keys)).await;
    // Four times as much as the budget.
    let text = "0123456789".repeat(BUDGET * 4 / 10 * 4 / STREAMS);
    let script = json!([{"text": text, "delta_chars": 48}]);
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": "codex-5", "stream": true, "messages": [message]}).to_string();
    let streams = (0..STREAMS).map(|_| async {
        let request = bearer(post("/v1/chat/completions", body.clone()), "sk-ann");
        let response = send(&chain, Version::H1, request).await;
        // A stream that comes too late finds nothing left.
        match response.status.as_u16() {
            200 => CASES[0].read(&response).0.len(),
            status => {
                assert_eq!(status, 429, "{response:?}");
                0
            }
        }
    });
    let delivered: usize = join_all(streams).await.into_iter().sum();
    assert!(delivered <= BUDGET * 4 * 102 / 100, "{delivered}");
    assert!(delivered >= BUDGET * 4 * 98 / 100, "{delivered}");
    let refused = send(&chain, Version::H1, CASES[0].request("sk-ann")).await;
    assert_refused_in_envoy(&refused);
}
