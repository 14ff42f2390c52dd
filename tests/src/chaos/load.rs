//! Clients that send requests without a break, over HTTP/1.1 and HTTP/2, until they are stopped.
//! A client's requests follow from the seed and the client's number; every response is evaluated when it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::chain::RESPONSE_DEADLINE;
use super::client_request::{ClientRequest, RequestStage};
use super::outcome::{ReceivedResponse, RequestOutcome};
use super::report::Report;
use crate::http::{Client, Version};

/// Time that a client waits between two requests, and after a rejection; with less, most outcomes would be rejections.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// The running clients, and the control over them.
#[derive(Debug)]
pub(super) struct LoadGenerator {
    clients: JoinSet<Report>,
    control: Arc<LoadControl>,
}

#[derive(Debug)]
struct LoadControl {
    /// For each client, the number of requests from which it shall disconnect.
    disconnect: Vec<Semaphore>,
    stop: CancellationToken,
    /// Number of SIGKILLs to the sidecar: a request during which it changes may be broken off.
    sidecar_kills: AtomicUsize,
}

impl LoadGenerator {
    /// Starts `clients` clients of the server at `address`.
    pub(super) fn start(address: SocketAddr, clients: usize, seed: u64) -> Self {
        let control = Arc::new(LoadControl {
            disconnect: (0..clients).map(|_| Semaphore::new(0)).collect(),
            stop: CancellationToken::new(),
            sidecar_kills: AtomicUsize::new(0),
        });
        let mut seeds = Rng::with_seed(seed);
        let clients = (0..clients).map(|number| {
            let (rng, control) = (seeds.fork(), Arc::clone(&control));
            async move { run_client(number, rng, address, &control).await }
        });
        Self {
            clients: clients.collect(),
            control,
        }
    }

    /// Makes a client disconnect from its current or next request.
    pub(super) fn disconnect_client(&self, client: usize) {
        self.control.disconnect[client].add_permits(1);
    }

    /// Allows broken-off responses for the current requests; must be called before the sidecar is killed.
    pub(super) fn announce_sidecar_kill(&self) {
        self.control.sidecar_kills.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets every client finish its current request, and returns their merged reports.
    pub(super) async fn stop(mut self) -> Report {
        self.control.stop.cancel();
        let mut merged = Report::default();
        while let Some(client) = self.clients.join_next().await {
            match client {
                Ok(report) => merged.merge(report),
                Err(error) => merged.add_violation(format!("a client panicked: {error}")),
            }
        }
        merged
    }
}

/// Runs one client. Over HTTP/2 its disconnects are stream resets on one connection; over HTTP/1.1 it closes the connection.
async fn run_client(
    number: usize,
    mut rng: Rng,
    address: SocketAddr,
    control: &LoadControl,
) -> Report {
    let mut report = Report::default();
    let version = if number.is_multiple_of(2) {
        Version::H1
    } else {
        Version::H2
    };
    let mut client = Client::connect(address, version).await;
    let mut sent = 0;
    while !control.stop.is_cancelled() {
        let mut request = ClientRequest::random(&format!("marker {number}.{sent}, "), &mut rng);
        sent += 1;
        let kills_before = control.sidecar_kills.load(Ordering::SeqCst);
        let received = tokio::select! {
            received = timeout(RESPONSE_DEADLINE, request.run(&mut client)) => received.ok(),
            // Dropping the other branch drops the stream, which is the disconnect.
            Ok(permit) = control.disconnect[number].acquire() => {
                permit.forget();
                report.add_outcome(disconnect_row(request.stage));
                client = Client::connect(address, version).await;
                continue;
            }
        };
        let sidecar_killed = control.sidecar_kills.load(Ordering::SeqCst) != kills_before;
        record(&mut report, &request, received.as_ref(), sidecar_killed);
        if version == Version::H1 {
            client = Client::connect(address, version).await;
        }
        let rejected = received.is_some_and(|received| received.status != Some(200));
        sleep(if rejected { PAUSE.1 } else { PAUSE.0 }).await;
    }
    report
}

fn disconnect_row(stage: RequestStage) -> &'static str {
    match stage {
        RequestStage::AwaitingHead => "client disconnected before the head",
        RequestStage::ReadingBody => "client disconnected while reading",
    }
}

/// Records the outcome of a request, and a violation if the outcome is not allowed.
fn record(
    report: &mut Report,
    request: &ClientRequest,
    received: Option<&ReceivedResponse>,
    sidecar_killed: bool,
) {
    let Some(received) = received else {
        report.add_outcome("no end within the deadline");
        report.add_violation(format!("{RESPONSE_DEADLINE:?} without an end: {request:?}"));
        return;
    };
    match request.evaluate(received) {
        Ok(RequestOutcome::Finished) if request.streamed => report.add_outcome("stream finished"),
        Ok(RequestOutcome::Finished) => report.add_outcome("buffered response finished"),
        Ok(RequestOutcome::Rejected(status, code)) => {
            report.add_outcome(format!("status {status} {code}"));
        }
        Ok(RequestOutcome::Failed(code)) => report.add_outcome(format!("error frame {code}")),
        Ok(RequestOutcome::BrokenOff) => {
            report.add_outcome("broken off");
            if !sidecar_killed {
                report.add_violation(format!(
                    "broken off although the sidecar was not killed: {request:?}"
                ));
            }
        }
        Err(violation) => {
            report.add_outcome("invalid response");
            report.add_violation(violation);
        }
    }
}
