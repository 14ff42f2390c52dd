//! The Prometheus configuration with the real Prometheus: Envoy and the sidecar are scraped, every dashboard query
//! returns data, and every alert refers to existing series and fires under the right condition.

use std::collections::BTreeSet;
use std::process::Command;

use http::Request;
use serde_json::{Value, json};
use tests::envoy::{self, Envoy};
use tests::http::{Body, Version, bearer, get, post};
use tests::prometheus::{Prometheus, shipped_config_dir};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{self, Sidecar};
use xtask::command::output;
use xtask::workspace;

use crate::dashboard::queries;

const KEY: &str = "sk-of-the-compose-tests";
/// The reset of a plan's rate limit window, far in the future, in seconds since the epoch.
const YEAR_2100: u64 = 4_102_444_800;

#[test]
fn promtool_accepts_the_configuration() {
    let config = shipped_config_dir().join("prometheus.yml");
    output(promtool().args(["check", "config"]).arg(config)).unwrap();
}

#[test]
fn alert_rules_pass_their_tests_and_every_alert_fires() {
    let tests = workspace::root().join("tests/tests/compose/alerts.test.yml");
    output(promtool().args(["test", "rules"]).arg(&tests)).unwrap();
    let tests = std::fs::read_to_string(tests).unwrap();
    for alert in alerts() {
        let fires = format!("labels: '{{alertname=\"{alert}\"");
        assert!(
            tests.contains(&fires),
            "a test in which {alert} fires is missing"
        );
    }
}

#[tokio::test]
async fn dashboard_queries_return_data_and_alerts_name_existing_series() {
    let stack = MonitoredStack::start().await;
    let prometheus = Prometheus::start(stack.envoy.metrics_address().await).await;
    for job in ["envoy", "sidecar"] {
        let up = format!("up{{job=\"{job}\"}} == 1");
        assert_eq!(prometheus.has(&up).await, Ok(true), "{job} is not scraped");
    }
    // The first value of a counter is not an increase, so `rate` needs a second scrape with a higher value.
    stack.send_requests().await;
    let counted = prometheus.has("sidecar_tokens_total").await;
    assert_eq!(counted, Ok(true), "tokens are not counted");
    stack.send_requests().await;
    for query in queries() {
        // Longer than this test takes, so that the requests stay inside the interval.
        let expression = query
            .expression
            .replace("$__rate_interval", "1h")
            .replace("$__range", "1h");
        let has = prometheus.has(&expression).await;
        assert_eq!(has, Ok(true), "{}: {expression}", query.panel);
    }
    let names: BTreeSet<_> = prometheus.names().await.into_iter().collect();
    let missing: Vec<_> = series_in_alerts()
        .into_iter()
        .filter(|name| !names.contains(name))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// Envoy, the sidecar and the scripted model, with the metrics listener.
struct MonitoredStack {
    envoy: Envoy,
    _sidecar: Sidecar,
    _model: ScriptedModel,
}

impl MonitoredStack {
    async fn start() -> Self {
        let model = ScriptedModel::start()
            .await
            .expect("a loopback port is free");
        let sidecar = sidecar::SidecarOptions::new(&model).start().await;
        let options =
            envoy::EnvoyOptions::new(sidecar.socket()).sidecar_admin(sidecar.admin_socket());
        let envoy = Envoy::start(options.env("PROXY_API_KEY", KEY)).await;
        Self {
            envoy,
            _sidecar: sidecar,
            _model: model,
        }
    }

    /// Sends a turn that reports plan limits and a request with an invalid key, so that every metric has a value.
    async fn send_requests(&self) {
        let window = json!({"used_percent": 12, "window_minutes": 300, "resets_at": YEAR_2100});
        let limits = json!({"primary": window, "secondary": window});
        let script = json!([{"head": {"rate_limits": limits}}, {"text": "Counted."}]);
        let mut client = self.envoy.connect(Version::H1).await;
        let request = bearer(chat(&script), KEY);
        let response = client.send(request).await.expect("Envoy answers");
        assert_eq!(response.status, 200, "{response:?}");
        let rejected = client.send(bearer(get("/v1/usage"), "wrong")).await;
        assert_eq!(rejected.expect("Envoy answers").status, 401);
    }
}

/// Returns a streamed chat request with `script` for the scripted model in the message.
fn chat(script: &Value) -> Request<Body> {
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": "codex-5", "stream": true, "messages": [message]});
    post("/v1/chat/completions", body.to_string())
}

/// Returns the names of the alerts.
fn alerts() -> Vec<String> {
    let alerts: Vec<_> = rules()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .map(str::to_owned)
        .collect();
    assert!(alerts.len() > 5, "{alerts:?}");
    alerts
}

/// Returns the names of the series that the alert rules refer to.
fn series_in_alerts() -> BTreeSet<String> {
    let prefixes = ["sidecar_", "envoy_", "codex_edge_"];
    let names: BTreeSet<_> = rules()
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 8, "{names:?}");
    names
}

fn rules() -> String {
    std::fs::read_to_string(shipped_config_dir().join("alerts.yml"))
        .expect("the file is in the tree")
}

fn promtool() -> Command {
    Command::new("promtool")
}
