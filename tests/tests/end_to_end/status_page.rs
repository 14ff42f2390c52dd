//! The sidecar's status page in a real browser: turns, tokens, errors, a missing login, and an unreachable sidecar.
//! The page is in `sidecar/src/admin/page`. The tests read texts from the browser and check that its console is empty.

use http::Request;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::browser::Tab;
use tests::codex::models::default_model;
use tests::http::{Body, post, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};
use tests::sse::Events;

/// A client id and a model name with markup, which a page without escaping would execute.
const CLIENT: &str = "<img src=x onerror=document.title='owned'>";
const MODEL: &str = "<script>document.title='owned'</script>";

/// Adds an admin port to `options`, and returns the URL of the page on that port.
fn with_page(options: SidecarOptions) -> (SidecarOptions, String) {
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a loopback port is free")
        .to_string();
    let url = format!("http://{address}/");
    (options.env("SIDECAR_ADMIN_LISTEN", &address), url)
}

fn chat(client: &str, script: &Value, stream: bool) -> Request<Body> {
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": MODEL, "stream": stream, "messages": [message]});
    let request = post("/v1/chat/completions", body.to_string());
    with(request, "x-codex-edge-client", client)
}

async fn ask(sidecar: &Sidecar, client: &str, script: Value) -> u16 {
    let mut connection = sidecar.connect().await;
    let response = connection.send(chat(client, &script, false)).await;
    response.expect("a response arrives").status.as_u16()
}

/// The texts of all elements that match `selector`.
async fn texts(tab: &mut Tab, selector: &str) -> Value {
    let found = format!("[...document.querySelectorAll(\"{selector}\")]");
    tab.evaluate(&format!("{found}.map((one) => one.textContent)"))
        .await
}

/// The sums of the columns of the usage table.
async fn column_sums(tab: &mut Tab) -> Value {
    let rows = "[...document.querySelectorAll('#buckets tbody tr')]";
    let number = "Number(row.cells[column].textContent.replaceAll(',', ''))";
    let sum = format!("{rows}.reduce((sum, row) => sum + {number}, 0)");
    tab.evaluate(&format!("[1, 2, 3, 4, 5].map((column) => {sum})"))
        .await
}

#[tokio::test]
async fn page_shows_running_and_finished_turns() {
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    let own = json!({MODEL: {"model": default_model()}}).to_string();
    let (options, url) = with_page(SidecarOptions::new(&model).env("PROXY_MODELS", &own));
    let sidecar = options.start().await;
    let mut tab = Tab::open(&url).await;
    tab.wait_until("document.querySelector('#state').textContent === '● Ready'")
        .await;
    tab.wait_until(
        "document.querySelector('#requests-note').textContent.startsWith('No requests yet')",
    )
    .await;

    let plan = json!({"primary": {"used_percent": 85, "window_minutes": 300, "resets_at": 4_000_000_000_u64}});
    let completed = json!([
        {"head": {"rate_limits": plan}},
        {"text": "Hello."},
        {"usage": {"input_tokens": 1234, "cached_tokens": 1000, "output_tokens": 56, "reasoning_tokens": 7}},
    ]);
    let failing =
        json!({"status": 400, "error": {"type": "invalid_request_error", "message": "no"}});
    assert_eq!(ask(&sidecar, CLIENT, completed).await, 200);
    assert_eq!(ask(&sidecar, "bob", failing).await, 400);
    let held = json!([{"text": "x", "open": true}, {"hold": "the end"}, {"text": "y"}]);
    let mut connection = sidecar.connect().await;
    let budget = "5h.output=5000,month=100000";
    let request = with(chat("carol", &held, true), "x-codex-edge-budget", budget);
    let stream = connection.stream(request).await;
    let mut events = Events::new(stream.expect("a response arrives"));
    events.next_json().await;

    tab.wait_until("document.querySelector('#turns').textContent === '1'")
        .await;
    assert_eq!(
        texts(&mut tab, "#turns-limit, #queue").await,
        json!(["of 4", "Queue empty."])
    );
    let meter = "document.querySelector('#turns-meter').getAttribute('aria-valuenow')";
    assert_eq!(tab.evaluate(meter).await, "1");
    assert_eq!(
        texts(&mut tab, "#workers li").await,
        json!(["● Worker: ready"])
    );
    let pids: Vec<_> = sidecar.children().iter().map(i32::to_string).collect();
    assert_eq!(
        texts(&mut tab, "#children td:first-child").await,
        json!(pids)
    );
    let plan_text = texts(&mut tab, "#plan li").await[0].take();
    assert!(
        plan_text
            .as_str()
            .is_some_and(|text| text.starts_with("5 h window 85 % used, nearly exhausted")),
        "{plan_text}"
    );

    tab.wait_until("document.querySelectorAll('#budgets tbody tr').length === 2")
        .await;
    let budgets = texts(&mut tab, "#budgets tr th, #budgets td:nth-child(-n+4)").await;
    assert_eq!(
        budgets.as_array().map(|cells| cells[5..].to_vec()),
        // Reserved are a first slice of output, and the prompt for the month.
        Some(vec![
            json!("carol"),
            json!("5h.output"),
            json!("0 of 5,000"),
            json!("256"),
            json!("carol"),
            json!("month"),
            json!("0 of 100,000"),
            json!("273"),
        ])
    );

    tab.wait_until("document.querySelectorAll('#requests tbody tr').length === 2")
        .await;
    assert_eq!(
        texts(&mut tab, "#totals dd").await,
        json!(["234", "1,000", "56", "2", "1"])
    );
    assert_eq!(column_sums(&mut tab).await, json!([234, 1000, 56, 2, 1]));
    assert_drawn(&mut tab).await;
    let rows = texts(&mut tab, "#requests tbody tr").await;
    let (failed, ended) = (
        rows[0].as_str().unwrap_or_default(),
        rows[1].as_str().unwrap_or_default(),
    );
    for part in ["bob", MODEL, "✕ invalid_request_error", "status 400", "–"] {
        assert!(failed.contains(part), "{part} in {failed}");
    }
    let route = format!("{} · /v1/chat/completions", default_model());
    for part in [
        CLIENT,
        MODEL,
        route.as_str(),
        "✓ stop",
        "1,234 in, 56 out",
        "1,000 cached · 7 reasoning",
    ] {
        assert!(ended.contains(part), "{part} in {ended}");
    }
    assert_eq!(
        texts(&mut tab, "main :is(img, script)").await,
        json!([]),
        "markup in names is shown as text"
    );
    let about = texts(&mut tab, "#about").await[0].to_string();
    assert!(about.contains(" · provider without login · "), "{about}");
    assert_eq!(
        tab.evaluate("document.title").await,
        "1 active · codex-edge"
    );

    tab.evaluate("document.querySelector('[value=day]').click()")
        .await;
    tab.wait_until("document.querySelectorAll('#buckets tbody tr').length === 30")
        .await;
    assert_eq!(column_sums(&mut tab).await, json!([234, 1000, 56, 2, 1]));
    model.release("the end");
    events
        .rest()
        .await
        .expect("the stream ends without a transport error");
    tab.wait_until("document.querySelector('#turns').textContent === '0'")
        .await;
    tab.wait_until("document.querySelectorAll('#requests tbody tr').length === 3")
        .await;
    assert_eq!(tab.console_messages(), [""; 0]);
}

