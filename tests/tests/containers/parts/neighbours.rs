//! The stack of `cargo xtask up` beside that of Compose: each is killed and started again, and the other loses nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tests::up::{UP_KEY, UpProcess, adjacent_ports, up_command};
use tokio::runtime::Runtime;

use crate::client::ApiClient;
use crate::stack::Stack;

/// Kills of each stack.
const ROUNDS: usize = 20;

pub(crate) fn killed_neighbour_costs_nothing(stack: &Stack<'_>) {
    let runtime = Runtime::new().expect("threads can be started");
    let (temp, port) = (TempDir::new().expect("/tmp is writable"), adjacent_ports());
    let mut up = runtime.block_on(start(port, temp.path()));
    let (host, containers) = (ApiClient::new(port, UP_KEY), stack.client());

    let requests = Requests::start(&host);
    for _ in 0..ROUNDS {
        stack.compose(&["kill", "envoy", "sidecar-demo"]);
        stack.compose(&["up", "--detach"]);
        containers.wait_for_chat();
    }
    requests.assert_all_answered("kills in the containers");

    let requests = Requests::start(&containers);
    for _ in 0..ROUNDS {
        let pid = up.pid();
        runtime.block_on(up.end_after(Signal::SIGKILL, pid));
        up = runtime.block_on(start(port, temp.path()));
        host.wait_for_chat();
    }
    requests.assert_all_answered("kills on the host");
    let pid = up.pid();
    let status = runtime.block_on(up.end_after(Signal::SIGTERM, pid));
    assert!(status.success(), "{status}");
}

async fn start(port: u16, temp: &Path) -> UpProcess {
    UpProcess::start(up_command(env!("CARGO"), &["xtask"], port, temp), temp).await
}

/// Requests one after another, until they are stopped.
struct Requests {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Requests {
    fn start(client: &ApiClient) -> Self {
        client.wait_for_chat();
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (client, is_over) = (client.clone(), Arc::clone(&is_over));
            move || {
                let (mut answered, mut failed) = (0, Vec::new());
                while !is_over.load(Ordering::Relaxed) {
                    let answer = client.chat("Say hello.");
                    if answer.status == 200 {
                        answered += 1;
                    } else {
                        failed.push(format!("{answer:?}"));
                    }
                    client.stream(1).assert_whole("a kill in the other stack");
                }
                (answered, failed)
            }
        });
        Self { is_over, thread }
    }

    fn assert_all_answered(self, during: &str) {
        self.is_over.store(true, Ordering::Relaxed);
        let (answered, failed) = self.thread.join().expect("each stream is whole");
        eprintln!("{during}: {answered} chats and as many streams of the other stack answered");
        assert!(
            answered > ROUNDS && failed.is_empty(),
            "{during}: {failed:?}"
        );
    }
}
