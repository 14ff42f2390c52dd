//! The ledger with a clock that the test sets, in memory and in a file.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use proptest::prelude::*;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;

use super::window::Window;
use super::*;
use crate::store::StatePlace;
use crate::turn::{Grant, OutputBudget, Period, Usage};

pub(super) fn ms(text: &str) -> u64 {
    let time = time::OffsetDateTime::parse(text, &Rfc3339).unwrap();
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap()
}

pub(super) fn budget(text: &str) -> Budget {
    text.parse().unwrap()
}

pub(super) fn output(tokens: u64) -> Usage {
    Usage {
        output_tokens: tokens,
        ..Usage::default()
    }
}

/// A ledger with its writer and its clock.
pub(super) struct Stand {
    pub(super) ledger: Ledger,
    now: Arc<AtomicU64>,
    writer: JoinHandle<()>,
}

impl Stand {
    pub(super) fn open(place: &StatePlace, now: u64) -> Self {
        let now = Arc::new(AtomicU64::new(now));
        let clock = Arc::clone(&now);
        let clock = Clock::new(move || clock.load(Ordering::SeqCst));
        let (ledger, writer) = Ledger::open(place, clock).unwrap();
        Self {
            ledger,
            now,
            writer: std::thread::spawn(|| writer.run()),
        }
    }

    pub(super) fn set(&self, time: &str) {
        self.now.store(ms(time), Ordering::SeqCst);
    }

    pub(super) async fn spend(&self, limits: &str, tokens: u64) {
        let reservation = self.ledger.reserve("ann", budget(limits), 0).await.unwrap();
        reservation.settle(&output(tokens));
        // The writer has carried out the settlement before it answers this.
        self.status(limits).await;
    }

    pub(super) async fn status(&self, limits: &str) -> LimitStatus {
        let status = self.ledger.status("ann", budget(limits)).await;
        status.unwrap().remove(0)
    }

    pub(super) async fn spent(&self, limits: &str) -> u64 {
        self.status(limits).await.spent
    }

    /// Ends the writer with everything written.
    pub(super) fn close(self) {
        drop(self.ledger);
        self.writer.join().unwrap();
    }
}

pub(super) async fn more(source: &mut dyn OutputBudget) -> Grant {
    source.ask().await.unwrap()
}

#[test]
fn budgets_are_parsed_and_weigh_cached_input_and_reasoning() {
    for text in [
        "",
        "day",
        "day=",
        "day=-1",
        "day=1.5",
        "day=1,day=2",
        "week=1",
        "day.cached=1",
        "0h=1",
        "32d=1",
        "cached=0.5",
        "day=1,cached=2000",
        "day=1,cached=0.1234",
        "day=9999999999999999999",
    ] {
        assert_eq!(text.parse::<Budget>(), Err(BudgetError), "{text:?}");
    }
    let weighted = budget("day=200000, month.output=5000000 ,5h.input=1,cached=0.1,reasoning=1.5");
    let names = weighted.limits().iter().map(|(name, _)| name.to_string());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["day", "month.output", "5h.input"]
    );
    let usage = Usage {
        input_tokens: 101,
        cached_input_tokens: 100,
        output_tokens: 30,
        reasoning_tokens: 20,
    };
    let tokens = |input, output| Tokens { input, output };
    assert_eq!(weighted.weigh(&usage), tokens(11, 40));
    assert_eq!(budget("day=1").weigh(&usage), tokens(101, 30));
}

