//! Clients that send requests without a break, over HTTP/1.1 and HTTP/2, until they are stopped.
//! Every response is evaluated when it ends; the marker of another client is a violation anywhere in it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::keys::KeyRing;
use super::request_log::{ObservedOutcome, RequestLog, SentRequest};
use super::workload::{Workload, WorkloadRequest};
use crate::chaos::Report;
use crate::chaos::chain::{Chain, RESPONSE_DEADLINE};
use crate::chaos::outcome::{ReceivedResponse, RequestOutcome, evaluate};
use crate::chaos::parsed_response::ParsedResponse;
use crate::http::{Client, Version, bearer, post, with};

/// Concurrent clients: more than the permits, so that some requests queue and some are rejected.
pub(super) const CLIENTS: usize = 10;

/// Time that a client waits between two requests, and after a rejection; with less, most outcomes would be rejections.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// The error code for a conversation that was stored by an earlier sidecar.
const FORGOTTEN: &str = "previous_response_not_found";

/// Start of a marker; the name of the client to which the text belongs follows.
const MARKER: &str = "marker ";

/// A phase of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunPhase {
    /// The sidecar is replaced repeatedly.
    Restarts,
    /// The same sidecar serves all requests.
    Stable,
}

/// The clients of one phase of the run.
#[derive(Debug)]
pub(super) struct Clients {
    tasks: JoinSet<SoakClient>,
    stop: CancellationToken,
}

/// A client, its connection, and its log.
#[derive(Debug)]
struct SoakClient {
    /// Unique among all clients of the run.
    name: String,
    number: usize,
    phase: RunPhase,
    rng: Rng,
    ring: Arc<KeyRing>,
    address: SocketAddr,
    version: Version,
    connection: Client,
    log: RequestLog,
    report: Report,
}

impl RunPhase {
    /// The first letter of the names of the phase's clients.
    fn letter(self) -> char {
        match self {
            Self::Restarts => 'a',
            Self::Stable => 'b',
        }
    }
}

impl Clients {
    /// Starts clients with names that no other phase uses.
    pub(super) fn start(phase: RunPhase, ring: &Arc<KeyRing>, chain: &Chain, mut rng: Rng) -> Self {
        let (address, stop) = (chain.envoy.address(), CancellationToken::new());
        let clients = (0..CLIENTS).map(|number| {
            let (rng, ring, stop) = (rng.fork(), Arc::clone(ring), stop.clone());
            async move {
                let version = [Version::H1, Version::H2][number % 2];
                let mut client = SoakClient {
                    name: format!("{}{number}", phase.letter()),
                    number,
                    phase,
                    rng,
                    ring,
                    address,
                    version,
                    connection: Client::connect(address, version).await,
                    log: RequestLog::default(),
                    report: Report::default(),
                };
                // Checked between workloads only, so that every request is read to its end.
                while !stop.is_cancelled() {
                    client.run_workload().await;
                }
                client
            }
        });
        Self {
            tasks: clients.collect(),
            stop,
        }
    }

    /// Lets every client finish its workload, and returns the log of all requests.
    pub(super) async fn stop(mut self, report: &mut Report) -> RequestLog {
        self.stop.cancel();
        let mut logs = Vec::new();
        while let Some(client) = self.tasks.join_next().await {
            match client {
                Ok(client) => {
                    report.merge(client.report);
                    logs.push(client.log);
                }
                Err(error) => report.add_violation(format!("a client panicked: {error}")),
            }
        }
        RequestLog::joined(logs)
    }
}

impl SoakClient {
    async fn run_workload(&mut self) {
        let workload = Workload::random(&mut self.rng);
        let marker = format!("{MARKER}{}.{}, ", self.name, self.log.len());
        let mut next = Some(workload.first_request(&marker, &mut self.rng));
        while let Some(request) = next {
            let response = self.send(workload, &request).await;
            next = response
                .and_then(|response| workload.next_request(&request, &response, &mut self.rng));
        }
    }

    /// Sends a request, logs its outcome, and returns the response if it is complete.
    async fn send(
        &mut self,
        workload: Workload,
        request: &WorkloadRequest,
    ) -> Option<ParsedResponse> {
        let id = format!("{}-{}", self.name, self.log.len());
        // Read before the request is sent: a rotation during the request makes a 401 legitimate.
        let epoch = self.ring.epoch();
        let received = self.exchange(request, &id).await;
        self.log.push(SentRequest {
            id,
            endpoint: request.endpoint,
            outcome: ObservedOutcome::Disconnected,
        });
        if received.is_none() || self.version == Version::H1 {
            self.connection = Client::connect(self.address, self.version).await;
        }
        let Some(received) = received else {
            let outcome = format!("{} left by the client", workload.name());
            self.report.add_outcome(outcome);
            return None;
        };
        let response = self.evaluate(workload, request, &received, epoch);
        sleep(if response.is_none() { PAUSE.1 } else { PAUSE.0 }).await;
        response
    }

