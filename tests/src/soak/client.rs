//! Clients that talk without a pause, over HTTP/1.1 and HTTP/2, until they are told to stop.
//! Every answer is judged when it ends; a mark that is another client's is a violation wherever it stands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::keys::KeyRing;
use super::ledger::{Asked, Fate, Ledger};
use super::talk::{Question, Talk};
use crate::chaos::Report;
use crate::chaos::answer::Answer;
use crate::chaos::chain::{ANSWER_DEADLINE, Chain};
use crate::chaos::verdict::{Outcome, Received, judge};
use crate::http::{Client, Version, bearer, post, with};

/// Clients that ask at the same time: more than there are slots, so that some wait and some are refused.
pub(super) const CLIENTS: usize = 10;

/// Time that a client takes between two questions, and after a refusal; with less, refusals would be most of what is
/// seen.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// What a sidecar says of a conversation that its predecessor had.
const FORGOTTEN: &str = "previous_response_not_found";

/// The words before the name of the client to whom a text belongs.
const MARK: &str = "canary ";

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Sidecars come and go.
    Replaced,
    /// One sidecar lives.
    Spared,
}

/// The clients of one part of the run.
#[derive(Debug)]
pub(super) struct Clients {
    tasks: JoinSet<Asker>,
    stop: CancellationToken,
}

/// One client, and what it has seen.
#[derive(Debug)]
struct Asker {
    /// Its own, among all clients of the run.
    name: String,
    number: usize,
    part: Part,
    rng: Rng,
    ring: Arc<KeyRing>,
    address: SocketAddr,
    version: Version,
    client: Client,
    asked: Ledger,
    seen: Report,
}

impl Part {
    /// The first of its clients' names.
    fn letter(self) -> char {
        match self {
            Self::Replaced => 'a',
            Self::Spared => 'b',
        }
    }
}

impl Clients {
    /// Clients that no other part has.
    pub(super) fn start(part: Part, ring: &Arc<KeyRing>, chain: &Chain, mut rng: Rng) -> Self {
        let (address, stop) = (chain.envoy.address(), CancellationToken::new());
        let clients = (0..CLIENTS).map(|number| {
            let (rng, ring, stop) = (rng.fork(), Arc::clone(ring), stop.clone());
            async move {
                let version = [Version::H1, Version::H2][number % 2];
                let mut asker = Asker {
                    name: format!("{}{number}", part.letter()),
                    number,
                    part,
                    rng,
                    ring,
                    address,
                    version,
                    client: Client::connect(address, version).await,
                    asked: Ledger::default(),
                    seen: Report::default(),
                };
                while !stop.is_cancelled() {
                    asker.talk().await;
                }
                asker
            }
        });
        Self {
            tasks: clients.collect(),
            stop,
        }
    }

    /// Lets every client hear the end of what it asks, and returns what all have asked.
    pub(super) async fn stop(mut self, report: &mut Report) -> Ledger {
        self.stop.cancel();
        let mut ledgers = Vec::new();
        while let Some(asker) = self.tasks.join_next().await {
            match asker {
                Ok(asker) => {
                    report.absorb(asker.seen);
                    ledgers.push(asker.asked);
                }
                Err(error) => {
                    report.add_violation(format!("a client could not go on: {error}"));
                }
            }
        }
        Ledger::joined(ledgers)
    }
}

impl Asker {
    async fn talk(&mut self) {
        let talk = Talk::any(&mut self.rng);
        let mark = format!("{MARK}{}.{}, ", self.name, self.asked.len());
        let mut next = Some(talk.open(&mark, &mut self.rng));
        while let Some(question) = next {
            let answer = self.ask(talk, &question).await;
            next = answer.and_then(|answer| talk.follow(&question, &answer, &mut self.rng));
        }
    }

    /// Asks, writes down what became of it, and returns the answer if that is whole.
    async fn ask(&mut self, talk: Talk, question: &Question) -> Option<Answer> {
        let (id, epoch) = (
            format!("{}-{}", self.name, self.asked.len()),
            self.ring.epoch(),
        );
        let received = self.exchange(question, &id).await;
        let (dialect, fate) = (question.dialect, Fate::Left);
        self.asked.push(Asked { id, dialect, fate });
        if received.is_none() || self.version == Version::H1 {
            self.client = Client::connect(self.address, self.version).await;
        }
        let Some(received) = received else {
            self.seen.add_outcome(format!("{} left", talk.name()));
            return None;
        };
        let answer = self.hear(talk, question, &received, epoch);
        sleep(if answer.is_none() { PAUSE.1 } else { PAUSE.0 }).await;
        answer
    }

