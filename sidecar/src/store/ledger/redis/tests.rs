//! The ledger in a real Redis: the rules of the one in memory, several writers, and a server that dies or hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use proptest::prelude::*;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::script::LedgerScript;
use crate::store::ledger::window::Window;
use crate::store::ledger::{Budget, Clock, Ledger, LimitStatus, Reservation, ReserveError};
use crate::store::redis::{RedisLink, RedisServer};
use crate::store::{StatePlace, Unavailable, UsageCount, UsageSums};
use crate::turn::{Grant, Period, Usage};

/// 2028-02-28T12:00:00Z.
const NOW: u64 = 1_835_352_000_000;

/// Longest wait for a condition.
const DEADLINE: Duration = Duration::from_secs(20);

fn budget(text: &str) -> Budget {
    text.parse().unwrap()
}

fn usage(input: u64, output: u64) -> Usage {
    Usage {
        input_tokens: input,
        output_tokens: output,
        ..Usage::default()
    }
}

/// A ledger with its writer.
struct Stand {
    ledger: Ledger,
    writer: JoinHandle<()>,
}

impl Stand {
    /// Opens a ledger and waits until it answers.
    async fn open(place: &StatePlace, clock: Clock) -> Self {
        let (ledger, writer) = Ledger::open(place, clock).unwrap();
        let stand = Self {
            ledger,
            writer: tokio::task::spawn_blocking(|| writer.run()),
        };
        stand.wait("day=1").await;
        stand
    }

    async fn on(server: &RedisServer) -> Self {
        Self::open(&place(server, Unavailable::Reject), at(NOW)).await
    }

    /// Waits until the ledger answers.
    async fn wait(&self, limits: &str) -> LimitStatus {
        let answer = async {
            loop {
                match self.ledger.status("ann", budget(limits)).await {
                    Some(mut status) => return status.remove(0),
                    None => sleep(Duration::from_millis(20)).await,
                }
            }
        };
        timeout(DEADLINE, answer).await.expect("the ledger answers")
    }

    async fn reserve(&self, limits: &str, input: u64) -> Result<Reservation, ReserveError> {
        self.ledger.reserve("ann", budget(limits), input).await
    }

    /// Returns the spent and the reserved tokens of the first limit.
    async fn tokens(&self, limits: &str) -> (u64, u64) {
        let status = self.wait(limits).await;
        (status.spent, status.reserved)
    }

    /// Waits until these tokens are spent and none are reserved.
    async fn settles(&self, limits: &str, spent: u64) {
        let settled = async {
            while self.tokens(limits).await != (spent, 0) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let result = timeout(DEADLINE, settled).await;
        assert!(result.is_ok(), "{:?}", self.tokens(limits).await);
    }

    async fn close(self) {
        drop(self.ledger);
        self.writer.await.unwrap();
    }
}

fn place(server: &RedisServer, unavailable: Unavailable) -> StatePlace {
    StatePlace::Redis(server.address(), unavailable)
}

fn at(now: u64) -> Clock {
    Clock::new(move || now)
}

async fn stream_to_the_end(ledger: &Ledger, limits: &str) -> u64 {
    let Ok(reservation) = ledger.reserve("ann", budget(limits), 0).await else {
        return 0;
    };
    let (mut granted, mut source) = (reservation.first_output(), reservation.output_budget());
    while let Grant::Tokens(tokens) = source.ask().await.unwrap() {
        granted += tokens;
    }
    reservation.settle_used_up(&Usage::default());
    granted
}

#[test]
fn windows_of_the_script_are_those_of_the_sidecar() {
    let server = RedisServer::start();
    let (mut connection, script) = (server.connection(), LedgerScript::new());
    let (first, last) = (946_684_800_000_u64, 4_102_444_800_000);
    let years = (0..1200).map(|month| first + month * 2_629_746_000);
    let edges = years.flat_map(|time| {
        let end = Window::at(Period::Month, time).end;
        [time, end - 1, end, end + 86_400_000 * 28]
    });
    let random = (0..2000).map(|_| first + getrandom::u64().unwrap() % (last - first));
    for now in edges.chain(random) {
        for period in [
            Period::Day,
            Period::Month,
            Period::Rolling(90),
            Period::Rolling(7 * 3600),
        ] {
            let (bucket, first, end): (u64, u64, i64) =
                script.window(period, now).invoke(&mut connection).unwrap();
            let end = u64::try_from(end).unwrap_or(u64::MAX);
            let expected = Window::at(period, now);
            assert_eq!(Window { bucket, first, end }, expected, "{period:?} {now}");
        }
    }
}

/// A step of the test below.
#[derive(Debug, Clone)]
enum Step {
    Reserve(u64),
    Extend,
    Settle(u64, bool),
    Drop,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u64..300).prop_map(Step::Reserve),
        Just(Step::Extend),
        (0_u64..400, any::<bool>()).prop_map(|(output, used_up)| Step::Settle(output, used_up)),
        Just(Step::Drop),
        prop_oneof![
            0_u64..100_000,
            Just(24 * 3_600_000),
            Just(20 * 24 * 3_600_000)
        ]
        .prop_map(Step::Wait),
    ]
}