    /// Sends a request and reads the response; `None` if the client disconnects first.
    async fn exchange(&mut self, request: &WorkloadRequest, id: &str) -> Option<ReceivedResponse> {
        let post = post(request.endpoint.path(), request.body.to_string());
        let post = bearer(post, &self.ring.key(self.number));
        let exchange = async {
            match self.connection.stream(with(post, "x-request-id", id)).await {
                Ok(stream) => ReceivedResponse::read(stream, request.slow).await,
                Err(_) => ReceivedResponse::no_head(),
            }
        };
        let limit = request.disconnect_after.unwrap_or(RESPONSE_DEADLINE);
        let received = timeout(limit, exchange).await.ok();
        if received.is_none() && request.disconnect_after.is_none() {
            let violation = format!("{RESPONSE_DEADLINE:?} without an end: {id}");
            self.report.add_violation(violation);
        }
        received
    }

    fn evaluate(
        &mut self,
        workload: Workload,
        request: &WorkloadRequest,
        received: &ReceivedResponse,
        epoch: usize,
    ) -> Option<ParsedResponse> {
        let evaluated = evaluate(
            received,
            request.endpoint,
            request.streamed(),
            &request.expected,
        );
        let (outcome, response) = match evaluated {
            Ok(evaluated) => evaluated,
            Err(violation) => {
                self.add_violation(workload, &violation);
                return None;
            }
        };
        // Raw and parsed: a marker that is split over two deltas shows only in the parsed text.
        let body = String::from_utf8_lossy(&received.body);
        let foreign = [&*body, &response.text].map(|text| foreign_marker(text, &self.name));
        for name in foreign.into_iter().flatten() {
            self.add_violation(workload, &format!("text of client {name}"));
        }
        self.log
            .set_outcome(received.status.unwrap_or_default(), outcome.code());
        if let Some(violation) = self.unexpected(&outcome, request, epoch) {
            self.add_violation(workload, violation);
        }
        self.report.add_outcome(report_row(workload, &outcome));
        (outcome == RequestOutcome::Finished).then_some(response)
    }

    /// The violation in an outcome that is well-formed, but not allowed for this request.
    fn unexpected(
        &self,
        outcome: &RequestOutcome,
        request: &WorkloadRequest,
        epoch: usize,
    ) -> Option<&'static str> {
        let keys_changed = epoch % 2 == 1 || epoch != self.ring.epoch();
        match outcome {
            RequestOutcome::Finished if request.fails => {
                Some("success although the model has failed")
            }
            RequestOutcome::Finished | RequestOutcome::Failed(_) => None,
            RequestOutcome::BrokenOff => Some("broken off although the sidecar was not killed"),
            RequestOutcome::Rejected(401, _) if keys_changed => None,
            RequestOutcome::Rejected(_, code)
                if code == FORGOTTEN && self.phase == RunPhase::Restarts =>
            {
                None
            }
            RequestOutcome::Rejected(status, _) if is_temporary(*status) => None,
            RequestOutcome::Rejected(..) => Some("a valid request was rejected as invalid"),
        }
    }

    fn add_violation(&mut self, workload: Workload, violation: &str) {
        let (request, workload) = (self.log.last(), workload.name());
        self.report
            .add_violation(format!("{workload} of {request:?}: {violation}"));
    }
}

/// Whether a status tells the client to try again; all requests of the soak are valid.
fn is_temporary(status: u16) -> bool {
    status == 429 || status >= 500
}

fn report_row(workload: Workload, outcome: &RequestOutcome) -> String {
    match outcome {
        RequestOutcome::Finished => format!("{} finished", workload.name()),
        RequestOutcome::Rejected(status, code) => format!("status {status} {code}"),
        RequestOutcome::Failed(code) => format!("error frame {code}"),
        RequestOutcome::BrokenOff => "broken off".to_owned(),
    }
}

/// The name in a marker of another client than `own`. A marker that the end of a delta splits has no dot after the name and
/// is ignored.
fn foreign_marker<'a>(text: &'a str, own: &str) -> Option<&'a str> {
    text.split(MARKER).skip(1).find_map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric())?;
        let (name, rest) = rest.split_at(end);
        (rest.starts_with('.') && name != own).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::foreign_marker;

    #[test]
    fn foreign_marker_is_found_unless_it_is_split() {
        for (text, found) in [
            ("marker a1.5, marker a1.5, mar", None),
            ("marker a1.5, marker a2.5, ", Some("a2")),
            (r#"{"delta":"marker a"}{"delta":"1.5, marker a1"}"#, None),
            (r#"{"error":"marker a10.1"}"#, Some("a10")),
        ] {
            assert_eq!(foreign_marker(text, "a1"), found, "{text}");
        }
    }
}
