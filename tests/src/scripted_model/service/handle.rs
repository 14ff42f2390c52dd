//! The handle of a running scripted model: start, scripts, recorded requests, stop.
//! The docs of `scripted_model` describe its behaviour on the wire.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use xtask::tools::Tool;

use super::server::{self, Shutdown};
use super::state::ModelState;
use crate::codex::codex_tool;
use crate::codex::models::CodexModels;
use crate::scripted_model::request::{RecordedRequest, ServedModels};
use crate::scripted_model::script::Script;

/// A scripted model on a port; stopped when dropped.
#[derive(Debug)]
pub struct ScriptedModel {
    address: SocketAddr,
    state: Arc<ModelState>,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
}

impl ScriptedModel {
    /// Starts a service on a free port that serves the models of the Codex under test.
    ///
    /// # Errors
    /// Fails if no port can be bound.
    pub async fn start() -> io::Result<Self> {
        Self::start_for(codex_tool()).await
    }

    /// Starts a service on a free port that serves the models of the fetched `codex`.
    ///
    /// # Errors
    /// Fails if no port can be bound.
    pub async fn start_for(codex: Tool) -> io::Result<Self> {
        let models = ServedModels::Listed(CodexModels::of(codex).clone());
        Self::listen((Ipv4Addr::LOCALHOST, 0).into(), models).await
    }

    /// Starts a service for `models` on an address.
    ///
    /// # Errors
    /// Fails if the address cannot be bound.
    pub async fn listen(address: SocketAddr, models: ServedModels) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(ModelState::new(models));
        let shutdown = Shutdown::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(
            listener,
            Arc::clone(&state),
            shutdown.clone(),
        ));
        Ok(Self {
            address,
            state,
            shutdown,
            tasks,
        })
    }

    /// The address that the model listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `base_url` of a Codex provider, such as `http://127.0.0.1:8080/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Appends a script to the queue; each script of the queue is used for one request.
    pub fn enqueue(&self, script: Script) {
        self.state.scripts().queue.push_back(script);
    }

    /// Sets the script for requests without a directive; `None` restores the demo response.
    pub fn set_default(&self, script: Option<Script>) {
        self.state.scripts().default = script;
    }

    /// Retires each model but `model`: a request for another one gets the service's error.
    pub fn serve_only(&self, model: &str) {
        self.state.serve_only(Some(model.to_owned()));
    }

    /// Releases all present and future holds of `name`.
    pub fn release(&self, name: &str) {
        self.state.holds.release(name);
    }

    /// The recorded requests, oldest first, without those to control routes.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.log.requests()
    }

    /// Deletes recorded requests, scripts and releases, and serves all models again; running responses continue.
    pub fn clear(&self) {
        self.state.log.clear();
        self.state.scripts().clear();
        self.state.serve_only(None);
        self.state.holds.clear();
    }

    /// Waits until `count` requests are recorded.
    ///
    /// # Errors
    /// `TimedOut` after the deadline.
    pub async fn wait_for_requests(
        &self,
        count: usize,
        deadline: Duration,
    ) -> io::Result<Vec<RecordedRequest>> {
        self.state.log.wait_for_requests(count, deadline).await
    }

    /// Waits until clients have disconnected before the end of `count` responses.
    ///
    /// # Errors
    /// `TimedOut` after the deadline.
    pub async fn wait_for_disconnects(
        &self,
        count: usize,
        deadline: Duration,
    ) -> io::Result<Vec<RecordedRequest>> {
        self.state.log.wait_for_disconnects(count, deadline).await
    }

    /// Serves until no response runs, and then closes the connections; no response is cut.
    pub async fn drain(&mut self) {
        self.state.log.wait_for_idle().await;
        self.shutdown.drain.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Stops listening and aborts running responses.
    pub async fn stop(mut self) {
        self.shutdown.abort.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