#[test]
fn days_and_months_begin_at_their_utc_midnight() {
    for (period, now, first, end) in [
        (
            Period::Day,
            "2028-02-29T23:59:59.999Z",
            "2028-02-29T00:00:00Z",
            "2028-03-01T00:00:00Z",
        ),
        (
            Period::Month,
            "2028-02-29T23:59:59.999Z",
            "2028-02-01T00:00:00Z",
            "2028-03-01T00:00:00Z",
        ),
        (
            Period::Month,
            "2027-02-28T23:59:59.999Z",
            "2027-02-01T00:00:00Z",
            "2027-03-01T00:00:00Z",
        ),
        (
            Period::Month,
            "2026-12-31T23:59:59.999Z",
            "2026-12-01T00:00:00Z",
            "2027-01-01T00:00:00Z",
        ),
        (
            Period::Day,
            "2028-03-01T00:00:00Z",
            "2028-03-01T00:00:00Z",
            "2028-03-02T00:00:00Z",
        ),
        (
            Period::Month,
            "2028-03-01T00:00:00Z",
            "2028-03-01T00:00:00Z",
            "2028-04-01T00:00:00Z",
        ),
    ] {
        let expected = Window {
            bucket: ms(first),
            first: ms(first),
            end: ms(end),
        };
        assert_eq!(Window::at(period, ms(now)), expected, "{period:?} {now}");
    }
}

#[tokio::test]
async fn windows_open_at_their_boundary_over_a_leap_day_and_a_clock_that_jumps() {
    let stand = Stand::open(&StatePlace::Memory, ms("2028-02-28T12:00:00Z"));
    let (day, month) = ("day=100", "month=1000");
    stand.spend(day, 10).await;
    for (now, day_spent, month_spent) in [
        ("2028-02-28T23:59:59.999Z", 10, 10),
        ("2028-02-29T00:00:00Z", 0, 10),
        ("2028-02-29T23:59:59.999Z", 0, 10),
        ("2028-03-01T00:00:00Z", 0, 0),
        // Set back, and forward again.
        ("2028-02-28T00:00:00Z", 10, 10),
        ("2031-07-01T00:00:00Z", 0, 0),
        ("2028-02-28T23:00:00Z", 10, 10),
    ] {
        stand.set(now);
        assert_eq!(stand.spent(day).await, day_spent, "{now}");
        assert_eq!(stand.spent(month).await, month_spent, "{now}");
    }
    // A turn over midnight counts in both windows at most once: reserved in the second until it settles there.
    stand.set("2028-02-29T23:59:59Z");
    let reservation = stand.ledger.reserve("ann", budget(day), 7).await.unwrap();
    stand.set("2028-03-01T00:00:01Z");
    let status = stand.status(day).await;
    assert_eq!((status.spent, status.reserved > 7), (0, true));
    assert_eq!(status.resets_at_ms, ms("2028-03-02T00:00:00Z"));
    reservation.settle(&output(9));
    let status = stand.status(day).await;
    assert_eq!((status.spent, status.reserved), (9, 0));
    stand.close();
}

#[tokio::test]
async fn tokens_leave_a_rolling_window_after_its_length_and_at_most_a_sixtieth_more() {
    let stand = Stand::open(&StatePlace::Memory, ms("2028-02-28T12:00:30Z"));
    let limits = "1h=100";
    stand.spend(limits, 10).await;
    stand.set("2028-02-28T12:30:00Z");
    stand.spend(limits, 5).await;
    for (now, spent) in [
        ("2028-02-28T13:00:30Z", 15),
        ("2028-02-28T13:01:00Z", 5),
        ("2028-02-28T13:30:59Z", 5),
        ("2028-02-28T13:31:00Z", 0),
        // Set back: no token is forgotten.
        ("2028-02-28T11:00:00Z", 15),
    ] {
        stand.set(now);
        assert_eq!(stand.spent(limits).await, spent, "{now}");
    }
    stand.set("2028-02-28T12:59:00Z");
    let resets = stand.status(limits).await.resets_at_ms;
    assert_eq!(resets, ms("2028-02-28T13:01:00Z"));
    stand.close();
}

#[tokio::test]
async fn refusal_tells_spent_tokens_from_reserved_ones() {
    let stand = Stand::open(&StatePlace::Memory, ms("2028-02-28T12:00:00Z"));
    let limits = || budget("day=1000, month.input=5000");
    let running = stand.ledger.reserve("ann", limits(), 900).await.unwrap();
    let refused = stand.ledger.reserve("ann", limits(), 500).await;
    assert!(
        matches!(refused, Err(ReserveError::Reserved(_))),
        "{refused:?}"
    );
    running.settle(&Usage {
        input_tokens: 900,
        ..Usage::default()
    });
    let Err(ReserveError::Spent(limit)) = stand.ledger.reserve("ann", limits(), 500).await else {
        panic!("500 tokens do not fit into 100");
    };
    assert_eq!(limit.name.to_string(), "day");
    assert_eq!(limit.resets_at_ms, ms("2028-02-29T00:00:00Z"));
    assert!(stand.ledger.reserve("bob", limits(), 500).await.is_ok());
    stand.close();
}

