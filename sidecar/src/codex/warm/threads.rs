//! The warm threads of all children, and the search for the one that a request continues.
//!
//! A request continues a thread if all of this holds: the client is the same, the settings and the items up to the answer
//! have the digest that the thread's last request had, each reasoning item stands where the thread has it, the answer is
//! returned as the model gave it, and something follows. Everything else begins a new thread, which is always right.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use super::counts::{Eviction, Miss, WarmCounts, WarmStatus};
use crate::codex::app_server::{Continuation, KeptThread, ParkedTurn, TurnKey};
use crate::codex::turn_queue::QueuedTurn;
use crate::config::WarmLimits;
use crate::turn::{Content, Item, ReasoningPlace, TurnRequest, end_of_answer, reasoning_places};

/// The id of a child among the warm threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ChildId(u64);

/// The warm threads of all children. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::codex) struct WarmThreads(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    limits: WarmLimits,
    children: AtomicU64,
    counts: WarmCounts,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    /// Oldest first.
    threads: Vec<WarmThread>,
    /// Threads that have made room for others, until their children have seen it.
    given_up: Vec<(ChildId, TurnKey)>,
}

#[derive(Debug)]
struct WarmThread {
    child: ChildId,
    turns: mpsc::Sender<QueuedTurn>,
    client: Arc<str>,
    since: Instant,
    thread: KeptThread,
}

impl WarmThreads {
    pub(in crate::codex) fn new(limits: WarmLimits) -> Self {
        Self(Arc::new(Shared {
            limits,
            children: AtomicU64::new(0),
            counts: WarmCounts::default(),
            list: Mutex::default(),
        }))
    }

    /// Returns the list and the id of another child; `None` if no thread stays loaded.
    pub(super) fn new_child(&self) -> Option<(Arc<Shared>, ChildId)> {
        self.0.limits.threads?;
        let id = ChildId(self.0.children.fetch_add(1, Ordering::Relaxed));
        Some((Arc::clone(&self.0), id))
    }

    /// Sends the turn to the child with its thread. Returns the turn if no thread has its conversation.
    ///
    /// `is_rebuilt_elsewhere`: whether a sidecar without the thread rebuilds it under the conversation's own id.
    pub(in crate::codex) fn continue_turn(
        &self,
        mut turn: QueuedTurn,
        is_rebuilt_elsewhere: bool,
    ) -> Option<QueuedTurn> {
        if self.0.limits.threads.is_none() || turn.workspace.is_some() {
            return Some(turn);
        }
        let miss = match self
            .0
            .take(&turn.client, &turn.request, is_rebuilt_elsewhere)
        {
            Ok((turns, continuation)) => {
                turn.continuation = Some(continuation);
                match turns.try_send(turn) {
                    Ok(()) => return None,
                    Err(TrySendError::Full(unsent) | TrySendError::Closed(unsent)) => {
                        turn = unsent.without_thread();
                        Miss::Lost
                    }
                }
            }
            Err(miss) => miss,
        };
        self.0.counts.miss(miss);
        turn.is_served_elsewhere = miss == Miss::ServedElsewhere;
        Some(turn)
    }

    /// Takes the thread that a request of `client` continues.
    #[cfg(test)]
    pub(super) fn take(
        &self,
        client: &str,
        request: &TurnRequest,
    ) -> Result<(mpsc::Sender<QueuedTurn>, Continuation), Miss> {
        self.0.take(client, request, true)
    }

    /// Returns the warm threads now, and the counts since the start.
    pub(in crate::codex) fn status(&self) -> WarmStatus {
        let list = self.0.lock();
        let threads = &list.threads;
        let is_parked = |warm: &&WarmThread| warm.thread.parked.is_some();
        let parked = threads.iter().filter(is_parked).count();
        let mut status = WarmStatus {
            limit: self.0.limits.threads.map_or(0, NonZeroUsize::get),
            idle: threads.len() - parked,
            parked,
            ..WarmStatus::default()
        };
        self.0.counts.read(&mut status);
        status
    }
}

impl Shared {
    /// Takes the thread that the request continues, so that no other request gets it.
    fn take(
        &self,
        client: &str,
        request: &TurnRequest,
        is_rebuilt_elsewhere: bool,
    ) -> Result<(mpsc::Sender<QueuedTurn>, Continuation), Miss> {
        if !request.has_answer() {
            return Err(Miss::FirstRequest);
        }
        let mut list = self.lock();
        let mut miss = Miss::NoThread;
        let mut found = None;
        // Newest first: the thread of the last request, where several have the same beginning.
        for index in (0..list.threads.len()).rev() {
            let warm = &list.threads[index];
            if *warm.client != *client {
                continue;
            }
            let is_behind = |first_new: usize| {
                is_rebuilt_elsewhere
                    && request.conversation[first_new..]
                        .iter()
                        .any(Item::is_answer)
            };
            match first_new(&warm.thread, request) {
                Ok(first_new) if is_behind(first_new) => miss = Miss::ServedElsewhere,
                Ok(first_new) => {
                    let has_hint = warm.thread.hint == request.hint;
                    // Where the client names the conversation, its own thread comes first.
                    if found.is_none() || has_hint {
                        found = Some((index, first_new));
                    }
                    if has_hint {
                        break;
                    }
                }
                Err(None) => {}
                Err(Some(reason)) => {
                    // The conversation has gone on, and does not come back to a turn that waits for outputs.
                    if reason == Miss::OtherOutputs {
                        list.give_up(index);
                        self.counts.evicted(Eviction::Superseded);
                        found = found.map(|(place, first_new)| (place - 1, first_new));
                    }
                    miss = reason;
                }
            }
        }
        let (index, first_new) = found.ok_or(miss)?;
        let WarmThread { turns, thread, .. } = list.threads.remove(index);
        let places = reasoning_places(thread.len, &thread.answer);
        let continuation = Continuation {
            thread: thread.key,
            first_new,
            reasoning: thread.reasoning.into_iter().chain(places).collect(),
        };
        Ok((turns, continuation))
    }

