//! The parts of the run, one after another in one engine: a part that fails does not keep the next ones from running.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::engine::{Bases, Engine};
use crate::parts::{
    agents, configuration, development, images, neighbours, operators, pod, shared_limit, survival,
    tracing,
};
use crate::stack::Stack;

/// A variable for work on one part: only the parts with its value in their names run.
const ONLY: &str = "CODEX_EDGE_CONTAINER_PART";

#[test]
fn images_build_and_the_stack_answers_survives_and_stops() {
    let started = Instant::now();
    let engine = Engine::start();
    let bases = engine.is_own().then(|| Bases::make(&engine));
    report("base images", started);
    let stack = Stack::new(&engine, bases.as_ref());
    stack.compose(&["--profile", "*", "build", "--quiet"]);
    report("build", started);
    let mut failed = Vec::new();
    let only = std::env::var(ONLY).unwrap_or_default();
    let mut run = |name: &'static str, part: &dyn Fn()| {
        if !name.contains(&only) {
            eprintln!("{name}: left out by {ONLY}");
            return;
        }
        let began = Instant::now();
        // Each part begins with the demo as it ships, whatever an earlier one has left.
        let from_the_start = || {
            stack.reset();
            part();
        };
        if catch_unwind(AssertUnwindSafe(from_the_start)).is_err() {
            for service in ["envoy", "sidecar-demo", "sidecar", "ratelimit"] {
                let log = stack.try_compose(&["logs", "--tail", "30", service]);
                eprintln!("{}", log.unwrap_or_default());
            }
            let down = ["--profile", "*", "down", "--timeout", "0"];
            eprintln!("{:?}", stack.try_compose(&down));
            failed.push(name);
        }
        report(name, began);
    };
    run("first answer", &|| survival::first_answer(&stack));
    run("limits in force", &|| survival::limits_are_in_force(&stack));
    run("kills", &|| survival::killed_containers_return(&stack));
    run("restarts", &|| {
        survival::restarted_and_recreated_containers_return(&stack)
    });
    run("streams", &|| survival::no_stop_cuts_a_stream(&stack));
    run("keys", &|| configuration::keys_are_read_again(&stack));
    run("TLS", &|| {
        configuration::certificates_are_read_again(&stack)
    });
    run("agents", &|| {
        agents::agents_need_the_seccomp_profile(&stack)
    });
    run("operators", &|| {
        operators::status_page_and_metrics_survive_envoy(&stack)
    });
    run("shared limit", &|| {
        shared_limit::limit_is_counted_in_redis(&stack)
    });
    run("tracing", &|| {
        tracing::spans_of_a_chat_reach_the_collector(&stack)
    });
    run("pod", &|| pod::containers_of_the_pod_run(&stack));
    run("release", &|| images::layouts_of_a_release_run(&stack));
    run("neighbours", &|| {
        neighbours::killed_neighbour_costs_nothing(&stack)
    });
    run("login", &|| {
        configuration::running_sidecar_takes_a_login(&stack)
    });
    run("development", &|| {
        development::saved_file_makes_a_new_container(&stack)
    });
    report("all parts", started);
    assert!(failed.is_empty(), "failed parts: {failed:?}");
    assert!(only.is_empty(), "parts were left out by {ONLY}");
}

fn report(part: &str, since: Instant) {
    eprintln!("{part}: {:.1} s", since.elapsed().as_secs_f64());
}
