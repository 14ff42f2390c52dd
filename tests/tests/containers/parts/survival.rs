//! The demo: its first answer, its limits, and the fate of requests and streams when containers end.

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::client::ApiClient;
use crate::engine::{SHOW, assert_confined};
use crate::stack::Stack;

/// The demo while it is well.
pub(crate) const HEALTHY: &[&str] = &[
    "envoy running healthy",
    "model running healthy",
    "sidecar-demo running healthy",
];

pub(crate) fn first_answer(stack: &Stack<'_>) {
    stack.compose(&["down"]);
    let started = Instant::now();
    stack.compose(&["up", "--detach"]);
    stack.client().wait_for_chat();
    eprintln!(
        "first answer after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    ask_every_route(&stack.client());
    stack.wait_for_states(HEALTHY);
    stack.wait_for_log(
        "envoy",
        &format!("base URL  http://127.0.0.1:{}/v1", stack.port),
    );
    // One line a request, and nothing else of a start.
    let log = stack.compose(&["logs", "--no-log-prefix", "envoy"]);
    let starts = log.lines().filter(|line| line.contains("[info]")).count();
    assert_eq!(starts, 0, "{log}");
}

fn ask_every_route(client: &ApiClient) {
    let nobody = client.with_key("");
    for (path, status) in [
        ("/healthz", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/metrics", 404),
    ] {
        let answer = if path == "/metrics" {
            client.get(path)
        } else {
            nobody.get(path)
        };
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    assert_eq!(
        nobody.chat("Hi.").json()["error"]["code"],
        "invalid_api_key"
    );
    assert!(client.chat("Hi.").body.contains("scripted model"));
    assert!(client.get("/v1/models").body.contains("codex-5"));
    let first = client
        .post(
            "/v1/responses",
            &json!({"model": "codex-5", "input": "Hi."}),
        )
        .json();
    assert_eq!(first["status"], "completed", "{first}");
    let id = first["id"].as_str().expect("a response has an id");
    let next = json!({"model": "codex-5", "input": "Go on.", "previous_response_id": id});
    assert_eq!(client.post("/v1/responses", &next).status, 200);
    assert_eq!(client.get(&format!("/v1/responses/{id}")).status, 200);
    let completion = client.post(
        "/v1/completions",
        &json!({"model": "codex-5", "prompt": "Hi."}),
    );
    assert_eq!(completion.status, 200, "{completion:?}");
    assert_eq!(client.get("/v1/usage").status, 200);
    client.stream(1).assert_whole("the first stream");
}

pub(crate) fn limits_are_in_force(stack: &Stack<'_>) {
    for service in ["envoy", "sidecar-demo", "model"] {
        assert_confined(service, &stack.exec(service, SHOW));
        let id = stack.compose(&["ps", "--quiet", service]);
        let format =
            "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.LogConfig.Config}}";
        let limits = stack
            .engine
            .docker(&["inspect", "--format", format, id.trim()]);
        assert!(
            !limits.starts_with("0 "),
            "{service} may take all memory: {limits}"
        );
        assert!(
            limits.contains(" 512 map[max-file:5 max-size:20m]"),
            "{service}: {limits}"
        );
    }
    // The engine may start a container with 1024.
    let envoy = stack.exec("envoy", "for p in /proc/[0-9]*; do read n <$p/comm; [ $n != envoy ] || grep 'open files' $p/limits; done");
    let numbers: Vec<u32> = envoy
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(
        numbers.len() == 2 && numbers[0] == numbers[1].min(65536),
        "{envoy}"
    );
}

/// Each main process is killed, as by the kernel without memory; the engine starts the container again.
pub(crate) fn killed_containers_return(stack: &Stack<'_>) {
    for service in ["envoy", "sidecar-demo", "model"] {
        // All processes of the container but the first; the shell's own end is an error of `exec`.
        let _ = stack.try_compose(&["exec", "-T", service, "bash", "-c", "kill -9 -1"]);
        let restarted = || {
            let id = stack.compose(&["ps", "--quiet", "--all", service]);
            stack
                .engine
                .docker(&["inspect", "--format", "{{.RestartCount}}", id.trim()])
        };
        stack.client().wait_for(
            || stack.client().get("/healthz"),
            |_| restarted().trim() != "0",
        );
        let time = stack.client().wait_for_chat();
        eprintln!(
            "{service} killed: answers after {:.1} s",
            time.as_secs_f64()
        );
    }
    stack.wait_for_states(HEALTHY);
}

pub(crate) fn restarted_and_recreated_containers_return(stack: &Stack<'_>) {
    for service in ["envoy", "sidecar-demo", "model"] {
        for command in [
            &["restart", service][..],
            &["up", "--detach", "--force-recreate", "--no-deps", service],
        ] {
            stack.compose(command);
            let time = stack.client().wait_for_chat();
            eprintln!("{command:?}: answers after {:.1} s", time.as_secs_f64());
        }
        stack.compose(&["stop", service]);
        stack.compose(&["up", "--detach"]);
        stack.client().wait_for_chat();
    }
    stack.wait_for_states(HEALTHY);
}

/// Every way to stop the stack leaves a stream whole that ends within the grace.
pub(crate) fn no_stop_cuts_a_stream(stack: &Stack<'_>) {
    for command in [
        &["stop"][..],
        &["stop", "envoy"],
        &["restart"],
        &["restart", "envoy"],
        &["restart", "sidecar-demo"],
        &["restart", "model"],
        &["up", "--detach", "--force-recreate"],
        &["up", "--detach", "--force-recreate", "envoy"],
        &["down"],
    ] {
        stack.compose(&["up", "--detach"]);
        stack.client().wait_for_chat();
        let stream = stack.client().stream(5);
        stack.compose(command);
        stream.assert_whole(&format!("{command:?}"));
    }
    assert_eq!(
        stack.states(),
        Vec::<String>::new(),
        "`down` without a flag ends the profile of .env"
    );

    let mut up = stack.spawn_compose(&["up"], "up.log");
    stack.client().wait_for_chat();
    let stream = stack.client().stream(5);
    let pid = i32::try_from(up.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("Compose runs");
    up.wait().expect("Compose is a child");
    stream.assert_whole("Ctrl-C");
    stack.compose(&["up", "--detach"]);
    stack.client().wait_for_chat();
}
