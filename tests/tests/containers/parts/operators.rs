//! The services for operators: the status page, and Prometheus with the metrics of both programs.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::{ApiClient, RECOVERY};
use crate::stack::Stack;

pub(crate) fn status_page_and_metrics_survive_envoy(stack: &Stack<'_>) {
    let config = stack.path("deploy/prometheus/prometheus.yml");
    let text = fs::read_to_string(&config).expect("copied");
    fs::write(&config, text.replace("interval: 15s", "interval: 1s"))
        .expect("the folder is writable");
    stack.choose("demo,observability", &[]);
    stack.compose(&["up", "--detach"]);
    let page = ApiClient::new(stack.status_port, "");
    page.wait_for(
        || page.get("/status"),
        |answer| answer.body.contains("\"codex\""),
    );
    let mut foreign = page.clone();
    foreign.options = vec!["--header".into(), "Host: page.example".into()];
    assert_eq!(
        foreign.get("/status").status,
        404,
        "a page with a name of its own"
    );
    wait_for_targets(stack);
    for service in ["envoy", "sidecar-demo", "admin"] {
        let _ = stack.try_compose(&["exec", "-T", service, "bash", "-c", "kill -9 -1"]);
        stack.client().wait_for_chat();
        wait_for_targets(stack);
    }
    page.wait_for(|| page.get("/status"), |answer| answer.status == 200);
    stack.wait_for_states(&[
        "admin running healthy",
        "envoy running healthy",
        "model running healthy",
        "prometheus running healthy",
        "sidecar-demo running healthy",
    ]);
    stack.compose(&["down"]);
    assert_eq!(
        stack.states(),
        Vec::<String>::new(),
        "`down` without a flag ends the profiles of .env"
    );
    stack.choose("demo", &[]);
}

/// Waits until Prometheus has scraped both targets after this call.
fn wait_for_targets(stack: &Stack<'_>) {
    // A scrape of before the fault must not count.
    sleep(Duration::from_secs(3));
    let started = Instant::now();
    let ask = [
        "exec",
        "-T",
        "prometheus",
        "wget",
        "-q",
        "-O",
        "-",
        "http://127.0.0.1:9090/api/v1/targets",
    ];
    loop {
        let targets = stack.try_compose(&ask).unwrap_or_else(|error| error);
        if targets.matches(r#""health":"up""#).count() == 2 {
            return;
        }
        assert!(started.elapsed() < RECOVERY, "{targets}");
        sleep(Duration::from_millis(500));
    }
}
