//! The turns of a key with a budget: their ends, their settlements, and the rejection of later ones.

use std::time::Duration;

use futures_util::future::join_all;
use http::Request;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::http::{Body, get, post, with};
use tests::sse::{self, Events};
use tokio::time::{sleep, timeout};

use super::fixture::{limits, long_text, of_ann, send};
use crate::stack::{SOON, assert_error, chat, content, start};

#[tokio::test]
async fn stream_ends_at_the_budget_and_the_next_request_is_rejected_also_after_a_restart() {
    const BUDGET: &str = "day.output=300,month=1000000";
    let (_model, mut sidecar) = start().await;
    let mut client = sidecar.connect().await;
    let request = of_ann(chat(&long_text(), &json!({"stream": true})), BUDGET);
    let stream = client.stream(request).await.expect("a response arrives");
    let events = Events::new(stream).rest().await.expect("the stream ends");
    assert_eq!(events.last().map(String::as_str), Some("data: [DONE]"));
    let chunks: Vec<_> = events[..events.len() - 1]
        .iter()
        .map(|event| sse::json(event))
        .collect();
    let text: String = chunks.iter().map(content).collect();
    assert_eq!(
        text.len(),
        300 * 4,
        "four characters a token, until a turn has taught otherwise"
    );
    let end = &chunks.last().expect("a chunk")["choices"][0];
    assert_eq!(end["finish_reason"], "length");
    assert_eq!(end["budget"]["limit"], "day.output");
    let day = &limits(&sidecar, BUDGET).await[0];
    assert_eq!((&day["spent"], &day["reserved"]), (&json!(300), &json!(0)));
    assert_eq!(day["resets_at"], end["budget"]["resets_at"]);
    for is_restarted in [false, true] {
        if is_restarted {
            sidecar.signal(Signal::SIGKILL);
            sidecar.wait().await;
            sidecar.restart();
            sidecar.wait_until_ready().await;
        }
        let refused = send(&sidecar, of_ann(chat(&long_text(), &json!({})), BUDGET)).await;
        assert_error(&refused, 429, "insufficient_quota");
        assert_eq!(refused.json()["error"]["type"], "insufficient_quota");
        assert_eq!(refused.header("x-should-retry"), "false");
        let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
        assert!((1..=86_400).contains(&seconds), "{refused:?}");
        assert_eq!(
            refused.header("x-codex-edge-budget-limit"),
            "day.output=300"
        );
        assert_eq!(refused.header("x-codex-edge-budget-remaining"), "0");
        assert!(refused.headers.contains_key("x-codex-edge-budget-spent"));
    }
    // A raised budget opens at once, and so does a key without one.
    let raised = of_ann(
        chat(&json!([{"text": "Hi."}]), &json!({})),
        "day.output=100000",
    );
    assert_eq!(send(&sidecar, raised).await.status, 200);
    let other = chat(&json!([{"text": "Hi."}]), &json!({}));
    assert_eq!(send(&sidecar, other).await.status, 200);
}

#[tokio::test]
async fn stream_that_uses_up_the_budget_says_so_in_a_trailer() {
    let (_model, sidecar) = start().await;
    for (budget, is_spent) in [("day.output=300", true), ("day.output=100000", false)] {
        let request = of_ann(chat(&long_text(), &json!({"stream": true})), budget);
        let response = send(&sidecar, with(request, "te", "trailers")).await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.header("trailer"), "x-codex-edge-budget-spent");
        let trailer = response.trailers.get("x-codex-edge-budget-spent");
        assert_eq!(trailer.is_some(), is_spent, "{budget} {response:?}");
    }
}

#[tokio::test]
async fn response_at_the_budget_is_incomplete_and_names_the_limit() {
    let (_model, sidecar) = start().await;
    let input = format!("[[model:{}]]", long_text());
    let body = json!({"model": "codex-5", "input": input});
    let request = post("/v1/responses", body.to_string());
    let response = send(&sidecar, of_ann(request, "5h.output=50")).await;
    let document = response.json();
    assert_eq!(document["status"], "incomplete", "{document}");
    let details = &document["incomplete_details"];
    assert_eq!(details["reason"], "max_output_tokens");
    assert_eq!(details["budget"]["limit"], "5h.output");
    // The head of a buffered response is sent after its settlement, so that the filter learns of the end with it.
    assert!(response.headers.contains_key("x-codex-edge-budget-spent"));
}

