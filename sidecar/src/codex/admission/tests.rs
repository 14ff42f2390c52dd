//! The permits and the queue under any order of requests, ends, disconnects and passing time.

use std::future::Future;
use std::num::{NonZeroU64, NonZeroUsize};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::permit::{Admission, TurnPermit};
use super::schedule::ACTIVE;
use crate::config::{AgentClients, AgentLimits, Limits, RecycleLimits, WarmLimits};
use crate::turn::NotAdmitted;

const CLIENTS: [&str; 3] = ["a", "b", "c"];
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

fn limits(turns: usize, client_turns: usize, queue: usize) -> Limits {
    Limits {
        workers: NonZeroUsize::MIN,
        recycle: RecycleLimits {
            turns: None::<NonZeroU64>,
            age: None,
            rss_bytes: None,
        },
        proto_pool: NonZeroUsize::MIN,
        turns: NonZeroUsize::new(turns),
        client_turns: NonZeroUsize::new(client_turns),
        child_bytes: None,
        agents: AgentLimits {
            processes: None,
            memory_bytes: None,
            folder_bytes: None,
            clients: AgentClients::Any,
        },
        queue,
        queue_timeout: QUEUE_TIMEOUT,
        warm: WarmLimits {
            threads: None,
            ttl: Duration::ZERO,
            ahead: 0,
        },
    }
}

type Asking = Pin<Box<dyn Future<Output = Result<TurnPermit, NotAdmitted>>>>;