/// Asserts that the chart has a column for each of 24 hours, and bars for all kinds of tokens and requests.
async fn assert_drawn(tab: &mut Tab) {
    let visible = |name: &str| {
        format!(
            "[...document.querySelectorAll('#chart .{name}')].filter((bar) => bar.getBBox().height > 0).length"
        )
    };
    assert_eq!(tab.evaluate(&visible("column")).await, 24);
    for name in ["prompt", "cached", "completion", "asked", "failed"] {
        let bars = tab.evaluate(&visible(name)).await;
        // Two bars when the turns fell on both sides of a full hour.
        assert!(bars == 1 || bars == 2, "{bars} bars of {name}");
    }
}

#[tokio::test]
async fn page_shows_the_remedy_and_survives_a_sidecar_restart() {
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    let (options, url) = with_page(SidecarOptions::new(&model).env("CODEX_FORCE_PROVIDER", ""));
    let mut sidecar = options.spawn();
    let not_ready = |response: &tests::http::BufferedResponse| {
        response.json()["error"]["code"] == "codex_login_required"
    };
    sidecar.wait_for_readiness(not_ready).await;
    let mut tab = Tab::open(&url).await;
    tab.wait_until("document.querySelector('#state').textContent === '! Login required'")
        .await;
    let notice = tab
        .evaluate("document.querySelector('#notice').innerText")
        .await;
    assert!(
        notice
            .as_str()
            .is_some_and(|notice| notice.contains("Run “codex login”")),
        "{notice}"
    );

    let login = sidecar.dir().join("codex-home/auth.json");
    std::fs::write(login, r#"{"OPENAI_API_KEY":"sk-test"}"#).expect("the test folder is writable");
    tab.wait_until("document.querySelector('#state').textContent === '● Ready'")
        .await;
    assert_eq!(
        tab.evaluate("document.querySelector('#notice').hidden")
            .await,
        true
    );
    assert_eq!(tab.console_messages(), [""; 0]);

    sidecar.signal(Signal::SIGTERM);
    sidecar.wait().await;
    tab.wait_until(
        "document.querySelector('#state').textContent.startsWith('✕ Not reachable since')",
    )
    .await;
    let notice = tab
        .evaluate("document.querySelector('#notice').innerText")
        .await;
    assert!(
        notice
            .as_str()
            .is_some_and(|notice| notice.contains("The data shown is from")),
        "{notice}"
    );
    assert_eq!(
        texts(&mut tab, "#turns, #turns-limit").await,
        json!(["0", "of 4"]),
        "the page keeps the last known values"
    );

    sidecar.restart();
    tab.wait_until("document.querySelector('#state').textContent === '● Ready'")
        .await;
    assert_eq!(
        tab.evaluate("document.body.classList.contains('stale')")
            .await,
        false
    );
}