#[tokio::test]
async fn settlement_is_the_usage_that_codex_reports_with_its_weights() {
    let (_model, sidecar) = start().await;
    let usage = json!({"input_tokens": 100, "cached_tokens": 50, "output_tokens": 30, "reasoning_tokens": 10});
    let script = json!([{"text": "Hi."}, {"usage": usage}]);
    let budget = "day.input=100000,day.output=1000,cached=0.1,reasoning=2";
    let response = send(&sidecar, of_ann(chat(&script, &json!({})), budget)).await;
    assert_eq!(
        response.json()["usage"]["prompt_tokens"],
        100,
        "{response:?}"
    );
    let limits = limits(&sidecar, budget).await;
    assert_eq!(
        (&limits[0]["spent"], &limits[1]["spent"]),
        (&json!(55), &json!(40))
    );
}

#[tokio::test]
async fn parallel_streams_together_deliver_no_more_than_the_budget() {
    const TOKENS: usize = 2000;
    let budget = format!("day.output={TOKENS}");
    let (_model, sidecar) = start().await;
    let streams = (0..16).map(|_| async {
        let mut client = sidecar.connect().await;
        let request = of_ann(chat(&long_text(), &json!({"stream": true})), &budget);
        let stream = client.stream(request).await.expect("a response arrives");
        let events = Events::new(stream).rest().await.expect("the stream ends");
        let chunks = events.iter().filter(|event| event.contains("\"delta\""));
        chunks
            .map(|event| content(&sse::json(event)).len())
            .sum::<usize>()
    });
    let delivered: usize = join_all(streams).await.into_iter().sum();
    assert!(delivered <= TOKENS * 4 * 102 / 100, "{delivered}");
    assert!(delivered >= TOKENS * 4 * 9 / 10, "{delivered}");
    let refused = send(&sidecar, of_ann(chat(&long_text(), &json!({})), &budget)).await;
    assert_eq!(refused.status, 429);
}

