//! A page of another origin in a real browser: the responses and errors that the page may read, with and without a list
//! of allowed origins. Fetch standard, section 3.3, in Chromium; the page is `tests/clients/browser/page.html`.

use std::fs;

use serde_json::{Value, json};
use tests::browser::Page;
use xtask::workspace;

use crate::stack::{Chain, KEY};

/// Starts the chain with a rate limit of one request a day, and with `cors` if given.
async fn start(cors: Option<Value>) -> Chain {
    let limit = json!({"requests": 1, "window_ms": 86_400_000});
    Chain::start_with(|options| {
        let options = options.filter("rate_limit", limit);
        match cors {
            Some(cors) => options.filter("cors", cors),
            None => options,
        }
    })
    .await
}

/// Opens the page. The model completes its answer to the page's chat after the release of `round`.
async fn open(chain: &Chain, host: &str, round: &str) -> Page {
    let file = workspace::root().join("tests/clients/browser/page.html");
    let html = fs::read(file).expect("the page is readable");
    let script = json!([{"text": "Just ", "open": true}, {"hold": round}, {"text": "spoken"}]);
    let prompt = format!("[[model:{script}]]");
    let base = chain.base_url();
    let query = [("base", base.as_str()), ("key", KEY), ("prompt", &prompt)];
    Page::open(html, host, &query).await
}

/// The paths for which the browser sends a preflight request.
const PREFLIGHTED: [&str; 3] = ["/v1/chat/completions", "/v1/usage", "/v1/responses/resp_1"];

/// Asserts that the page reads all responses and errors, and a stream chunk by chunk.
async fn assert_readable(chain: &Chain, mut page: Page, round: &str) {
    let first = page.report().await;
    assert_eq!(first["status"], 200, "{first}");
    assert_eq!(
        first["headers"]["content-type"],
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(first["headers"]["x-ratelimit-remaining-requests"], "0");
    let body = first["body"].as_str().expect("the page has read a body");
    assert!(
        body.contains(r#""role":"assistant""#) && !body.contains("spoken"),
        "{body}"
    );
    chain.model.release(round);
    let rest = page.report().await;
    let body = rest["body"].as_str().expect("the page has read a body");
    assert!(
        body.contains(r#""content":"spoken""#) && body.ends_with("data: [DONE]\n\n"),
        "{rest}"
    );

    let limited = page.report().await;
    assert_error(&limited, "too often", 429, "rate_limited");
    let number = |name: &str| -> Option<u64> { limited["headers"][name].as_str()?.parse().ok() };
    let seconds = number("retry-after").expect("the page reads retry-after");
    let millis = number("retry-after-ms").expect("the page reads retry-after-ms");
    assert!((86_000..=86_400).contains(&seconds) && millis.div_ceil(1000) == seconds);
    assert_error(&page.report().await, "wrong key", 401, "invalid_api_key");
    let other = page.report().await;
    assert_eq!(
        (&other["step"], &other["error"]),
        (&json!("other verb"), &Value::Null)
    );
    assert!(
        other["body"]
            .as_str()
            .is_some_and(|body| body.contains(r#""error""#)),
        "{other}"
    );
    let models = page.report().await;
    assert_eq!(
        (&models["step"], &models["status"]),
        (&json!("no preflight"), &json!(200))
    );
    for report in [&first, &limited, &other, &models] {
        let id = &report["headers"]["x-request-id"];
        assert!(id.as_str().is_some_and(|id| !id.is_empty()), "{report}");
    }
    for path in PREFLIGHTED {
        let is_preflight = |entry: &Value| entry["method"] == "OPTIONS" && entry["path"] == path;
        assert_eq!(
            chain.envoy.access_log_entry(is_preflight).await["status"],
            204
        );
    }
}

#[track_caller]
fn assert_error(report: &Value, step: &str, status: u16, code: &str) {
    assert_eq!(
        (&report["step"], &report["status"]),
        (&json!(step), &json!(status)),
        "{report}"
    );
    let text = report["body"].as_str().expect("the page has read a body");
    let body: Value = serde_json::from_str(text).expect("an error body is JSON");
    assert_eq!(body["error"]["code"], code);
}

#[tokio::test]
async fn page_of_any_origin_reads_streams_and_errors() {
    let chain = start(None).await;
    let page = open(&chain, "127.0.0.1", "any").await;
    assert_readable(&chain, page, "any").await;
}

#[tokio::test]
async fn allowed_origins_admit_listed_pages_and_block_others() {
    let origins = json!(["https://app.example", "http://localhost:*"]);
    let chain = start(Some(json!({"allowed_origins": origins}))).await;
    let mut foreign = open(&chain, "127.0.0.1", "foreign").await;
    for step in [
        "stream",
        "too often",
        "wrong key",
        "other verb",
        "no preflight",
    ] {
        let report = foreign.report().await;
        let blocked = json!({"step": step, "error": "TypeError: Failed to fetch"});
        assert_eq!(report, blocked, "the page learns no status and no header");
    }
    let is_chat = |entry: &&Value| entry["path"] == "/v1/chat/completions";
    let log = chain.envoy.access_log();
    let methods: Vec<_> = log
        .iter()
        .filter(is_chat)
        .map(|entry| &entry["method"])
        .collect();
    assert_eq!(
        methods,
        ["OPTIONS", "OPTIONS"],
        "the browser sends preflights and no chat"
    );
    let page = open(&chain, "localhost", "listed").await;
    assert_readable(&chain, page, "listed").await;
}