    pub(super) fn insert(
        &self,
        child: ChildId,
        turns: &mpsc::Sender<QueuedTurn>,
        client: &Arc<str>,
        thread: KeptThread,
    ) {
        let Some(limit) = self.limits.threads else {
            return;
        };
        let mut list = self.lock();
        let is_clients = |warm: &WarmThread| warm.client == *client;
        let of_client = list.threads.iter().filter(|warm| is_clients(warm)).count();
        // One client leaves half of the threads to others; of the whole, the oldest makes room.
        let excess = if of_client >= limit.get().div_ceil(2) {
            list.threads.iter().position(is_clients)
        } else if list.threads.len() >= limit.get() {
            Some(0)
        } else {
            None
        };
        if let Some(index) = excess {
            list.give_up(index);
            self.counts.evicted(Eviction::Limit);
        }
        list.threads.push(WarmThread {
            child,
            turns: turns.clone(),
            client: Arc::clone(client),
            since: Instant::now(),
            thread,
        });
    }

    pub(super) fn remove(&self, child: ChildId, key: TurnKey, reason: Eviction) {
        let mut list = self.lock();
        list.given_up.retain(|given_up| *given_up != (child, key));
        let is_it = |warm: &WarmThread| warm.child == child && warm.thread.key == key;
        self.take_where(&mut list, reason, |_, warm| is_it(warm));
    }

    pub(super) fn take_given_up(&self, child: ChildId, now: Instant) -> Vec<TurnKey> {
        let ttl = self.limits.ttl;
        let is_expired = |warm: &WarmThread| now.duration_since(warm.since) >= ttl;
        let mut list = self.lock();
        let mut taken = self.take_where(&mut list, Eviction::Expired, |_, warm| {
            warm.child == child && is_expired(warm)
        });
        let of_child = list.given_up.extract_if(.., |(of, _)| *of == child);
        taken.extend(of_child.map(|(_, key)| key));
        taken
    }

    pub(super) fn take_older_half(&self, child: ChildId) -> Vec<TurnKey> {
        let mut list = self.lock();
        let threads = list.threads.iter().filter(|warm| warm.child == child);
        let half = threads.count().div_ceil(2);
        self.take_where(&mut list, Eviction::Memory, |taken, warm| {
            warm.child == child && taken < half
        })
    }

    pub(super) fn remove_child(&self, child: ChildId) {
        let mut list = self.lock();
        list.given_up.retain(|(of, _)| *of != child);
        self.take_where(&mut list, Eviction::Child, |_, warm| warm.child == child);
    }

    /// Takes the threads for which `is_wanted`, which gets the number of threads taken so far, holds.
    fn take_where(
        &self,
        list: &mut List,
        reason: Eviction,
        is_wanted: impl Fn(usize, &WarmThread) -> bool,
    ) -> Vec<TurnKey> {
        let mut taken = Vec::new();
        list.threads.retain(|warm| {
            let is_taken = is_wanted(taken.len(), warm);
            if is_taken {
                taken.push(warm.thread.key);
            }
            !is_taken
        });
        taken.iter().for_each(|_| self.counts.evicted(reason));
        taken
    }

    pub(super) fn threads_ahead(&self) -> usize {
        self.limits.ahead
    }

    pub(super) fn counts(&self) -> &WarmCounts {
        &self.counts
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // A panic while the list is locked leaves it usable: each change is one call of `Vec`.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    /// Removes a thread, and tells its child at the child's next tick.
    fn give_up(&mut self, index: usize) {
        let warm = self.threads.remove(index);
        self.given_up.push((warm.child, warm.thread.key));
    }
}

/// Returns the index of the first item of the request that `thread` does not have.
///
/// # Errors
/// The thread has another beginning (`None`), or the reason why the request cannot continue it.
fn first_new(thread: &KeptThread, request: &TurnRequest) -> Result<usize, Option<Miss>> {
    let KeptThread { len, answer, .. } = thread;
    if request.digest.prefix(*len) != Some(thread.end) {
        return Err(None);
    }
    let first_new = end_of_answer(&request.conversation, *len, answer).ok_or(Miss::OtherAnswer)?;
    let new = &request.conversation[first_new..];
    let places: HashSet<ReasoningPlace> = reasoning_places(*len, answer).collect();
    let is_known = |place| thread.reasoning.contains(place) || places.contains(place);
    if new.is_empty() || !request.digest.reasoning().iter().all(is_known) {
        return Err(Some(Miss::OtherAnswer));
    }
    match &thread.parked {
        Some(parked) if !goes_on_with(parked, request, new) => Err(Some(Miss::OtherOutputs)),
        Some(_) | None => Ok(first_new),
    }
}

/// Whether `new` is one text for each call, in the order of the calls: Codex records outputs in that order, and as texts
/// only.
fn goes_on_with(parked: &ParkedTurn, request: &TurnRequest, new: &[Item]) -> bool {
    let is_output_of = |(item, call_id): (&Item, &String)| match item {
        Item::ToolOutput(output) => {
            output.call_id == *call_id && matches!(output.content.as_slice(), [Content::Text(_)])
        }
        Item::Message(_) | Item::ToolCall(_) | Item::Reasoning(_) => false,
    };
    new.len() == parked.call_ids.len()
        && new.iter().zip(&parked.call_ids).all(is_output_of)
        && request.digest.turn_settings() == parked.settings
        // The model is asked for a call by a message at the end, which a turn that waits cannot get.
        && !request.tools.required
}
