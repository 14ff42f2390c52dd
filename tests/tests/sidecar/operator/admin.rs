//! The admin listener: metrics, status, usage, and the status page.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;
use tests::http::{BufferedResponse, Client, Version, empty, get, with};
use tests::sidecar::Sidecar;
use tokio::time::{sleep, timeout};

use crate::stack::{SOON, ask, assert_error, start, start_with, stream};

async fn ask_admin(sidecar: &Sidecar, path: &str) -> BufferedResponse {
    let mut client = sidecar.connect_admin().await;
    client.send(get(path)).await.expect("a response arrives")
}

/// Waits until this number of turns has a permit: a turn may hold its permit for a moment after its response.
async fn wait_for_turns(sidecar: &Sidecar, turns: u64) {
    let wait = async {
        while ask_admin(sidecar, "/status").await.json()["turns"] != turns {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, wait)
        .await
        .expect("the number of turns is reached");
}

/// The value of a sample such as `sidecar_turns_total{outcome="completed"}`.
fn sample(exposition: &str, name: &str) -> Option<f64> {
    let mut lines = exposition.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map(|value| value.parse().expect("a sample has a numeric value"))
}

#[tokio::test]
async fn metrics_cover_requests_turns_tokens_and_children() {
    let (_model, sidecar) = start_with(|options| options.env("PROXY_STREAM_HEAD_MS", "0")).await;
    let plan = json!({"primary": {"used_percent": 25, "window_minutes": 300, "resets_at": 4_000_000_000_u64}});
    let script = json!([
        {"head": {"rate_limits": plan}},
        {"text": "Hello."},
        {"usage": {"input_tokens": 100, "cached_tokens": 40, "output_tokens": 20, "reasoning_tokens": 5}},
    ]);
    assert_eq!(ask(&sidecar, script, json!({})).await.status, 200);
    let failing =
        json!({"status": 400, "error": {"type": "invalid_request_error", "message": "no"}});
    assert_eq!(ask(&sidecar, failing, json!({})).await.status, 400);
    let mut running = stream(&sidecar, json!([{"hold": "for ever"}, {"text": "x"}])).await;
    running.next_json().await;
    wait_for_turns(&sidecar, 1).await;

    let response = ask_admin(&sidecar, "/metrics").await;
    assert!(
        response
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let text = String::from_utf8(response.body.to_vec()).unwrap();
    assert!(
        text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1,
        "{text}"
    );
    let chat = r#"route="/v1/chat/completions""#;
    for (name, expected) in [
        (
            format!("sidecar_requests_total{{{chat},status=\"200\"}}"),
            1.0,
        ),
        (
            format!("sidecar_requests_total{{{chat},status=\"400\"}}"),
            1.0,
        ),
        (
            format!("sidecar_request_duration_seconds_count{{{chat}}}"),
            2.0,
        ),
        (
            format!("sidecar_time_to_first_token_seconds_count{{{chat}}}"),
            1.0,
        ),
        ("sidecar_turns_total{outcome=\"completed\"}".into(), 1.0),
        ("sidecar_turns_total{outcome=\"failed\"}".into(), 1.0),
        ("sidecar_turn_duration_seconds_count".into(), 2.0),
        ("sidecar_tokens_total{kind=\"prompt\"}".into(), 100.0),
        ("sidecar_tokens_total{kind=\"cached\"}".into(), 40.0),
        ("sidecar_tokens_total{kind=\"completion\"}".into(), 20.0),
        ("sidecar_tokens_total{kind=\"reasoning\"}".into(), 5.0),
        ("sidecar_turns_active".into(), 1.0),
        ("sidecar_turns_limit".into(), 4.0),
        ("sidecar_queue_length".into(), 0.0),
        ("sidecar_ready".into(), 1.0),
        ("sidecar_workers{state=\"ready\"}".into(), 1.0),
        ("sidecar_workers{state=\"starting\"}".into(), 0.0),
        ("sidecar_child_starts_total".into(), 1.0),
        ("sidecar_plan_used_ratio{window=\"primary\"}".into(), 0.25),
        (
            "sidecar_plan_reset_timestamp_seconds{window=\"primary\"}".into(),
            4e9,
        ),
        (
            "sidecar_build_info{version=\"0.1.0\",codex=\"0.171.0\",protocol=\"app-server\"}"
                .into(),
            1.0,
        ),
    ] {
        assert_eq!(sample(&text, &name), Some(expected), "{name} in\n{text}");
    }
    for name in [
        "sidecar_child_resident_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(
            sample(&text, name).is_some_and(|value| value > 0.0),
            "{name} in\n{text}"
        );
    }
}

#[tokio::test]
async fn status_and_usage_need_no_key() {
    let (_model, sidecar) = start().await;
    assert_eq!(
        ask(&sidecar, json!({"text": "x"}), json!({})).await.status,
        200
    );
    wait_for_turns(&sidecar, 0).await;
    let status = ask_admin(&sidecar, "/status").await.json();
    for (field, expected) in [
        ("turns", json!(0)),
        ("turns_limit", json!(4)),
        ("queued", json!(0)),
        ("workers", json!(["ready"])),
        (
            "codex",
            json!({"version": "0.171.0", "protocol": "app-server", "state": "ready", "login": "none_needed"}),
        ),
    ] {
        assert_eq!(status[field], expected, "{status}");
    }
    assert_eq!(
        status["children"][0]["pid"],
        sidecar.children()[0],
        "{status}"
    );
    assert_eq!(
        ask_admin(&sidecar, "/usage?group=hour").await.json()["requests"],
        1
    );
    assert_eq!(
        ask_admin(&sidecar, "/usage/raw?limit=5").await.json()["count"],
        1
    );
    for path in ["/", "/page.js", "/page.css"] {
        let response = ask_admin(&sidecar, path).await;
        assert_eq!(response.status, 200, "{path}");
        assert!(
            response
                .header("content-security-policy")
                .contains("default-src 'none'"),
            "{path}"
        );
        assert!(!response.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn admin_socket_is_owner_only_and_serves_admin_routes_only() {
    let (_model, sidecar) = start().await;
    let file = std::fs::metadata(sidecar.admin_socket()).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let mut admin = sidecar.connect_admin().await;
    for (request, status, code) in [
        (
            empty(http::Method::POST, "/metrics"),
            405,
            "method_not_allowed",
        ),
        (get("/v1/models"), 404, "unknown_url"),
    ] {
        assert_error(&admin.send(request).await.unwrap(), status, code);
    }
    let mut public = sidecar.connect().await;
    for path in ["/metrics", "/status", "/usage", "/"] {
        assert_error(&public.send(get(path)).await.unwrap(), 404, "unknown_url");
    }
}

#[tokio::test]
async fn admin_port_accepts_loopback_host_names_only() {
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap();
    let (_model, _sidecar) =
        start_with(|options| options.env("SIDECAR_ADMIN_LISTEN", &address.to_string())).await;
    let mut client = Client::connect(address, Version::H1).await;
    for (host, status) in [
        ("evil.example", 403),
        ("evil.example:9464", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
        ("localhost:9464", 200),
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("localhost", 200),
        ("[::1]", 200),
    ] {
        let response = client
            .send(with(get("/status"), "host", host))
            .await
            .unwrap();
        assert_eq!(response.status, status, "{host}");
    }
}