/// Streams until the budget ends the turn, and returns the tokens that were granted.
async fn stream_to_the_end(ledger: &Ledger, limits: &str) -> u64 {
    let Ok(reservation) = ledger.reserve("ann", budget(limits), 0).await else {
        return 0;
    };
    let (mut granted, mut source) = (reservation.first_output(), reservation.output_budget());
    while let Grant::Tokens(tokens) = more(source.as_mut()).await {
        granted += tokens;
        tokio::task::yield_now().await;
    }
    reservation.settle_used_up(&Usage::default());
    granted
}

#[tokio::test]
async fn parallel_turns_are_granted_exactly_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    for place in [
        StatePlace::Memory,
        StatePlace::File(folder.path().join("state.sqlite3")),
    ] {
        let stand = Stand::open(&place, ms("2028-02-28T12:00:00Z"));
        let mut streams = JoinSet::new();
        for _ in 0..64 {
            let ledger = stand.ledger.clone();
            streams.spawn(async move { stream_to_the_end(&ledger, "day.output=20000").await });
        }
        let granted: u64 = streams.join_all().await.into_iter().sum();
        assert_eq!(granted, 20_000, "{place:?}");
        let status = stand.status("day.output=20000").await;
        assert_eq!((status.spent, status.reserved), (20_000, 0));
        assert!(status.is_spent());
        stand.close();
    }
}

#[tokio::test]
async fn reservation_whose_request_has_left_is_closed() {
    let stand = Stand::open(&StatePlace::Memory, ms("2028-02-28T12:00:00Z"));
    {
        let mut reserving = Box::pin(stand.ledger.reserve("ann", budget("day=100"), 50));
        let polled = futures_util::poll!(&mut reserving);
        drop((polled, reserving));
    }
    // The writer closes it when it answers, in the same batch as the first status or before.
    stand.status("day=100").await;
    stand.status("day=100").await;
    let status = stand.status("day=100").await;
    assert_eq!((status.spent, status.reserved), (0, 0));
    stand.close();
}

#[tokio::test]
async fn spent_tokens_survive_a_restart_and_reservations_of_a_dead_process_count_as_spent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite3");
    let place = StatePlace::File(path.clone());
    let now = ms("2028-02-28T12:00:00Z");
    let stand = Stand::open(&place, now);
    stand.spend("day=1000", 10).await;
    stand.close();
    {
        let other = rusqlite::Connection::open(&path).unwrap();
        let dead = "INSERT INTO reservations VALUES (1, '1-1-other boot', 'ann', 30, 40)";
        other.execute(dead, []).unwrap();
    }
    let stand = Stand::open(&place, now);
    let status = stand.status("day=1000").await;
    assert_eq!((status.spent, status.reserved), (80, 0));
    stand.close();
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn two_sidecars_on_one_file_share_the_budget_during_a_handover() {
    let folder = tempfile::tempdir().unwrap();
    let place = StatePlace::File(folder.path().join("state.sqlite3"));
    let now = ms("2028-02-28T12:00:00Z");
    let (first, second) = (Stand::open(&place, now), Stand::open(&place, now));
    let limits = "day.output=5000";
    let (one, other) = tokio::join!(
        stream_to_the_end(&first.ledger, limits),
        stream_to_the_end(&second.ledger, limits)
    );
    assert_eq!(one + other, 5000);
    // Reserved until the other sidecar has written its settlement, then spent.
    for stand in [&first, &second] {
        let status = stand.status(limits).await;
        assert_eq!(status.spent + status.reserved, 5000);
        while stand.spent(limits).await != 5000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    first.close();
    second.close();
}

#[tokio::test]
async fn file_that_cannot_be_written_grants_nothing_and_forgets_no_settlement() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite3");
    let now = ms("2028-02-28T12:00:00Z");
    let stand = Stand::open(&StatePlace::File(path.clone()), now);
    let running = stand
        .ledger
        .reserve("ann", budget("day=1000"), 5)
        .await
        .unwrap();
    let mut source = running.output_budget();
    // Another process holds the file, so that no change can be written; a full disk fails at the same calls.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(more(source.as_mut()).await, Grant::Unavailable);
    let refused = stand.ledger.reserve("ann", budget("day=1000"), 5).await;
    assert!(
        matches!(refused, Err(ReserveError::Unavailable)),
        "{refused:?}"
    );
    drop(source);
    running.settle(&output(20));
    let status = stand.status("day=1000").await;
    assert_eq!((status.spent, status.reserved), (20, 0));
    other.execute_batch("ROLLBACK").unwrap();
    stand.spend("day=1000", 1).await;
    assert_eq!(stand.spent("day=1000").await, 21);
    stand.close();
    let stand = Stand::open(&StatePlace::File(path), now);
    assert_eq!(stand.spent("day=1000").await, 21);
    stand.close();
}

