//! Clients that ask without a pause, over HTTP/1.1 and HTTP/2, until they are told to stop.
//! A client's requests follow from the seed and its own number; every answer is judged when it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::chain::ANSWER_DEADLINE;
use super::report::Report;
use super::verdict::{Outcome, Received};
use super::visit::{Stage, Visit};
use crate::http::{Client, Version};

/// Time that a client takes between two requests, and after a refusal; with less, refusals would be most of what is
/// seen.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// The clients, and what they can be told.
#[derive(Debug)]
pub(super) struct Load {
    clients: JoinSet<Report>,
    orders: Arc<Orders>,
}

#[derive(Debug)]
struct Orders {
    /// For each client, how many of its requests it shall leave.
    leave: Vec<Semaphore>,
    stop: CancellationToken,
    /// How often the sidecar was killed: who asks while this changes may be broken off.
    sidecar_kills: AtomicUsize,
}

impl Load {
    /// So many clients of the server at `address`.
    pub(super) fn start(address: SocketAddr, clients: usize, seed: u64) -> Self {
        let orders = Arc::new(Orders {
            leave: (0..clients).map(|_| Semaphore::new(0)).collect(),
            stop: CancellationToken::new(),
            sidecar_kills: AtomicUsize::new(0),
        });
        let mut seeds = Rng::with_seed(seed);
        let clients = (0..clients).map(|number| {
            let (rng, orders) = (seeds.fork(), Arc::clone(&orders));
            async move { ask_on(number, rng, address, &orders).await }
        });
        Self {
            clients: clients.collect(),
            orders,
        }
    }

    /// Has a client leave what it asks now, or next.
    pub(super) fn drop_client(&self, client: usize) {
        self.orders.leave[client].add_permits(1);
    }

    /// To be called before the sidecar is killed.
    pub(super) fn announce_sidecar_kill(&self) {
        self.orders.sidecar_kills.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets every client read its last answer to the end, and returns what they saw.
    pub(super) async fn stop(mut self) -> Report {
        self.orders.stop.cancel();
        let mut seen = Report::default();
        while let Some(client) = self.clients.join_next().await {
            match client {
                Ok(report) => seen.absorb(report),
                Err(error) => seen.add_violation(format!("a client could not go on: {error}")),
            }
        }
        seen
    }
}

/// One client. Over HTTP/2 it keeps its connection, so that leaving is a reset stream; over HTTP/1.1 it hangs up.
async fn ask_on(number: usize, mut rng: Rng, address: SocketAddr, orders: &Orders) -> Report {
    let mut seen = Report::default();
    let version = if number.is_multiple_of(2) {
        Version::H1
    } else {
        Version::H2
    };
    let mut client = Client::connect(address, version).await;
    let mut asked = 0;
    while !orders.stop.is_cancelled() {
        let mut visit = Visit::new(&format!("canary {number}.{asked}, "), &mut rng);
        asked += 1;
        let kills_before = orders.sidecar_kills.load(Ordering::SeqCst);
        let received = tokio::select! {
            received = timeout(ANSWER_DEADLINE, visit.run(&mut client)) => received.ok(),
            Ok(order) = orders.leave[number].acquire() => {
                order.forget();
                seen.add_outcome(left(visit.stage));
                client = Client::connect(address, version).await;
                continue;
            }
        };
        let sidecar_killed = orders.sidecar_kills.load(Ordering::SeqCst) != kills_before;
        note(&mut seen, &visit, received.as_ref(), sidecar_killed);
        if version == Version::H1 {
            client = Client::connect(address, version).await;
        }
        let refused = received.is_some_and(|received| received.status != Some(200));
        sleep(if refused { PAUSE.1 } else { PAUSE.0 }).await;
    }
    seen
}

fn left(stage: Stage) -> &'static str {
    match stage {
        Stage::Asking => "client left before the head",
        Stage::Reading => "client left while reading",
    }
}

/// Writes down how a request ended, and whether it should not have ended so.
fn note(seen: &mut Report, visit: &Visit, received: Option<&Received>, sidecar_killed: bool) {
    let Some(received) = received else {
        seen.add_outcome("no end within the stated time");
        seen.add_violation(format!("{ANSWER_DEADLINE:?} without an end: {visit:?}"));
        return;
    };
    match visit.judge(received) {
        Ok(Outcome::Finished) if visit.streamed => seen.add_outcome("stream finished"),
        Ok(Outcome::Finished) => seen.add_outcome("gathered answer finished"),
        Ok(Outcome::Refused(status, code)) => seen.add_outcome(format!("status {status} {code}")),
        Ok(Outcome::Failed(code)) => seen.add_outcome(format!("error frame {code}")),
        Ok(Outcome::BrokenOff) => {
            seen.add_outcome("broken off");
            if !sidecar_killed {
                seen.add_violation(format!("broken off while the sidecar lived: {visit:?}"));
            }
        }
        Err(what) => {
            seen.add_outcome("not an honest end");
            seen.add_violation(what);
        }
    }
}
