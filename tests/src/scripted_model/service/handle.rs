//! The handle of a running scripted model: starts it, steers it, asks what it was sent, stops it.
//! What it does on the wire is described in the docs of the parent module.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::server;
use super::state::State;
use crate::scripted_model::request::Recorded;
use crate::scripted_model::script::Script;

/// A scripted model on a loopback port; dropping it stops it.
#[derive(Debug)]
pub struct ScriptedModel {
    address: SocketAddr,
    state: Arc<State>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl ScriptedModel {
    /// Starts a model on a free port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> io::Result<Self> {
        Self::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts a model on a loopback address.
    ///
    /// # Errors
    /// When the address cannot be bound or is not a loopback address.
    pub async fn listen(address: SocketAddr) -> io::Result<Self> {
        let listener = server::listen(address).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(listener, Arc::clone(&state), stop.clone()));
        Ok(Self {
            address,
            state,
            stop,
            tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `base_url` of a Codex provider, such as `http://127.0.0.1:8080/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Queues a script: it answers the next request that no earlier one in the queue answers.
    pub fn enqueue(&self, script: Script) {
        self.state.scripts().queue.push_back(script);
    }

    /// Sets what answers requests without a directive; `None` is the demo answer again.
    pub fn set_default(&self, script: Option<Script>) {
        self.state.scripts().default = script;
    }

    /// Lets go all answers that wait, or will wait, in a hold of this name.
    pub fn release(&self, name: &str) {
        self.state.holds.release(name);
    }

    /// The requests so far, oldest first; those to control routes are left out.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.log.requests()
    }

    /// Forgets requests, scripts and releases; running answers go on.
    pub fn clear(&self) {
        self.state.log.clear();
        self.state.scripts().clear();
        self.state.holds.clear();
    }

    /// Waits until so many requests have come.
    ///
    /// # Errors
    /// `TimedOut` when the deadline passes before.
    pub async fn wait_for_requests(
        &self,
        count: usize,
        deadline: Duration,
    ) -> io::Result<Vec<Recorded>> {
        self.state.log.wait_for_requests(count, deadline).await
    }

    /// Waits until the client has cut so many answers.
    ///
    /// # Errors
    /// `TimedOut` when the deadline passes before.
    pub async fn wait_for_cut(
        &self,
        count: usize,
        deadline: Duration,
    ) -> io::Result<Vec<Recorded>> {
        self.state.log.wait_for_cut(count, deadline).await
    }

    /// Stops listening and cuts running answers.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