/// Takes the steps, and returns the answers of the ledger.
async fn answers(place: &StatePlace, client: &str, limits: &str, steps: &[Step]) -> Vec<String> {
    let now = Arc::new(AtomicU64::new(NOW));
    let clock = Arc::clone(&now);
    let stand = Stand::open(place, Clock::new(move || clock.load(Ordering::SeqCst))).await;
    let (mut open, mut answers) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Reserve(input) => {
                let reserved = stand.ledger.reserve(client, budget(limits), *input).await;
                let first = reserved.as_ref().map(Reservation::first_output);
                if let Ok(reservation) = &reserved {
                    let status = stand.ledger.status(client, budget(limits)).await;
                    assert_eq!(Some(reservation.limits()), status.as_deref());
                }
                answers.push(format!("{:?}", first.map_err(|error| *error)));
                open.extend(reserved);
            }
            Step::Extend => {
                if let Some(reservation) = open.last() {
                    let grant = reservation.output_budget().ask().await.unwrap();
                    answers.push(format!("{grant:?}"));
                }
            }
            Step::Settle(output, is_used_up) => match (open.pop(), is_used_up) {
                (Some(reservation), true) => reservation.settle_used_up(&usage(7, *output)),
                (Some(reservation), false) => reservation.settle(&usage(7, *output)),
                (None, _) => {}
            },
            Step::Drop => drop(open.pop()),
            Step::Wait(time) => {
                now.fetch_add(*time, Ordering::SeqCst);
            }
        }
        answers.push(format!(
            "{:?}",
            stand.ledger.status(client, budget(limits)).await
        ));
    }
    drop(open);
    stand.close().await;
    answers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn redis_answers_as_memory_does(
        steps in prop::collection::vec(step(), 1..40),
        limit in 1_u64..3000,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = RedisServer::start();
        let limits = format!("day={limit},month={},1h.output={limit},30m.input=900", 4 * limit);
        runtime.block_on(async {
            let memory = answers(&StatePlace::Memory, "ann", &limits, &steps).await;
            let redis = answers(&place(&server, Unavailable::Reject), "ann", &limits, &steps).await;
            assert_eq!(redis, memory);
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_turns_of_two_sidecars_are_granted_exactly_what_is_left() {
    let server = RedisServer::start();
    let stands = [Stand::on(&server).await, Stand::on(&server).await];
    let mut streams = JoinSet::new();
    for stream in 0..64 {
        let ledger = stands[stream % 2].ledger.clone();
        streams.spawn(async move { stream_to_the_end(&ledger, "day.output=20000").await });
    }
    let granted: u64 = streams.join_all().await.into_iter().sum();
    assert_eq!(granted, 20_000);
    for stand in stands {
        stand.settles("day.output=20000", 20_000).await;
        stand.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_of_a_dead_process_count_as_spent_and_a_late_settlement_adds_the_rest() {
    let server = RedisServer::start();
    let (first, second) = (Stand::on(&server).await, Stand::on(&server).await);
    let limits = "day=100000";
    let reservation = first.reserve(limits, 30).await.unwrap();
    let held = 30 + reservation.first_output();
    assert_eq!(second.tokens(limits).await, (0, held));
    // As after a pause of the process that is longer than its lease.
    server.end_leases();
    assert_eq!(second.tokens(limits).await, (held, 0));
    // It goes on: the next slice is reserved again.
    let Grant::Tokens(more) = reservation.output_budget().ask().await.unwrap() else {
        panic!("enough is left");
    };
    assert_eq!(second.tokens(limits).await, (held, more));
    reservation.settle(&usage(30, 5000));
    second.settles(limits, 5030).await;
    first.close().await;
    second.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_server_loses_no_token_and_a_settlement_arrives_after_its_restart() {
    let mut server = RedisServer::start();
    let stand = Stand::on(&server).await;
    let limits = "day=100000";
    let [running, ending] = [
        stand.reserve(limits, 10).await,
        stand.reserve(limits, 10).await,
    ];
    let (running, ending) = (running.unwrap(), ending.unwrap());
    let held = 20 + running.first_output() + ending.first_output();
    server.kill();
    assert_eq!(running.output_budget().ask().await, Ok(Grant::Unavailable));
    let refused = stand.reserve(limits, 10).await;
    assert!(
        matches!(refused, Err(ReserveError::Unavailable)),
        "{refused:?}"
    );
    ending.settle(&usage(10, 100));
    server.restart();
    let fresh = Stand::on(&server).await;
    assert!(
        fresh.tokens(limits).await.1 <= held,
        "nothing is granted twice"
    );
    stand.wait(limits).await;
    running.settle(&usage(10, 200));
    stand.settles(limits, 320).await;
    fresh.close().await;
    stand.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_hangs_holds_no_request_and_grants_nothing_twice() {
    let server = RedisServer::start();
    let stand = Stand::on(&server).await;
    let limits = "day=100000";
    let running = stand.reserve(limits, 10).await.unwrap();
    server.signal(Signal::SIGSTOP);
    // The first waits for its answer, the others know.
    for _ in 0..100 {
        let refused = timeout(DEADLINE, stand.reserve(limits, 10)).await.unwrap();
        assert!(
            matches!(refused, Err(ReserveError::Unavailable)),
            "{refused:?}"
        );
    }
    running.settle(&usage(10, 200));
    server.signal(Signal::SIGCONT);
    // The reservations that Redis has found in its socket are released.
    stand.settles(limits, 210).await;
    stand.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_that_are_allowed_without_the_server_are_counted_once_it_is_back() {
    let mut server = RedisServer::start();
    let stand = Stand::open(&place(&server, Unavailable::Allow), at(NOW)).await;
    let limits = "day=1000";
    server.kill();
    let reservation = stand.reserve(limits, 10).await.unwrap();
    let grant = reservation.output_budget().ask().await;
    assert!(matches!(grant, Ok(Grant::Tokens(1..))), "{grant:?}");
    reservation.settle(&usage(10, 600));
    server.restart();
    stand.settles(limits, 610).await;
    stand.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_that_of_all_sidecars_and_waits_for_a_server_that_is_away() {
    let mut server = RedisServer::start();
    let stands = [Stand::on(&server).await, Stand::on(&server).await];
    let count = |client: &str, hours: u64, prompt_tokens: u64| UsageCount {
        client: client.into(),
        ts: NOW - hours * 3_600_000 + 5,
        sums: UsageSums {
            requests: 1,
            prompt_tokens,
            total_tokens: prompt_tokens,
            ..UsageSums::default()
        },
    };
    stands[0].ledger.count_usage(count("ann", 0, 1));
    stands[1].ledger.count_usage(count("ann", 0, 10));
    stands[1].ledger.count_usage(count("ann", 5000, 100));
    stands[1].ledger.count_usage(count("bob", 0, 1000));
    let sum = async |stand: &Stand, client| {
        let hours = stand
            .ledger
            .usage(client)
            .await
            .expect("a fleet")
            .unwrap_or_default();
        hours
            .iter()
            .map(|hour| (hour.sums.requests, hour.sums.total_tokens))
            .fold((0, 0), |sum, hour| (sum.0 + hour.0, sum.1 + hour.1))
    };
    let counted = async |turns, tokens| {
        let counted = async {
            while sum(&stands[1], None).await != (turns, tokens) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let result = timeout(DEADLINE, counted).await;
        result.expect("every turn is counted");
    };
    counted(4, 1111).await;
    server.kill();
    while stands[0].ledger.link().is_some_and(RedisLink::is_up) {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(stands[0].ledger.usage(None).await, Some(Err(_))));
    stands[0].ledger.count_usage(count("bob", 0, 10_000));
    server.restart();
    counted(5, 11_111).await;
    for stand in stands {
        assert_eq!(sum(&stand, Some("ann")).await, (3, 111));
        assert_eq!(sum(&stand, Some("bob")).await, (2, 11_000));
        assert_eq!(sum(&stand, Some("eve")).await, (0, 0));
        stand.close().await;
    }
}
