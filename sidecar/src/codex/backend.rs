//! Which child takes a turn, how many turns there may be, and who waits.
//! A slot is a value that travels with its turn and is dropped with it, so that no path leaks one.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::launch::Launch;
use super::launch::Protocol;
use super::launch::sandbox::AgentSandbox;
use super::proto::Pool;
use super::rate_limits::{RateLimits, SharedRateLimits};
use super::turn_queue::{QueuedTurn, Readiness, TurnPermit, TurnQueue};
use super::worker::Worker;
use crate::config::Limits;
use crate::process::RunningChild;
use crate::turn::{Event, Outcome, Profile, Timers, Turn, TurnError, TurnRequest, channel};

/// Turns that were admitted and wait for a child to look up; it looks up within microseconds, or, when it has
/// just been replaced, within the quarter of a second that its successor's handshake takes.
const ORDERS_WAITING: usize = 64;

/// The children, as the routes see them.
#[derive(Debug)]
pub struct Backend {
    orders: async_channel::Sender<QueuedTurn>,
    workers: Vec<watch::Receiver<Readiness>>,
    /// As many as there may be, or as the semaphore can hold.
    slots: Arc<Semaphore>,
    limits: Limits,
    queued: AtomicUsize,
    launch: Arc<Launch>,
    plan: SharedRateLimits,
}

impl Backend {
    /// Starts the children in `tasks`; they end when `stop` fires.
    pub fn start(
        launch: Launch,
        limits: Limits,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Self {
        let (orders, received) = async_channel::bounded(ORDERS_WAITING);
        let launch = Arc::new(launch);
        let plan = SharedRateLimits::default();
        let groups = match launch.protocol() {
            Protocol::AppServer => limits.workers.get(),
            Protocol::Proto => 1, // The pool speaks for all of its children.
        };
        let workers = (0..groups).map(|_| {
            let (readiness, published) = watch::channel(Readiness::Starting);
            let (launch, orders, stop) = (Arc::clone(&launch), received.clone(), stop.clone());
            let plan = plan.clone();
            match launch.protocol() {
                Protocol::AppServer => tasks.spawn(
                    Worker {
                        launch,
                        plan,
                        orders,
                        readiness,
                        wear: limits.wear,
                        stop,
                    }
                    .run(),
                ),
                Protocol::Proto => tasks.spawn(
                    Pool {
                        launch,
                        plan,
                        orders,
                        size: limits.proto_pool,
                        readiness,
                        stop,
                    }
                    .run(),
                ),
            };
            published
        });
        let workers = workers.collect();
        tasks.spawn(turn_away(received, stop.clone()));
        Self {
            orders,
            workers,
            slots: Arc::new(Semaphore::new(slots(limits))),
            limits,
            queued: AtomicUsize::new(0),
            launch,
            plan,
        }
    }

    /// What the best of the children can do now.
    pub fn readiness(&self) -> Readiness {
        let workers = self.workers.iter().map(|worker| *worker.borrow());
        workers.max().unwrap_or(Readiness::Unavailable)
    }

    /// The windows of the Codex plan, as the children heard of them last.
    pub fn plan(&self) -> RateLimits {
        self.plan.read()
    }

    /// What happens in it now.
    pub fn status(&self) -> Status {
        Status {
            workers: self.workers.iter().map(|worker| *worker.borrow()).collect(),
            turns: slots(self.limits) - self.slots.available_permits(),
            turns_limit: self.limits.turns,
            queued: self.queued.load(Ordering::Relaxed).min(self.limits.queue),
            children: self.launch.registry().running(),
            child_starts: self.launch.registry().started(),
        }
    }

    /// The version of Codex.
    pub fn version(&self) -> &str {
        self.launch.version()
    }

    /// What is spoken with Codex.
    pub fn protocol(&self) -> Protocol {
        self.launch.protocol()
    }

    /// Begins a turn once there is a slot for it.
    ///
    /// # Errors
    /// Nothing can take it: no child is ready, or all slots and the queue are full.
    pub async fn begin(&self, request: TurnRequest, timers: Timers) -> Result<Turn, TurnError> {
        self.readiness().check()?;
        if self.protocol() == Protocol::Proto && !request.tools.offered.is_empty() {
            return Err(TurnError::NoTools(self.version().to_owned()));
        }
        let agent = match request.profile {
            Profile::Chat => None,
            Profile::Agent => Some(self.launch.agent()?),
        };
        let slot = self.slot().await?;
        let workspace = agent.map(AgentSandbox::workspace).transpose();
        let workspace = workspace.map_err(|error| {
            tracing::error!(%error, "no folder can be made for an agent");
            TurnError::Unavailable
        })?;
        let cancel = CancellationToken::new();
        let (events, turn) = channel(timers, cancel.clone());
        let order = QueuedTurn {
            request,
            events,
            cancel,
            slot,
            workspace,
        };
        self.orders
            .send(order)
            .await
            .map_err(|_stopped| TurnError::Unavailable)?;
        Ok(turn)
    }

    async fn slot(&self) -> Result<TurnPermit, TurnError> {
        let slots = &self.slots;
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return Ok(slot);
        }
        let _place = self.queue().ok_or(TurnError::Busy)?;
        match timeout(self.limits.queue_timeout, Arc::clone(slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(TurnError::Busy),
        }
    }

    /// A place in the queue, if there is one.
    fn queue(&self) -> Option<QueuePlace<'_>> {
        let place = QueuePlace(&self.queued);
        let before = self.queued.fetch_add(1, Ordering::Relaxed);
        (before < self.limits.queue).then_some(place)
    }
}

/// What happens in a backend at a moment.
#[derive(Debug)]
pub struct Status {
    /// What each worker can do; with `proto` one pool speaks for all of its children.
    pub workers: Vec<Readiness>,
    /// Turns that hold a slot.
    pub turns: usize,
    /// How many of them there may be; `None` is without limit.
    pub turns_limit: Option<NonZeroUsize>,
    /// Requests that wait for a slot.
    pub queued: usize,
    /// The children that live.
    pub children: Vec<RunningChild>,
    /// How many children were ever started.
    pub child_starts: u64,
}

fn slots(limits: Limits) -> usize {
    limits
        .turns
        .map_or(Semaphore::MAX_PERMITS, NonZeroUsize::get)
}

/// Ends the turns that got a slot when the children were told to stop already; they would wait for ever.
async fn turn_away(orders: TurnQueue, stop: CancellationToken) {
    stop.cancelled().await;
    while let Ok(order) = orders.recv().await {
        let _client_left = order.events.write(Event::Finished(Outcome::Interrupted));
    }
}

/// Counted in the queue while it lives.
struct QueuePlace<'a>(&'a AtomicUsize);

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
