//! Admission of turns: readiness, concurrency limit and queue, and the start of the workers.
//! A permit is a value that travels with its turn and is dropped with it, so that no code path can leak one.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::launch::agent_clients::AgentPlaces;
use super::launch::{Launch, Login, Protocol, watch_models};
use super::login_watch::watch_login;
use super::rate_limits::{RateLimits, SharedRateLimits};
use super::readiness::Readiness;
use super::turn_queue::{QueuedTurn, TurnPermit};
use super::workers::{GroupStart, WorkerGroup, WorkerSettings};
use crate::catalogue::Catalogue;
use crate::config::Limits;
use crate::process::RunningChild;
use crate::turn::{Profile, Timers, Turn, TurnError, TurnRequest, channel};

/// The children, as the API sees them.
#[derive(Debug)]
pub struct Backend {
    workers: ProfileWorkers,
    /// The client with running agents.
    agents: AgentPlaces,
    /// A permit per concurrent turn; without a limit, the maximum of a semaphore.
    permits: Arc<Semaphore>,
    limits: Limits,
    queued: AtomicUsize,
    launch: Arc<Launch>,
    rate_limits: SharedRateLimits,
    login: watch::Receiver<Login>,
}

/// The groups of workers by profile.
#[derive(Debug)]
struct ProfileWorkers {
    default: WorkerGroup,
    /// The profile that is not the default, with its group; `None` with `proto`, which has no agents.
    other: Option<(Profile, WorkerGroup)>,
}

impl Backend {
    /// Starts the workers in `tasks`; those of the `default` profile start their children at once. They run until `stop`
    /// fires.
    pub fn start(
        launch: Launch,
        limits: Limits,
        default: Profile,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Self {
        let hides_files = launch.hides_files_from_agents();
        let launch = Arc::new(launch);
        let (published, login) = watch::channel(launch.login_before_check());
        tasks.spawn(watch_login(Arc::clone(&launch), published, stop.clone()));
        tasks.spawn(watch_models(Arc::clone(&launch), stop.clone()));
        let settings = WorkerSettings {
            launch,
            login,
            rate_limits: SharedRateLimits::default(),
            limits,
            stop: stop.clone(),
        };
        Self {
            workers: ProfileWorkers::start(default, &settings, tasks),
            agents: AgentPlaces::new(limits.agents.clients, hides_files),
            permits: Arc::new(Semaphore::new(permits(limits))),
            limits,
            queued: AtomicUsize::new(0),
            launch: settings.launch,
            rate_limits: settings.rate_limits,
            login: settings.login,
        }
    }

    /// Returns the readiness of the best worker of the default profile.
    pub fn readiness(&self) -> Readiness {
        self.workers.default.readiness()
    }

    /// Returns the rate limits of the Codex plan, as the children reported them last.
    pub fn rate_limits(&self) -> RateLimits {
        self.rate_limits.read()
    }

    /// Returns the login, as Codex reported it last.
    pub fn login(&self) -> Login {
        self.login.borrow().clone()
    }

    /// Returns a snapshot of workers, turns and children.
    pub fn status(&self) -> BackendStatus {
        BackendStatus {
            workers: self.workers.started(),
            turns: permits(self.limits) - self.permits.available_permits(),
            turns_limit: self.limits.turns,
            // `enqueue` counts a request before it rejects that request, so the counter may exceed the limit.
            queued: self.queued.load(Ordering::Relaxed).min(self.limits.queue),
            children: self.launch.registry().running(),
            child_starts: self.launch.registry().started(),
        }
    }

    /// Returns the version of Codex.
    pub fn version(&self) -> &str {
        self.launch.version()
    }

    /// Returns the protocol of the children.
    pub fn protocol(&self) -> Protocol {
        self.launch.protocol()
    }

    /// Returns the model ids for a request, with the models that Codex reported last.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.launch.catalogue()
    }

