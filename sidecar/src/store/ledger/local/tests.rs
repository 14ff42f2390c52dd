//! The allocations in the file of the ledger.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::state::LocalState;
use super::writer::WRITE_DELAY;
use crate::store::StatePlace;
use crate::store::ledger::reservation::Settlement;
use crate::store::ledger::tests::{Stand, budget, more, ms, output};
use crate::store::ledger::{Reservation, ReserveError, Tokens};
use crate::turn::Grant;

const LIMITS: &str = "day.output=100000";

fn noon() -> u64 {
    ms("2028-02-28T12:00:00Z")
}

fn open(path: &Path) -> Stand {
    Stand::open(&StatePlace::File(path.to_owned()), noon())
}

/// The tokens of output in the file: those that are spent, and those of all allocations.
fn in_file(path: &Path) -> (u64, u64) {
    let file = Connection::open(path).unwrap();
    let sum = |query: &str| -> u64 {
        let sum: i64 = file.query_row(query, [], |row| row.get(0)).unwrap();
        sum.try_into().unwrap()
    };
    (
        sum("SELECT coalesce(sum(output), 0) FROM spent WHERE period = 0"),
        sum("SELECT coalesce(sum(output), 0) FROM reservations"),
    )
}

async fn reserve(stand: &Stand, limits: &str) -> Result<Reservation, ReserveError> {
    stand.ledger.reserve("ann", budget(limits), 0).await
}

async fn assert_unavailable(stand: &Stand, limits: &str) {
    let refused = reserve(stand, limits).await;
    assert!(
        matches!(refused, Err(ReserveError::Unavailable)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn turns_within_the_allocation_need_no_write_and_the_next_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite3");
    let stand = open(&path);
    let mut open = vec![reserve(&stand, LIMITS).await.unwrap()];
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Room for 1/64 of the 99,744 tokens that are left: six slices of 256.
    for _ in 0..6 {
        open.push(reserve(&stand, LIMITS).await.unwrap());
    }
    assert_unavailable(&stand, LIMITS).await;
    assert!(!stand.ledger.is_reachable());
    let status = stand.status(LIMITS).await;
    assert_eq!((status.spent, status.reserved), (0, 7 * 256));
    // A settlement that is not written takes as much of the room as its turn did.
    open.pop().unwrap().settle(&output(256));
    assert_unavailable(&stand, LIMITS).await;
    other.execute_batch("ROLLBACK").unwrap();
    open.push(reserve(&stand, LIMITS).await.unwrap());
    assert!(stand.ledger.is_reachable());
    // The writer answers a status after the write of the settlement.
    assert_eq!(stand.spent(LIMITS).await, 256);
    assert_eq!(in_file(&path).0, 256);
    drop(open);
    stand.close();
    assert_eq!(in_file(&path), (256, 0));
}

#[tokio::test]
async fn allocation_ends_with_the_last_turn_of_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite3");
    let stand = open(&path);
    let (first, second) = (
        reserve(&stand, LIMITS).await.unwrap(),
        reserve(&stand, LIMITS).await.unwrap(),
    );
    first.settle(&output(100));
    sleep(WRITE_DELAY * 2).await;
    let (spent, allocated) = in_file(&path);
    assert_eq!(spent, 100);
    assert!(allocated >= 256 + 99_644 / 64 / 2, "{allocated}");
    second.settle(&output(50));
    sleep(WRITE_DELAY * 2).await;
    assert_eq!(in_file(&path), (150, 0));
    stand.close();
}

#[tokio::test]
async fn allocation_has_no_room_where_little_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite3");
    let stand = open(&path);
    let turn = reserve(&stand, "day.output=60").await.unwrap();
    assert_eq!(in_file(&path), (0, turn.first_output()));
    let mut source = turn.output_budget();
    let mut granted = turn.first_output();
    while let Grant::Tokens(tokens) = more(source.as_mut()).await {
        granted += tokens;
        assert_eq!(in_file(&path), (0, granted));
    }
    assert_eq!(granted, 60);
    drop((turn, source));
    stand.close();
}

#[tokio::test]
async fn allocations_of_another_sidecar_are_reserved_and_its_turns_end_at_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite3");
    let (first, second) = (open(&path), open(&path));
    let turn = reserve(&first, "day.output=10000").await.unwrap();
    let (_, allocated) = in_file(&path);
    assert!(allocated > turn.first_output());
    let status = second.status("day.output=10000").await;
    assert_eq!((status.spent, status.reserved), (0, allocated));
    let other = reserve(&second, "day.output=10000").await.unwrap();
    let mut source = other.output_budget();
    let mut granted = other.first_output();
    while let Grant::Tokens(tokens) = more(source.as_mut()).await {
        granted += tokens;
    }
    assert_eq!(granted, 10_000 - allocated);
    other.settle(&output(granted));
    turn.settle(&output(1));
    drop(source); // It keeps the writer.
    second.close();
    assert_eq!(first.spent("day.output=10000").await, granted + 1);
    first.close();
}

