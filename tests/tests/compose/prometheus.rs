//! What Prometheus is told, held against the real one: it reads Envoy and the sidecar, every query of the dashboard
//! finds something, every alert names what exists, and fires when it should.

use std::collections::BTreeSet;
use std::process::Command;

use http::Request;
use serde_json::{Value, json};
use tests::envoy::{self, Envoy};
use tests::http::{Body, Version, bearer, get, post};
use tests::prometheus::{Prometheus, shipped};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{self, Sidecar};
use xtask::command::output;
use xtask::workspace;

use crate::dashboard::queries;

const KEY: &str = "sk-of-the-compose-tests";
/// A plan that resets when nobody of us looks any more, in seconds since the epoch.
const YEAR_2100: u64 = 4_102_444_800;

#[test]
fn promtool_accepts_the_configuration() {
    let config = shipped().join("prometheus.yml");
    output(promtool().args(["check", "config"]).arg(config)).unwrap();
}

#[test]
fn alert_rules_pass_their_tests_and_every_alert_fires() {
    let tests = workspace::root().join("tests/tests/compose/alerts.test.yml");
    output(promtool().args(["test", "rules"]).arg(&tests)).unwrap();
    let tests = std::fs::read_to_string(tests).unwrap();
    for alert in alerts() {
        let fires = format!("labels: '{{alertname=\"{alert}\"");
        assert!(tests.contains(&fires), "{alert} is not shown to fire");
    }
}

#[tokio::test]
async fn dashboard_queries_return_data_and_alerts_name_existing_series() {
    let stack = Stack::start().await;
    let prometheus = Prometheus::start(stack.envoy.metrics_address().await).await;
    for job in ["envoy", "sidecar"] {
        let up = format!("up{{job=\"{job}\"}} == 1");
        assert_eq!(prometheus.has(&up).await, Ok(true), "{job} is not scraped");
    }
    // What a counter is born with is no increase, so it takes a second time.
    stack.be_used().await;
    let counted = prometheus.has("sidecar_tokens_total").await;
    assert_eq!(counted, Ok(true), "nothing is counted");
    stack.be_used().await;
    for query in queries() {
        // Longer than this test takes, so that what happened stays in sight.
        let expression = query.expression.replace("$__rate_interval", "1h");
        let expression = expression.replace("$__range", "1h");
        let has = prometheus.has(&expression).await;
        assert_eq!(has, Ok(true), "{}: {expression}", query.panel);
    }
    let names: BTreeSet<_> = prometheus.names().await.into_iter().collect();
    let missing: Vec<_> = named_by_alerts()
        .into_iter()
        .filter(|name| !names.contains(name))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// The chain with its metrics.
struct Stack {
    envoy: Envoy,
    _sidecar: Sidecar,
    _model: ScriptedModel,
}

impl Stack {
    async fn start() -> Self {
        let model = ScriptedModel::start()
            .await
            .expect("a loopback port is free");
        let sidecar = sidecar::Options::new(&model).start().await;
        let envoy = envoy::Options::new(sidecar.socket()).sidecar_admin(sidecar.admin_socket());
        let envoy = Envoy::start(envoy.env("PROXY_API_KEY", KEY)).await;
        Self {
            envoy,
            _sidecar: sidecar,
            _model: model,
        }
    }

    /// Has something of everything happen, so that there is something to count: a turn of a plan, and a refusal.
    async fn be_used(&self) {
        let window = json!({"used_percent": 12, "window_minutes": 300, "resets_at": YEAR_2100});
        let limits = json!({"primary": window, "secondary": window});
        let script = json!([{"head": {"rate_limits": limits}}, {"text": "Counted."}]);
        let mut client = self.envoy.connect(Version::H1).await;
        let answer = client.send(bearer(chat(&script), KEY)).await;
        let answer = answer.expect("Envoy answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        let refused = client.send(bearer(get("/v1/usage"), "wrong")).await;
        assert_eq!(refused.expect("Envoy answers").status, 401);
    }
}

/// A streamed chat whose message tells the model to play `script`.
fn chat(script: &Value) -> Request<Body> {
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": "codex-5", "stream": true, "messages": [message]});
    post("/v1/chat/completions", body.to_string())
}

/// The names of the alerts.
fn alerts() -> Vec<String> {
    let rules = rules();
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<_> = alerts.map(str::to_owned).collect();
    assert!(alerts.len() > 5, "{alerts:?}");
    alerts
}

/// The names of series that stand in the file of the alerts.
fn named_by_alerts() -> BTreeSet<String> {
    let rules = rules();
    let words = rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let prefixes = ["sidecar_", "envoy_", "codex_edge_"];
    let names = words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)));
    let names: BTreeSet<_> = names.map(str::to_owned).collect();
    assert!(names.len() > 8, "{names:?}");
    names
}

fn rules() -> String {
    std::fs::read_to_string(shipped().join("alerts.yml")).expect("the file is in the tree")
}

fn promtool() -> Command {
    Command::new("promtool")
}