/// Requests and turns of several clients, each polled only when the test says so.
struct Requests {
    admission: Admission,
    waiting: Vec<(&'static str, Asking)>,
    running: Vec<(&'static str, TurnPermit)>,
    refused: Vec<(&'static str, NotAdmitted)>,
}

impl Requests {
    fn new(limits: Limits) -> Self {
        Self {
            admission: Admission::new(limits),
            waiting: Vec::new(),
            running: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn ask(&mut self, client: &'static str) {
        let admission = self.admission.clone();
        let asking = Box::pin(async move { admission.permit(client).await });
        self.waiting.push((client, asking));
        let last = self.waiting.len() - 1;
        self.poll(last);
    }

    /// Polls a request, and sorts it by its result; returns whether it still waits.
    fn poll(&mut self, at: usize) -> bool {
        let (client, asking) = &mut self.waiting[at];
        let client = *client;
        let polled = asking
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(result) = polled else {
            return true;
        };
        drop(self.waiting.remove(at));
        match result {
            Ok(permit) => self.running.push((client, permit)),
            Err(reason) => self.refused.push((client, reason)),
        }
        false
    }

    fn poll_all(&mut self) {
        let mut at = 0;
        while at < self.waiting.len() {
            at += usize::from(self.poll(at));
        }
    }

    fn end_turn(&mut self, client: &str) {
        let at = self.running.iter().position(|(id, _)| *id == client);
        drop(self.running.remove(at.expect("the client has a turn")));
        self.poll_all();
    }

    fn running(&self) -> String {
        let mut clients: Vec<_> = self.running.iter().map(|(client, _)| *client).collect();
        clients.sort_unstable();
        clients.concat()
    }

    fn count(&self, client: &str) -> usize {
        self.running.iter().filter(|(id, _)| *id == client).count()
    }
}

#[tokio::test(start_paused = true)]
async fn client_alone_has_all_permits_and_leaves_one_once_another_is_active() {
    let mut requests = Requests::new(limits(4, 0, 16));
    for _ in 0..6 {
        requests.ask("a");
    }
    assert_eq!(requests.running(), "aaaa");
    requests.ask("b");
    requests.end_turn("a");
    assert_eq!(requests.running(), "aaab", "the other client goes first");
    requests.end_turn("b");
    assert_eq!(requests.running(), "aaa", "a permit stays free for others");
    requests.ask("b");
    assert_eq!(
        requests.running(),
        "aaab",
        "so that a short request does not wait"
    );
    requests.end_turn("b");
    tokio::time::advance(ACTIVE).await;
    requests.ask("a");
    requests.poll_all();
    assert_eq!(
        requests.running(),
        "aaaa",
        "the other client is not active any more"
    );
}

#[tokio::test(start_paused = true)]
async fn clients_are_served_in_turn_and_each_in_its_own_order() {
    let mut requests = Requests::new(limits(1, 0, 16));
    for client in ["a", "a", "a", "b", "b", "c"] {
        requests.ask(client);
    }
    let mut served = String::new();
    while let Some((client, _)) = requests.running.first() {
        let client = *client;
        served.push_str(client);
        requests.end_turn(client);
    }
    assert_eq!(served, "aabcab");
}

#[tokio::test(start_paused = true)]
async fn full_queue_gives_a_place_of_the_largest_client_to_another() {
    let mut requests = Requests::new(limits(1, 0, 3));
    for client in ["a", "a", "a", "a", "a"] {
        requests.ask(client);
    }
    assert_eq!(requests.refused, [("a", NotAdmitted::QueueFull)]);
    requests.ask("b");
    requests.poll_all();
    assert_eq!(requests.refused[1..], [("a", NotAdmitted::Displaced)]);
    requests.ask("a");
    requests.ask("b");
    let last: Vec<_> = requests.refused[2..]
        .iter()
        .map(|(client, _)| *client)
        .collect();
    assert_eq!(last, ["a", "b"], "neither has more than its part");
    assert_eq!(requests.admission.queued(), 3);
}

#[tokio::test(start_paused = true)]
async fn refusal_names_the_limit() {
    let mut requests = Requests::new(limits(4, 2, 1));
    for _ in 0..4 {
        requests.ask("a");
    }
    assert_eq!(requests.running(), "aa");
    assert_eq!(requests.refused, [("a", NotAdmitted::ShareAndQueueFull)]);
    tokio::time::advance(QUEUE_TIMEOUT).await;
    requests.poll_all();
    assert_eq!(requests.refused[1..], [("a", NotAdmitted::ShareTimeout)]);

    let mut requests = Requests::new(limits(2, 2, 1));
    for client in ["a", "b", "a", "b"] {
        requests.ask(client);
    }
    assert_eq!(requests.refused, [("b", NotAdmitted::QueueFull)]);
    tokio::time::advance(QUEUE_TIMEOUT).await;
    requests.poll_all();
    assert_eq!(requests.refused[1..], [("a", NotAdmitted::QueueTimeout)]);
    assert_eq!(requests.admission.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn permit_granted_to_a_request_that_leaves_goes_to_the_next() {
    let mut requests = Requests::new(limits(1, 0, 16));
    for client in ["a", "b", "c"] {
        requests.ask(client);
    }
    // Granted to `b`, whose future is dropped before it is polled again.
    drop(requests.running.remove(0));
    drop(requests.waiting.remove(0));
    requests.poll_all();
    assert_eq!(requests.running(), "c");
}

#[tokio::test(start_paused = true)]
async fn without_limits_each_turn_begins_at_once() {
    let mut requests = Requests::new(limits(0, 0, 0));
    for _ in 0..100 {
        requests.ask("a");
    }
    assert_eq!(requests.admission.running(), 100);
}

/// A step of a run. The numbers choose among the requests or turns at hand.
#[derive(Debug, Clone)]
enum Step {
    Ask(usize),
    /// A request leaves, polled since its grant or not.
    Leave(usize),
    End(usize),
    /// A request is polled alone, as a task that is scheduled before the others.
    Poll(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..3).prop_map(Step::Ask),
        2 => any::<usize>().prop_map(Step::Leave),
        3 => any::<usize>().prop_map(Step::End),
        1 => any::<usize>().prop_map(Step::Poll),
        1 => prop_oneof![0_u64..8, Just(600)].prop_map(Step::Pass),
    ]
}

async fn take(requests: &mut Requests, step: &Step) {
    match *step {
        Step::Ask(client) => requests.ask(CLIENTS[client]),
        Step::Leave(at) if !requests.waiting.is_empty() => {
            drop(requests.waiting.remove(at % requests.waiting.len()));
        }
        Step::End(at) if !requests.running.is_empty() => {
            drop(requests.running.remove(at % requests.running.len()));
        }
        Step::Poll(at) if !requests.waiting.is_empty() => {
            requests.poll(at % requests.waiting.len());
        }
        Step::Pass(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
        Step::Leave(_) | Step::End(_) | Step::Poll(_) => {}
    }
}

/// Runs the steps on a paused clock, and checks the limits after each.
async fn run(limits: Limits, steps: Vec<Step>) {
    let mut requests = Requests::new(limits);
    let most = limits.turns.map_or(usize::MAX, NonZeroUsize::get);
    let share = limits.client_turns.map_or(most, NonZeroUsize::get);
    for step in &steps {
        take(&mut requests, step).await;
        assert!(requests.admission.running() <= most, "{step:?}");
        assert!(requests.admission.queued() <= limits.queue, "{step:?}");
        for client in CLIENTS {
            assert!(requests.count(client) <= share, "{client} {step:?}");
        }
        // No lost wakeup: once all granted requests have run, no client waits beside a permit that it may take.
        requests.poll_all();
        assert_eq!(
            requests.admission.running(),
            requests.running.len(),
            "{step:?}"
        );
        assert_eq!(
            requests.admission.queued(),
            requests.waiting.len(),
            "{step:?}"
        );
        let is_free = requests.running.len() < most;
        for client in requests.waiting.iter().map(|(client, _)| *client) {
            let kept_free = limits.client_turns.is_none() && most > 1;
            let own = if kept_free { most - 1 } else { share };
            assert!(
                !is_free || requests.count(client) >= own,
                "{client} waits, {step:?}"
            );
        }
    }
    // All that waits is served in the end, whatever the order of the ends.
    while !requests.running.is_empty() {
        drop(requests.running.remove(0));
        requests.poll_all();
    }
    assert_eq!(requests.waiting.len(), 0);
    assert_eq!(requests.admission.running(), 0);
    assert_eq!(requests.admission.queued(), 0);
}

proptest! {
    #[test]
    fn limits_hold_and_no_request_is_forgotten(
        turns in 0_usize..5,
        client_turns in 0_usize..4,
        queue in 0_usize..6,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(limits(turns, client_turns, queue), steps));
    }

    #[test]
    fn client_waits_for_one_turn_of_each_other_client_at_most(before in prop::collection::vec(0_usize..2, 1..14)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut requests = Requests::new(limits(1, 0, 16));
            for client in before {
                requests.ask(CLIENTS[client]);
            }
            requests.ask("c");
            let mut ended = 0;
            while requests.count("c") == 0 {
                drop(requests.running.remove(0));
                requests.poll_all();
                ended += 1;
            }
            // The running turn, and then one of each other client.
            assert!(ended <= 3, "{ended}");
        });
    }
}