    /// Begins a turn of `client` as soon as it has a permit.
    ///
    /// # Errors
    /// The turn is not admitted: no child is ready, this Codex does not support tools, the agent sandbox does not work,
    /// the queue is full, `queue_timeout` has passed, or the workspace cannot be created.
    pub async fn begin(
        &self,
        client: &str,
        request: TurnRequest,
        timers: Timers,
    ) -> Result<Turn, TurnError> {
        let workers = self.workers.of(request.profile);
        if self.protocol() == Protocol::Proto && !request.tools.offered.is_empty() {
            return Err(TurnError::ToolsUnsupported(self.version().to_owned()));
        }
        let agent = match request.profile {
            Profile::Chat => None,
            Profile::Agent => Some((self.launch.agent()?, self.agents.enter(client)?)),
        };
        // Before the queue: a request that cannot be served must not wait for a permit first.
        workers.ready().await?;
        let permit = self.acquire_permit().await?;
        let workspace = agent
            .map(|(agent, place)| agent.workspace(place))
            .transpose()
            .map_err(|error| {
                tracing::error!(%error, "workspace creation failed");
                TurnError::Unavailable
            })?;
        let cancel = CancellationToken::new();
        let (events, turn) = channel(timers, cancel.clone());
        let queued = QueuedTurn {
            request,
            events,
            cancel,
            permit,
            workspace,
            is_second_try: false,
        };
        workers.enqueue(queued).await?;
        Ok(turn)
    }

    async fn acquire_permit(&self) -> Result<TurnPermit, TurnError> {
        let permits = &self.permits;
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return Ok(permit);
        }
        // Held during the wait; its drop leaves the queue also when the client disconnects.
        let _place = self.enqueue().ok_or(TurnError::QueueFull)?;
        match timeout(
            self.limits.queue_timeout,
            Arc::clone(permits).acquire_owned(),
        )
        .await
        {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(TurnError::QueueTimeout),
        }
    }

    /// Takes a place in the queue; `None` when the queue is full.
    fn enqueue(&self) -> Option<QueuePlace<'_>> {
        // Created first, so that its drop undoes the increment when the queue is full.
        let place = QueuePlace(&self.queued);
        let before = self.queued.fetch_add(1, Ordering::Relaxed);
        (before < self.limits.queue).then_some(place)
    }
}

impl ProfileWorkers {
    fn start(default: Profile, settings: &WorkerSettings, tasks: &mut JoinSet<()>) -> Self {
        let other = match default {
            Profile::Chat => Profile::Agent,
            Profile::Agent => Profile::Chat,
        };
        let mut start = |profile, start| WorkerGroup::start(profile, start, settings, tasks);
        Self {
            default: start(default, GroupStart::AtOnce),
            other: match settings.launch.protocol() {
                Protocol::AppServer => Some((other, start(other, GroupStart::OnDemand))),
                Protocol::Proto => None,
            },
        }
    }

    /// Returns the group that serves turns of `profile`.
    fn of(&self, profile: Profile) -> &WorkerGroup {
        match &self.other {
            Some((other, group)) if *other == profile => group,
            Some(_) | None => &self.default,
        }
    }

    /// Returns the readiness of each worker that was started.
    fn started(&self) -> Vec<Readiness> {
        let other = self.other.iter().flat_map(|(_, group)| group.started());
        self.default.started().chain(other).collect()
    }
}

/// A snapshot of the backend.
#[derive(Debug)]
pub struct BackendStatus {
    /// Readiness by worker, those of the default profile first; with `proto` one pool reports for all of its children.
    pub workers: Vec<Readiness>,
    /// Turns that hold a permit.
    pub turns: usize,
    /// Maximum number of concurrent turns; `None` is unlimited.
    pub turns_limit: Option<NonZeroUsize>,
    /// Requests that wait for a permit.
    pub queued: usize,
    /// The running children.
    pub children: Vec<RunningChild>,
    /// Number of children started so far.
    pub child_starts: u64,
}

fn permits(limits: Limits) -> usize {
    limits
        .turns
        .map_or(Semaphore::MAX_PERMITS, NonZeroUsize::get)
}

/// A place in the queue. Dropping it leaves the queue.
struct QueuePlace<'a>(&'a AtomicUsize);

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
