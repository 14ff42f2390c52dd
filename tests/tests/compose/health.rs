//! The health checks of the containers, run against real services: a check succeeds while the service is healthy, and
//! fails otherwise. Follows `healthcheck` of the Compose specification, with this test's addresses and sockets.

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::envoy::{self, Envoy};
use tests::http::DEADLINE;
use tests::scripted_model::ScriptedModel;
use tests::sidecar;
use tokio::process::Command;

use crate::project::{KEY, MAIN, project, services};

#[tokio::test]
async fn envoy_and_sidecar_checks_fail_once_the_sidecar_is_killed() {
    let model = ScriptedModel::start().await.unwrap();
    let mut sidecar = sidecar::SidecarOptions::new(&model).start().await;
    let options = envoy::EnvoyOptions::new(sidecar.socket()).env("PROXY_API_KEY", "any");
    let envoy = Envoy::start(options).await;
    let port = envoy.address().port().to_string();
    let socket = sidecar.socket().display().to_string();
    let envoy_check = check("envoy", &[("11435", &port)]);
    let sidecar_check = check("sidecar", &[("/run/codex-edge/sidecar.sock", &socket)]);
    for (name, words) in [("envoy", &envoy_check), ("sidecar", &sidecar_check)] {
        assert!(is_healthy(words).await, "{name}: {words:?}");
    }
    sidecar.signal(Signal::SIGKILL);
    sidecar.wait().await;
    for (name, words) in [("envoy", &envoy_check), ("sidecar", &sidecar_check)] {
        assert!(!is_healthy(words).await, "{name}: {words:?}");
    }
}

#[tokio::test]
async fn model_check_fails_once_the_scripted_model_stops() {
    let model = ScriptedModel::start().await.unwrap();
    let url = model.base_url();
    let (_, port) = url.trim_end_matches("/v1").rsplit_once(':').unwrap();
    let words = check("model", &[("8080", port)]);
    assert!(is_healthy(&words).await, "{words:?}");
    model.stop().await;
    assert!(!is_healthy(&words).await, "{words:?}");
}

#[test]
fn check_timeout_is_below_its_interval() {
    let project = project(MAIN, &["*"], KEY);
    for (name, service) in services(&project) {
        let check = &service["healthcheck"];
        assert_eq!(
            (&check["interval"], &check["timeout"]),
            (&"10s".into(), &"3s".into()),
            "{name}"
        );
    }
}

/// Returns the command of a service's health check after `replacements`.
fn check(service: &str, replacements: &[(&str, &str)]) -> Vec<String> {
    let project = project(MAIN, &["*"], KEY);
    let test = project["services"][service]["healthcheck"]["test"].as_array();
    let mut words: Vec<_> = test
        .expect("a health check")
        .iter()
        .map(|word| word.as_str().expect("a string").to_owned())
        .collect();
    assert_eq!(words.remove(0), "CMD", "the check runs without a shell");
    for (literal, value) in replacements {
        assert!(
            words.iter().any(|word| word.contains(literal)),
            "{words:?} does not contain {literal}"
        );
        for word in &mut words {
            *word = word.replace(literal, value);
        }
    }
    words
}

async fn is_healthy(words: &[String]) -> bool {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    tokio::time::timeout(DEADLINE, command.kill_on_drop(true).output())
        .await
        .expect("the health check ends")
        .expect("the program of the health check is installed")
        .status
        .success()
}

/// The images of Prometheus and Grafana are not available to the tests, so the checks are compared with the URLs of
/// their documentation.
#[test]
fn prometheus_and_grafana_checks_use_their_documented_urls() {
    let project = project(MAIN, &["*"], KEY);
    for (service, url) in [
        ("prometheus", "http://127.0.0.1:9090/-/ready"),
        ("grafana", "http://127.0.0.1:3000/api/health"),
    ] {
        let test = &project["services"][service]["healthcheck"]["test"];
        assert_eq!(
            test.as_array().and_then(|words| words.last()),
            Some(&Value::from(url))
        );
    }
}
