//! The health checks of the containers, run as they stand against real services: well when these are, and not when not.
//! Follows `healthcheck` of the compose specification; addresses and sockets are this test's own.

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
    let mut sidecar = sidecar::Options::new(&model).start().await;
    let envoy = envoy::Options::new(sidecar.socket()).env("PROXY_API_KEY", "any");
    let envoy = Envoy::start(envoy).await;
    let port = envoy.address().port().to_string();
    let socket = sidecar.socket().display().to_string();
    let of_envoy = check("envoy", &[("11435", &port)]);
    let of_sidecar = check("sidecar", &[("/run/codex-edge/sidecar.sock", &socket)]);
    for (name, words) in [("envoy", &of_envoy), ("sidecar", &of_sidecar)] {
        assert!(is_well(words).await, "{name}: {words:?}");
    }
    sidecar.signal(Signal::SIGKILL);
    sidecar.wait().await;
    for (name, words) in [("envoy", &of_envoy), ("sidecar", &of_sidecar)] {
        assert!(!is_well(words).await, "{name}: {words:?}");
    }
}

#[tokio::test]
async fn model_check_fails_once_the_scripted_model_stops() {
    let model = ScriptedModel::start().await.unwrap();
    let url = model.base_url();
    let (_, port) = url.trim_end_matches("/v1").rsplit_once(':').unwrap();
    let words = check("model", &[("8080", port)]);
    assert!(is_well(&words).await, "{words:?}");
    model.stop().await;
    assert!(!is_well(&words).await, "{words:?}");
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

/// The words of a service's check, with this test's values for what they name.
fn check(service: &str, replacements: &[(&str, &str)]) -> Vec<String> {
    let project = project(MAIN, &["*"], KEY);
    let test = project["services"][service]["healthcheck"]["test"].as_array();
    let words = test
        .expect("a check")
        .iter()
        .map(|word| word.as_str().expect("a word"));
    let mut words: Vec<_> = words.map(str::to_owned).collect();
    assert_eq!(words.remove(0), "CMD", "no shell is needed");
    for (literal, value) in replacements {
        assert!(
            words.iter().any(|word| word.contains(literal)),
            "{words:?} has no {literal}"
        );
        for word in &mut words {
            *word = word.replace(literal, value);
        }
    }
    words
}

async fn is_well(words: &[String]) -> bool {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = tokio::time::timeout(DEADLINE, command.kill_on_drop(true).output()).await;
    let output = output
        .expect("the check ends")
        .expect("its program is there");
    output.status.success()
}

/// What is asked of Prometheus and Grafana is their own word for it, since their images are not here to be asked.
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