#[test]
fn ratios_follow_the_turns_of_a_model() {
    let ratios = TokenRatios::default();
    let close = |ratio: f64, expected: f64| (ratio - expected).abs() < 0.1;
    assert!(close(ratios.chars_per_token("a"), 4.0));
    let mut notes = 0;
    for _ in 0..100 {
        notes += usize::from(ratios.learn("a", 2000, &output(1000)).is_some());
        // Nothing that could be text.
        ratios.learn("b", 0, &output(0));
        ratios.learn("b", 100_000, &output(1));
    }
    assert!(close(ratios.chars_per_token("a"), 2.0));
    assert!(
        (1..20).contains(&notes),
        "noted while the ratio changes: {notes}"
    );
    assert!(close(ratios.chars_per_token("b"), 4.0));
    assert_eq!(ratios.estimate("a", 8, 100).output_tokens, 50);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_budget_that_the_filter_sends_can_be_read(
        items in prop::collection::vec("(day|month|[0-9]{1,3}[smhd]|cached|reasoning)(\\.input|\\.output)?=[0-9]{1,4}(\\.[0-9]{1,4})?", 1..4),
    ) {
        if let Some(sent) = filter::budget::Budget::parse(&items.join(",")) {
            prop_assert!(sent.as_str().parse::<Budget>().is_ok(), "{sent:?}");
        }
    }

    #[test]
    fn no_order_of_turns_promises_more_than_the_limit(
        turns in prop::collection::vec((0_u64..300, 0_usize..6, any::<bool>()), 1..30),
        limit in 1_u64..3000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stand = Stand::open(&StatePlace::Memory, ms("2028-02-28T12:00:00Z"));
            let limits = format!("day={limit}");
            let mut open = Vec::new();
            for (input, slices, settles) in turns {
                if let Ok(reservation) = stand.ledger.reserve("ann", budget(&limits), input).await {
                    let mut granted = reservation.first_output();
                    let mut source = reservation.output_budget();
                    for _ in 0..slices {
                        if let Grant::Tokens(tokens) = more(source.as_mut()).await {
                            granted += tokens;
                        }
                    }
                    open.push((reservation, Usage { input_tokens: input, output_tokens: granted, ..Usage::default() }));
                }
                if settles && let Some((reservation, usage)) = open.pop() {
                    reservation.settle(&usage);
                }
                let status = stand.status(&limits).await;
                assert!(status.spent + status.reserved <= limit, "{status:?}");
            }
            drop(open);
            stand.close();
        });
    }
}

const CRASH_FILE: &str = "LEDGER_TEST_CRASH_FILE";

