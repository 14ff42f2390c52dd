//! `docker-compose.dev.yml`: a saved file becomes a new container.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::Stack;

/// Time for a build of one changed crate.
const REBUILD: Duration = Duration::from_secs(300);

pub(crate) fn saved_file_makes_a_new_container(stack: &Stack<'_>) {
    stack.choose("demo", &["docker-compose.dev.yml"]);
    let mut up = stack.spawn_compose(&["up", "--build", "--watch"], "watch.log");
    let log = || fs::read_to_string(stack.path("watch.log")).unwrap_or_default();
    wait_until(|| log().contains("Watch enabled"), &log);
    stack.client().wait_for_chat();
    let id = || stack.compose(&["ps", "--quiet", "sidecar-demo"]);
    let first = id();
    let source = stack.path("sidecar/src/main.rs");
    let text = fs::read_to_string(&source).expect("copied");
    fs::write(
        &source,
        text.replace("\"sidecar started\"", "\"sidecar of a test started\""),
    )
    .expect("the folder is writable");
    let has_new = || !id().is_empty() && id() != first;
    wait_until(has_new, &log);
    stack.client().wait_for_chat();
    stack.wait_for_log("sidecar-demo", "sidecar of a test started");
    let pid = i32::try_from(up.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("Compose runs");
    up.wait().expect("Compose is a child");
    stack.compose(&["down"]);
    stack.choose("demo", &[]);
}

fn wait_until(condition: impl Fn() -> bool, log: &dyn Fn() -> String) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < REBUILD, "{}", log());
        sleep(Duration::from_millis(500));
    }
}