#[tokio::test]
async fn operator_sees_the_budgets_of_all_keys() {
    let (_model, sidecar) = start().await;
    for (key, budget) in [("ann", "day.output=300"), ("bob", "5h=100000,day=5000")] {
        let request = with(chat(&long_text(), &json!({})), "x-codex-edge-client", key);
        let response = send(&sidecar, with(request, "x-codex-edge-budget", budget)).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    let mut admin = sidecar.connect_admin().await;
    let status = admin
        .send(get("/status"))
        .await
        .expect("a response arrives");
    let budgets = &status.json()["budgets"];
    let ann = &budgets[0];
    assert_eq!(ann["client"], "ann", "{budgets}");
    let day = &ann["limits"][0];
    assert_eq!(day["limit"], "day.output", "{budgets}");
    for (field, expected) in [
        ("tokens", 300),
        ("spent", 300),
        ("reserved", 0),
        ("remaining", 0),
    ] {
        assert_eq!(day[field], expected, "{field} {budgets}");
    }
    assert_eq!(budgets[1]["client"], "bob", "{budgets}");
    assert_eq!(
        budgets[1]["limits"].as_array().map(Vec::len),
        Some(2),
        "{budgets}"
    );
    let metrics = admin
        .send(get("/metrics"))
        .await
        .expect("a response arrives");
    let text = String::from_utf8(metrics.body.to_vec()).expect("metrics are text");
    for line in [
        "sidecar_budget_tokens{client=\"ann\",limit=\"day.output\"} 300",
        "sidecar_budget_spent_tokens{client=\"ann\",limit=\"day.output\"} 300",
        "sidecar_budget_reserved_tokens{client=\"ann\",limit=\"day.output\"} 0",
        "sidecar_budget_tokens{client=\"bob\",limit=\"5h\"} 100000",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(
        text.contains("sidecar_budget_reset_timestamp_seconds{client=\"bob\",limit=\"day\"}"),
        "{text}"
    );
}

/// Tokens of a model request of these agents.
fn used(input: u64) -> Value {
    json!({"usage": {"input_tokens": input, "output_tokens": 40}})
}

/// A request of an agent for `script`.
fn agent(script: &Value, more: &Value) -> Request<Body> {
    with(chat(script, more), "x-codex-edge-profile", "agent")
}

#[tokio::test]
async fn agent_ends_before_the_model_request_that_its_budget_does_not_cover() {
    // Codex runs the second call itself, and is ready for the next model request at once.
    let calls = [
        json!({"call": "exec_command", "arguments": {"cmd": "true"}}),
        json!({"call": "update_plan", "arguments": {"plan": [{"step": "a", "status": "pending"}]}}),
    ];
    const CASES: [(&str, u64, usize); 6] = [
        ("day.input", 600, 1),
        ("day", 930, 1),
        ("day.output", 79, 2),
        ("day.input", 1500, 2),
        ("day", 2500, 3),
        ("day.output", 1000, 3),
    ];
    let (model, sidecar) = start().await;
    let all = calls.iter().flat_map(|call| CASES.map(|case| (call, case)));
    for (call, (limit, tokens, requests)) in all {
        let script = json!([[call, used(900)], [call, used(900)], [{"text": "done"}, used(900)]]);
        let key = format!("{limit}-{tokens}-{}", call["call"]);
        let of_key = |request| {
            let request = with(request, "x-codex-edge-client", &key);
            with(request, "x-codex-edge-budget", &format!("{limit}={tokens}"))
        };
        let before = model.requests().len();
        let response = send(&sidecar, of_key(agent(&script, &json!({})))).await;
        let document = response.json();
        let choice = &document["choices"][0];
        assert_eq!(
            model.requests().len() - before,
            requests,
            "{key} {response:?}"
        );
        // The last request may have crossed the limit, but its answer is complete.
        let (reason, content) = match requests {
            3 => ("stop", json!("done")),
            _ => ("length", choice["message"]["content"].clone()),
        };
        assert_eq!(choice["finish_reason"], reason, "{key} {response:?}");
        assert_eq!(choice["message"]["content"], content, "{key} {response:?}");
        if reason == "length" {
            assert_eq!(choice["budget"]["limit"], limit, "{key} {response:?}");
        }
        let count = requests as u64;
        assert_eq!(document["usage"]["prompt_tokens"], 900 * count, "{key}");
        assert_eq!(document["usage"]["completion_tokens"], 40 * count, "{key}");
        let usage = send(&sidecar, of_key(get("/v1/usage"))).await;
        let spent = usage.json()["budget"][0]["spent"].take();
        let expected = match limit {
            "day.input" => 900 * count,
            "day.output" => 40 * count,
            _ => 940 * count,
        };
        assert!(spent.as_u64() >= Some(expected), "{key}: {spent}");
        assert!(spent.as_u64() <= Some(expected + 256), "{key}: {spent}");
    }
}

#[tokio::test]
async fn agent_whose_client_leaves_has_spent_what_codex_has_reported() {
    const BUDGET: &str = "day.input=100000";
    let run = |command: &str| json!({"call": "exec_command", "arguments": {"cmd": command}});
    let script = json!([
        [run("true"), used(9000)],
        [{"text": "Working."}, run("sleep 60"), used(9000)],
    ]);
    let (_model, sidecar) = start().await;
    let mut client = sidecar.connect().await;
    let request = of_ann(agent(&script, &json!({"stream": true})), BUDGET);
    let stream = client.stream(request).await.expect("a response arrives");
    let mut events = Events::new(stream);
    while let Some(event) = events.next().await.expect("the stream goes on") {
        if event.contains("Working.") {
            break;
        }
    }
    drop((events, client));
    let settled = async {
        loop {
            let limit = limits(&sidecar, BUDGET).await[0].take();
            if limit["reserved"] == 0 {
                return limit["spent"].as_u64();
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let spent = timeout(SOON, settled).await.expect("the turn ends");
    assert!(spent >= Some(9000), "{spent:?}");
}