#[test]
fn allocation_covers_during_a_write_only_tokens_of_before_and_after() {
    let mut state = LocalState::new(Some(1));
    let (client, budget) = (Arc::<str>::from("ann"), Arc::new(budget(LIMITS)));
    let tokens = |output| Tokens { input: 0, output };
    let large = state.enter(&client, &budget, tokens(20_000), Vec::new());
    state.enter(&client, &budget, tokens(100), Vec::new());
    state.touch(&client);
    assert!(!state.covers("ann", tokens(1)), "nothing is written yet");
    let first = state.take_change(noon());
    assert!(!state.covers("ann", tokens(1)), "nothing is written yet");
    state.finish(&first);
    assert!(state.covers("ann", tokens(1)));
    let nothing = Settlement::of_nothing(large.id, Arc::clone(&client), budget);
    state.settle(&nothing, noon());
    assert!(state.covers("ann", tokens(10_000)));
    let failed = state.take_change(noon());
    assert!(!state.covers("ann", tokens(10_000)), "it becomes smaller");
    assert!(state.covers("ann", tokens(1000)));
    state.put_back(failed);
    assert!(state.covers("ann", tokens(10_000)));
    let written = state.take_change(noon());
    state.finish(&written);
    assert!(!state.covers("ann", tokens(10_000)));
    assert!(state.covers("ann", tokens(1000)));
}

#[tokio::test]
async fn file_that_cannot_be_read_refuses_nothing_as_spent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite3");
    let (first, second) = (open(&path), open(&path));
    let limits = "day.output=300";
    let turn = reserve(&second, limits).await.unwrap();
    let large = reserve(&first, limits).await.unwrap();
    let mut source = large.output_budget();
    while let Grant::Tokens(_) = more(source.as_mut()).await {}
    let mut source_of_other = turn.output_budget();
    while let Grant::Tokens(_) = more(source_of_other.as_mut()).await {}
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_unavailable(&second, limits).await;
    let grant = more(source_of_other.as_mut()).await;
    assert_eq!(grant, Grant::Unavailable);
    other.execute_batch("ROLLBACK").unwrap();
    let grant = more(source_of_other.as_mut()).await;
    assert!(matches!(grant, Grant::Spent(_)), "{grant:?}");
    drop((turn, large, source, source_of_other));
    first.close();
    second.close();
}

#[tokio::test]
async fn old_buckets_leave_the_file_while_the_sidecar_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite3");
    let stand = open(&path);
    for minute in 0..400 {
        let (hours, minutes) = (minute / 60, minute % 60);
        stand.set(&format!("2028-02-28T{hours:02}:{minutes:02}:00Z"));
        let turn = stand.ledger.reserve("ann", budget("1h=100000"), 0).await;
        turn.unwrap().settle(&output(1));
    }
    let spent = stand.spent("1h=100000").await;
    assert!((60..=62).contains(&spent), "{spent}");
    stand.close();
    let file = Connection::open(&path).unwrap();
    let rolling = "SELECT count(*) FROM spent WHERE period > 0";
    let rows: i64 = file.query_row(rolling, [], |row| row.get(0)).unwrap();
    assert!((60..=150).contains(&rows), "{rows}");
}

/// A step of the test below, by one of two sidecars.
#[derive(Debug, Clone, Copy)]
enum Step {
    Reserve,
    /// Asks for a slice for the turn with this number.
    Extend(usize),
    /// Settles the turn with this number, with a part of what it was granted.
    Settle(usize, u64),
    Pause,
}

fn step() -> impl Strategy<Value = (bool, Step)> {
    let step = prop_oneof![
        4 => Just(Step::Reserve),
        4 => any::<usize>().prop_map(Step::Extend),
        3 => (any::<usize>(), 0..=100_u64).prop_map(|(turn, part)| Step::Settle(turn, part)),
        1 => Just(Step::Pause),
    ];
    (any::<bool>(), step)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn file_has_at_all_times_as_much_as_was_granted_and_no_more_than_the_limit(
        steps in prop::collection::vec(step(), 1..60),
        limit in 1_u64..200_000,
    ) {
        Runtime::new().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.sqlite3");
            let stands = [open(&path), open(&path)];
            let limits = format!("day.output={limit}");
            let mut turns: [Vec<(Reservation, u64)>; 2] = Default::default();
            let mut settled = 0;
            for (is_second, step) in steps {
                let index = usize::from(is_second);
                let (stand, own) = (&stands[index], &mut turns[index]);
                let count = own.len();
                match step {
                    Step::Reserve => if let Ok(turn) = reserve(stand, &limits).await {
                        let granted = turn.first_output();
                        own.push((turn, granted));
                    },
                    Step::Extend(turn) if count > 0 => {
                        let (turn, granted) = &mut own[turn % count];
                        if let Grant::Tokens(tokens) = more(turn.output_budget().as_mut()).await {
                            *granted += tokens;
                        }
                    }
                    Step::Settle(turn, part) if count > 0 => {
                        let (turn, granted) = own.swap_remove(turn % count);
                        let used = granted * part / 100;
                        turn.settle(&output(used));
                        settled += used;
                    }
                    Step::Extend(_) | Step::Settle(..) => {}
                    Step::Pause => sleep(Duration::from_millis(20)).await,
                }
                let (spent, allocated) = in_file(&path);
                let open: u64 = turns.iter().flatten().map(|(_, granted)| granted).sum();
                prop_assert!(spent + allocated >= settled + open, "{spent} {allocated} {settled} {open}");
                prop_assert!(spent + allocated <= limit, "{spent} {allocated} {limit}");
            }
            drop(turns);
            let [first, second] = stands;
            first.close();
            second.close();
            prop_assert_eq!(in_file(&path), (settled, 0));
            Ok(())
        })?;
    }
}
