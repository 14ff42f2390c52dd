//! The status and code that a client gets when the request is invalid, the model service fails, or the child fails.

use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tests::http::{empty, get, post, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{SidecarOptions, wait_until_gone};
use tests::sse;

use crate::stack::{ask, assert_error, assert_fails, chat, start, start_with, stream};

#[tokio::test]
async fn invalid_requests_get_a_status_and_code_before_the_model_is_asked() {
    let (model, sidecar) = start_with(|options| options.env("PROXY_MAX_BODY_BYTES", "1000")).await;
    let mut client = sidecar.connect().await;
    let chat = |body: &str| post("/v1/chat/completions", body.to_owned());
    let encoded = |request, encoding| with(request, "content-encoding", encoding);
    for (request, status, code) in [
        (chat("{"), 400, "invalid_json"),
        (chat(r#"{"messages":[]}"#), 400, "invalid_request_error"),
        (
            chat(r#"{"model":"gpt-4","messages":[{"role":"user","content":"x"}]}"#),
            404,
            "model_not_found",
        ),
        (encoded(chat("{}"), "br"), 415, "unsupported_media_type"),
        (encoded(chat("{}"), "gzip"), 400, "invalid_request_error"),
        (encoded(chat("{}"), "zstd"), 400, "invalid_request_error"),
        (
            chat(&format!(r#"{{"messages":"{}"}}"#, "x".repeat(1000))),
            413,
            "request_too_large",
        ),
        (
            empty(Method::GET, "/v1/chat/completions"),
            405,
            "method_not_allowed",
        ),
        (
            empty(Method::DELETE, "/v1/models"),
            405,
            "method_not_allowed",
        ),
        (get("/v1/nothing"), 404, "unknown_url"),
        (get("/v1/models/gpt-4"), 404, "model_not_found"),
    ] {
        let case = format!("{} {}", request.method(), request.uri());
        let response = client
            .send(request)
            .await
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_error(&response, status, code);
        if status == 405 {
            assert!(response.header("allow").contains("OPTIONS"), "{response:?}");
        }
        if status == 413 {
            // The sidecar does not read the rest of the body, so this connection cannot carry another request.
            client = sidecar.connect().await;
        }
    }
    assert_eq!(model.requests().len(), 0);
}

#[tokio::test]
async fn provider_failures_give_the_same_error_buffered_and_streamed() {
    let (_model, sidecar) = start().await;
    for (script, status, code) in [
        (
            json!({"status": 400, "error": {"message": "Bad."}}),
            400,
            "invalid_request_error",
        ),
        (json!({"status": 401}), 503, "codex_login_required"),
        (json!({"status": 429}), 429, "rate_limited"),
        (
            json!({"status": 429, "error": {"type": "usage_limit_reached"}}),
            429,
            "insufficient_quota",
        ),
        (json!({"status": 500}), 502, "codex_failed"),
        (
            json!({"failed": "context_length_exceeded"}),
            400,
            "context_length_exceeded",
        ),
        (
            json!({"failed": "server_is_overloaded"}),
            503,
            "codex_unavailable",
        ),
        (
            json!([{"text": "par"}, {"cut": "abort"}]),
            502,
            "codex_failed",
        ),
        (
            json!([{"text": "par"}, {"cut": "clean"}]),
            502,
            "codex_failed",
        ),
    ] {
        assert_fails(&sidecar, script, status, code).await;
    }
}

#[tokio::test]
async fn incomplete_responses_keep_their_text_and_name_the_finish_reason() {
    let (_model, sidecar) = start().await;
    for (reason, finish) in [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
    ] {
        let script = json!([{"text": "par"}, {"incomplete": reason}]);
        let response = ask(&sidecar, script, json!({})).await.json();
        assert_eq!(response["choices"][0]["finish_reason"], finish);
        assert_eq!(response["choices"][0]["message"]["content"], "par");
    }
}

#[tokio::test]
async fn idle_timeout_interrupts_the_turn_in_the_child() {
    let (model, sidecar) = start_with(|options| {
        options
            .env("PROXY_PROTO_IDLE_MS", "300")
            .env("PROXY_STREAM_IDLE_TIMEOUT_MS", "300")
    })
    .await;
    let silent = json!([{"head": {}}, {"hold": "for ever"}]);
    assert_error(
        &ask(&sidecar, silent.clone(), json!({})).await,
        504,
        "idle_timeout",
    );
    assert_error(
        &ask(&sidecar, silent, json!({"stream": true})).await,
        504,
        "idle_timeout",
    );
    let later = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let events = stream(&sidecar, later).await.rest().await.unwrap();
    assert_eq!(
        sse::json(events.last().unwrap())["error"]["code"],
        "idle_timeout"
    );
    let cut = model.wait_for_disconnects(3, crate::stack::SOON).await;
    assert_eq!(cut.expect("Codex drops all model requests").len(), 3);
}

#[tokio::test]
async fn request_timeout_ends_a_turn_that_still_produces_text() {
    let (_model, sidecar) = start_with(|options| options.env("PROXY_TIMEOUT_MS", "500")).await;
    let endless = json!({"chars": 10_000, "delta_chars": 1, "delay_ms": 20});
    assert_error(
        &ask(&sidecar, endless, json!({})).await,
        504,
        "request_timeout",
    );
}

#[tokio::test]
async fn child_exit_fails_its_turns_and_starts_a_replacement() {
    let (_model, mut sidecar) = start().await;
    let mut events = stream(
        &sidecar,
        json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]),
    )
    .await;
    events.next_json().await;
    events.next_json().await;
    let children = sidecar.children();
    assert_eq!(children.len(), 1, "one worker runs");
    kill(Pid::from_raw(children[0]), Signal::SIGKILL).unwrap();
    let rest = events
        .rest()
        .await
        .expect("the stream ends without a transport error");
    assert_eq!(
        sse::json(rest.last().unwrap())["error"]["code"],
        "codex_failed",
        "{rest:?}"
    );
    wait_until_gone(&children).await;
    sidecar.wait_until_ready().await;
    assert_eq!(
        ask(&sidecar, json!({"text": "Again."}), json!({}))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn readiness_without_login_is_503_and_names_codex_login() {
    let model = ScriptedModel::start().await.unwrap();
    let mut sidecar = SidecarOptions::new(&model)
        .env("CODEX_FORCE_PROVIDER", "")
        .spawn();
    let not_ready = |response: &tests::http::BufferedResponse| {
        response.json()["error"]["code"] == "codex_login_required"
    };
    let response = sidecar.wait_for_readiness(not_ready).await;
    assert_eq!(response.status, 503);
    assert!(
        response.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("codex login")
    );
    let rejected = sidecar
        .connect()
        .await
        .send(chat(&json!({"text": "x"}), &json!({})))
        .await
        .unwrap();
    assert_error(&rejected, 503, "codex_login_required");
    std::fs::write(
        sidecar.dir().join("codex-home/auth.json"),
        r#"{"OPENAI_API_KEY":"sk-test"}"#,
    )
    .unwrap();
    sidecar.wait_until_ready().await;
}

#[tokio::test]
async fn start_with_an_unusable_codex_binary_exits_64_and_names_the_binary() {
    let model = ScriptedModel::start().await.unwrap();
    for (binary, named) in [
        ("/nonexistent/codex", "/nonexistent/codex"),
        ("/bin/true", "0.169"),
    ] {
        let mut sidecar = SidecarOptions::new(&model).env("CODEX_BIN", binary).spawn();
        assert_eq!(sidecar.wait().await, Some(64), "{}", sidecar.log());
        let log = sidecar.log();
        let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert!(last["error"].as_str().unwrap().contains(named), "{last}");
    }
}

#[tokio::test]
async fn exhausted_plan_gives_retry_after_until_its_reset() {
    let (_model, sidecar) = start().await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let resets_at = now.as_secs() + 5000;
    let primary = json!({"used_percent": 100, "window_minutes": 300, "resets_at": resets_at});
    let head = json!({"rate_limits": {"primary": primary}});
    let script = json!([{"head": head}, {"text": "The last answer."}]);
    let last = ask(&sidecar, script, json!({})).await;
    assert_eq!(last.status, 200);
    let plan = last.header("x-codex-edge-plan");
    assert!(
        plan.starts_with("primary;used=100;window=18000;reset=49"),
        "{plan}"
    );
    let used_up = json!({"status": 429, "error": {"type": "usage_limit_reached"}});
    let response = ask(&sidecar, used_up, json!({})).await;
    assert_error(&response, 429, "insufficient_quota");
    assert_eq!(response.header("x-should-retry"), "false");
    let retry_after: u64 = response.header("retry-after").parse().unwrap();
    assert!((4900..=5000).contains(&retry_after), "{retry_after}");
    assert!(response.header("x-codex-edge-plan").contains("used=100"));
}

/// Codex reads the login once and reports a credential until it exits, even after the provider has rejected that login.
#[tokio::test]
async fn rejected_login_gives_503_and_a_new_login_is_used_at_once() {
    let (model, mut sidecar) = start().await;
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.wait().await, Some(0));
    let home = sidecar.dir().join("codex-home");
    let mut config = std::fs::read_to_string(home.join("config.toml")).unwrap();
    config.push_str("requires_openai_auth = true\n");
    std::fs::write(home.join("config.toml"), config).unwrap();
    let log_in = |key: &str| {
        let login = json!({"OPENAI_API_KEY": key}).to_string();
        std::fs::write(home.join("auth.json"), login).unwrap();
    };
    let was_sent = |key: &str| {
        let requests = model.requests();
        let bearer = &requests
            .last()
            .expect("the model received a request")
            .headers["authorization"];
        *bearer == format!("Bearer {key}")
    };
    log_in("sk-revoked");
    sidecar.restart();
    sidecar.wait_until_ready().await;
    let rejected = ask(&sidecar, json!({"status": 401}), json!({})).await;
    assert_error(&rejected, 503, "codex_login_required");
    assert!(was_sent("sk-revoked"));
    // The running Codex still reports a credential, so the sidecar is ready again.
    sidecar.wait_until_ready().await;
    let first = sidecar.children();
    log_in("sk-new");
    wait_until_gone(&first).await;
    sidecar.wait_until_ready().await;
    let response = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert!(was_sent("sk-new"));
}
