//! The children as the API sees them: readiness, admission of turns, and the start of the workers.
//! A permit is a value that travels with its turn and is dropped with it, so that no code path can leak one.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::admission::Admission;
use super::conversation::RebuiltCounts;
use super::launch::agent_clients::AgentPlaces;
use super::launch::{Launch, Login, Protocol, watch_models};
use super::login_watch::watch_login;
use super::rate_limits::{RateLimits, SharedRateLimits};
use super::readiness::Readiness;
use super::turn_queue::QueuedTurn;
use super::warm::{WarmStatus, WarmThreads};
use super::workers::{GroupStart, WorkerGroup, WorkerSettings};
use crate::catalogue::Catalogue;
use crate::config::Limits;
use crate::process::RunningChild;
use crate::turn::{Profile, Timers, Turn, TurnError, TurnRequest, channel};

/// The children, as the API sees them.
#[derive(Debug)]
pub struct Backend {
    workers: ProfileWorkers,
    admission: Admission,
    /// The client with running agents.
    agents: AgentPlaces,
    warm: WarmThreads,
    limits: Limits,
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
        let warm = WarmThreads::new(limits.warm);
        let settings = WorkerSettings {
            warm: warm.clone(),
            launch,
            login,
            rate_limits: SharedRateLimits::default(),
            limits,
            stop: stop.clone(),
        };
        Self {
            workers: ProfileWorkers::start(default, &settings, tasks),
            admission: Admission::new(limits),
            agents: AgentPlaces::new(limits.agents.clients, hides_files),
            warm,
            limits,
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
            turns: self.admission.running(),
            turns_limit: self.limits.turns,
            queued: self.admission.queued(),
            warm: self.warm.status(),
            rebuilt: self.launch.conversations().counts(),
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
    /// it gets no permit, or the workspace cannot be created.
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
        let permit = self.admission.permit(client).await?;
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
            client: client.into(),
            request,
            is_served_elsewhere: false,
            continuation: None,
            events,
            cancel,
            permit,
            workspace,
            is_second_try: false,
        };
        let is_rebuilt_elsewhere = self.launch.conversations().are_rebuilt();
        if let Some(queued) = self.warm.continue_turn(queued, is_rebuilt_elsewhere) {
            let conversations = self.launch.conversations();
            conversations.sync(client, &queued.request).await;
            workers.enqueue(queued).await?;
        }
        Ok(turn)
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
    /// The threads that stay loaded.
    pub warm: WarmStatus,
    /// The threads that were rebuilt.
    pub rebuilt: RebuiltCounts,
    /// The running children.
    pub children: Vec<RunningChild>,
    /// Number of children started so far.
    pub child_starts: u64,
}