/// The process that the test below kills: grants slices and settles turns, and prints each before it goes on.
#[test]
fn child_of_the_crash_test() {
    let Some(path) = std::env::var_os(CRASH_FILE) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stand = Stand::open(&StatePlace::File(path.into()), ms("2028-02-28T12:00:00Z"));
        while let Ok(reservation) = stand.ledger.reserve("ann", budget(CRASH_BUDGET), 0).await {
            let (mut granted, mut source) =
                (reservation.first_output(), reservation.output_budget());
            println!("granted {granted}");
            for _ in 0..3 {
                if let Grant::Tokens(tokens) = more(source.as_mut()).await {
                    println!("granted {tokens}");
                    granted += tokens;
                }
            }
            reservation.settle(&output(granted));
        }
    });
}

const CRASH_BUDGET: &str = "day.output=1000000000";

#[test]
fn sigkill_at_any_moment_grants_no_token_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite3");
    let mut granted = 0;
    for round in 0..100 {
        granted += crash_after(&path, Duration::from_micros(500 * round));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let spent = runtime.block_on(async {
        let stand = Stand::open(&StatePlace::File(path), ms("2028-02-28T12:00:00Z"));
        let status = stand.status(CRASH_BUDGET).await;
        assert_eq!(status.reserved, 0);
        let raised = format!("day.output={}", status.spent + 1000);
        assert_eq!(stream_to_the_end(&stand.ledger, &raised).await, 1000);
        stand.close();
        status.spent
    });
    // What was granted is spent, and for each crash the slices of one turn and twice the room of an allocation more at most.
    let (slices, room) = (256 + 256 + 512 + 1024, 2 * 8192);
    assert!(
        spent >= granted && spent <= granted + 100 * (slices + room),
        "{spent} {granted}"
    );
}

/// Returns the tokens that a process was granted before it was killed.
fn crash_after(path: &Path, delay: Duration) -> u64 {
    let mut child = GrantedChild::start("child_of_the_crash_test", CRASH_FILE, path);
    // Killed under load: counted from its first grant on.
    std::thread::sleep(delay);
    child.kill();
    let rest = child.lines.map_while(Result::ok);
    child.first + rest.filter_map(|line| granted(&line)).sum::<u64>()
}

/// A process that runs one of the tests above, and has printed its first grant.
struct GrantedChild {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The tokens of the first grant.
    first: u64,
}

impl GrantedChild {
    fn start(test: &str, variable: &str, path: &Path) -> Self {
        let test = format!("store::ledger::tests::{test}");
        let mut process = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--nocapture"])
            .env(variable, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| granted(&line))
            .expect("a grant");
        Self {
            process,
            lines,
            first,
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn granted(line: &str) -> Option<u64> {
    let (_, tokens) = line.split_once("granted ")?;
    tokens.parse().ok()
}

const OPEN_FILE: &str = "LEDGER_TEST_OPEN_FILE";

/// The process that the test below kills: has an open turn.
#[test]
fn child_with_an_open_turn() {
    let Some(path) = std::env::var_os(OPEN_FILE) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stand = Stand::open(&StatePlace::File(path.into()), ms("2028-02-28T12:00:00Z"));
        let limits = budget("day=1000,5h=1000");
        let reserved = stand.ledger.reserve("ann", limits, 40).await;
        println!("granted {}", 40 + reserved.as_ref().unwrap().first_output());
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn tokens_of_another_sidecar_are_spent_when_it_dies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite3");
    let stand = Stand::open(&StatePlace::File(path.clone()), ms("2028-02-28T12:00:00Z"));
    let mut child = GrantedChild::start("child_with_an_open_turn", OPEN_FILE, &path);
    let before = stand.status("day=1000").await;
    assert!(before.reserved >= child.first, "{before:?}");
    assert_eq!(before.spent, 0);
    // It changes nothing in the file any more, also before its parent waits for it.
    child.process.kill().unwrap();
    let spent = async {
        while stand.status("day=1000").await.reserved > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let result = tokio::time::timeout(Duration::from_secs(10), spent).await;
    result.expect("the tokens are spent");
    for limits in ["day=1000", "5h=1000"] {
        assert_eq!(stand.spent(limits).await, before.reserved, "{limits}");
    }
    child.kill();
    stand.close();
}