    /// `None` when the client has left.
    async fn exchange(&mut self, question: &Question, id: &str) -> Option<Received> {
        let request = post(question.dialect.path(), question.body.to_string());
        let request = bearer(request, &self.ring.key(self.number));
        let asking = async {
            match self.client.stream(with(request, "x-request-id", id)).await {
                Ok(stream) => Received::read(stream, question.slow).await,
                Err(_) => Received::nothing(),
            }
        };
        let stay = question.leaves_after.unwrap_or(ANSWER_DEADLINE);
        let received = timeout(stay, asking).await.ok();
        if received.is_none() && question.leaves_after.is_none() {
            let violation = format!("{ANSWER_DEADLINE:?} without an end: {id}");
            self.seen.add_violation(violation);
        }
        received
    }

    fn hear(
        &mut self,
        talk: Talk,
        question: &Question,
        received: &Received,
        epoch: usize,
    ) -> Option<Answer> {
        let judged = judge(
            received,
            question.dialect,
            question.streamed(),
            &question.expected,
        );
        let (outcome, answer) = match judged {
            Ok(judged) => judged,
            Err(what) => {
                self.violation(talk, &what);
                return None;
            }
        };
        let body = String::from_utf8_lossy(&received.body);
        let strangers = [&*body, &answer.text].map(|text| stranger(text, &self.name));
        for stranger in strangers.into_iter().flatten() {
            self.violation(talk, &format!("it has text of {stranger}"));
        }
        self.asked
            .end(received.status.unwrap_or_default(), outcome.code());
        if let Some(what) = self.wrong(&outcome, question, epoch) {
            self.violation(talk, what);
        }
        self.seen.add_outcome(row(talk, &outcome));
        (outcome == Outcome::Finished).then_some(answer)
    }

    /// What is wrong with an end that is honest in itself.
    fn wrong(&self, outcome: &Outcome, question: &Question, epoch: usize) -> Option<&'static str> {
        let keys_changed = epoch % 2 == 1 || epoch != self.ring.epoch();
        match outcome {
            Outcome::Finished if question.fails => {
                Some("the model failed, and it looks like success")
            }
            Outcome::Finished | Outcome::Failed(_) => None,
            Outcome::BrokenOff => Some("broken off while the sidecar lived"),
            Outcome::Refused(401, _) if keys_changed => None,
            Outcome::Refused(_, code) if code == FORGOTTEN && self.part == Part::Replaced => None,
            Outcome::Refused(status, _) if is_passing(*status) => None,
            Outcome::Refused(..) => Some("refused as if it were wrong"),
        }
    }

    fn violation(&mut self, talk: Talk, what: &str) {
        let (asked, talk) = (self.asked.last(), talk.name());
        self.seen
            .add_violation(format!("{talk} of {asked:?}: {what}"));
    }
}

/// Whether a status says that it may go well another time; nothing here is asked wrongly.
fn is_passing(status: u16) -> bool {
    status == 429 || status >= 500
}

fn row(talk: Talk, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Finished => format!("{} finished", talk.name()),
        Outcome::Refused(status, code) => format!("status {status} {code}"),
        Outcome::Failed(code) => format!("error frame {code}"),
        Outcome::BrokenOff => "broken off".to_owned(),
    }
}

/// Another client than `own` whose mark is in the text. A mark that is cut by the end of a delta has no dot behind it.
fn stranger<'a>(text: &'a str, own: &str) -> Option<&'a str> {
    let mut marked = text.split(MARK).skip(1);
    marked.find_map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric())?;
        let (name, rest) = rest.split_at(end);
        (rest.starts_with('.') && name != own).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::stranger;

    #[test]
    fn a_mark_of_another_is_found_and_one_that_is_cut_is_not() {
        for (text, found) in [
            ("canary a1.5, canary a1.5, can", None),
            ("canary a1.5, canary a2.5, ", Some("a2")),
            (r#"{"delta":"canary a"}{"delta":"1.5, canary a1"}"#, None),
            (r#"{"error":"canary a10.1"}"#, Some("a10")),
        ] {
            assert_eq!(stranger(text, "a1"), found, "{text}");
        }
    }
}
