//! A sidecar with one permit, brought to a given stage of a turn, and its waiting clients.
//! The fixture recognizes a stage from outside: by chunks, requests at the model, processes, and the socket.

use futures_util::future::{BoxFuture, Either, select};
use http::Request;
use nix::sys::signal::Signal;
use serde_json::json;
use tests::http::{Body, BufferedResponse, with};
use tests::processes::{descendants, has_argument};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions, codex_tool};
use tests::sse::Events;
use xtask::tools::Tool;

use crate::lifecycle::workers::FaultyCodex;
use crate::stack::{SOON, chat, eventually};

/// The stage of a sidecar and of its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnStage {
    /// The child does not respond to its first call.
    Handshake,
    /// The sidecar is ready and has no request.
    Idle,
    /// A turn has the only permit, and a second client waits in the queue.
    Queued,
    /// The model has received the request and sends no response.
    Requested,
    /// The client has read a part of the text.
    Text,
    /// The client has read a part of the reasoning.
    Reasoning,
    /// A command of an agent runs.
    Command,
    /// The turn's worker has reached a recycle limit, and its replacement is running.
    Recycling,
    /// The sidecar has received SIGTERM and waits for the turn.
    Draining,
}

/// The protocol of the Codex version under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodexProtocol {
    AppServer,
    Proto,
}

/// A response that has not ended or not begun.
pub(super) enum PendingResponse {
    Streamed(Events),
    Buffered(BoxFuture<'static, hyper::Result<BufferedResponse>>),
}

/// A sidecar at a stage of a turn, with one permit, and its waiting clients.
pub(super) struct TurnFixture {
    pub(super) model: ScriptedModel,
    pub(super) sidecar: Sidecar,
    pub(super) clients: Vec<PendingResponse>,
    /// Keeps the script of a faulty child in the file system.
    _faulty: Option<FaultyCodex>,
}

impl TurnFixture {
    /// Starts a sidecar and brings it to `stage`.
    pub(super) async fn reach(stage: TurnStage, protocol: CodexProtocol) -> Self {
        let codex = match protocol {
            CodexProtocol::AppServer => codex_tool(),
            CodexProtocol::Proto => Tool::CodexProto,
        };
        let model = ScriptedModel::start_for(codex)
            .await
            .expect("a loopback port is free");
        let faulty = (stage == TurnStage::Handshake).then(|| FaultyCodex::new("exec sleep 600"));
        let base_options = match &faulty {
            Some(faulty) => faulty.options(&model),
            None => SidecarOptions::with_codex(codex, &model),
        };
        let drain_ms = if stage == TurnStage::Draining {
            "600000"
        } else {
            "300"
        };
        let max_turns = if stage == TurnStage::Recycling {
            "1"
        } else {
            "0"
        };
        let options = base_options
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_MAX", "1")
            .env("PROXY_QUEUE_TIMEOUT_MS", "60000")
            .env("PROXY_DRAIN_MS", drain_ms)
            .env("PROXY_STREAM_HEAD_MS", "0")
            .env("CODEX_WORKER_MAX_TURNS", max_turns);
        let mut fixture = Self {
            model,
            sidecar: options.spawn(),
            clients: Vec::new(),
            _faulty: faulty,
        };
        fixture.advance_to(stage).await;
        fixture
    }

    async fn advance_to(&mut self, stage: TurnStage) {
        if stage == TurnStage::Handshake {
            let starting =
                |response: &BufferedResponse| response.json()["error"]["code"] == "codex_starting";
            self.sidecar.wait_for_readiness(starting).await;
            return eventually("the child is running", || self.has_below("600")).await;
        }
        self.sidecar.wait_until_ready().await;
        match stage {
            TurnStage::Handshake | TurnStage::Idle => {}
            TurnStage::Requested => self.request_model().await,
            TurnStage::Text => self.stream_text().await,
            TurnStage::Reasoning => self.stream_reasoning().await,
            TurnStage::Command => self.run_command().await,
            TurnStage::Queued => {
                self.stream_text().await;
                self.queue_client().await;
            }
            TurnStage::Recycling => {
                self.stream_text().await;
                eventually("the replacement is running", || self.workers() == 2).await;
            }
            TurnStage::Draining => {
                self.stream_text().await;
                self.sidecar.signal(Signal::SIGTERM);
                // The sidecar unlinks its socket first, then drains.
                eventually("the drain has begun", || !self.sidecar.socket().exists()).await;
            }
        }
    }

    async fn request_model(&mut self) {
        let script = json!([{"hold": "for ever"}, {"text": "late"}]);
        self.begin(chat(&script, &json!({"stream": true}))).await;
        self.model
            .wait_for_requests(1, SOON)
            .await
            .expect("the model receives the request");
    }

    async fn stream_text(&mut self) {
        let script = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
        self.begin(chat(&script, &json!({"stream": true}))).await;
        self.read_until("\"content\":\"par\"").await;
    }

    async fn stream_reasoning(&mut self) {
        let script = json!([{"reasoning": ["Think."]}, {"hold": "for ever"}, {"text": "late"}]);
        let more = json!({"stream": true, "reasoning": {"effort": "high", "summary": "auto"}});
        self.begin(chat(&script, &more)).await;
        self.read_until("\"reasoning_content\":\"").await;
    }

    async fn run_command(&mut self) {
        let call = json!({"call": "exec_command", "arguments": {"cmd": "sleep 600"}});
        let script = json!([[call], [{"text": "late"}]]);
        let request = chat(&script, &json!({"stream": true}));
        self.begin(with(request, "x-codex-edge-profile", "agent"))
            .await;
        eventually("the command is running", || self.has_below("600")).await;
    }

    /// Sends two requests. The queue holds one, so when the sidecar has rejected one of them, the other is queued.
    async fn queue_client(&mut self) {
        let first = buffered_chat(&self.sidecar).await;
        let second = buffered_chat(&self.sidecar).await;
        let (rejected, queued) = match select(first, second).await {
            Either::Left(ended) | Either::Right(ended) => ended,
        };
        assert_eq!(rejected.expect("a response arrives").status, 429);
        self.clients.push(PendingResponse::Buffered(queued));
    }

    fn workers(&self) -> usize {
        let children = self.sidecar.children().into_iter();
        children
            .filter(|pid| has_argument(*pid, "app-server"))
            .count()
    }

    /// Whether a process below the sidecar has `argument` on its command line.
    pub(super) fn has_below(&self, argument: &str) -> bool {
        let below = descendants(self.sidecar.pid());
        below.iter().any(|pid| has_argument(*pid, argument))
    }

    async fn begin(&mut self, request: Request<Body>) {
        let mut client = self.sidecar.connect().await;
        let stream = client.stream(request).await.expect("a response arrives");
        self.clients
            .push(PendingResponse::Streamed(Events::new(stream)));
    }

    async fn read_until(&mut self, part: &str) {
        let Some(PendingResponse::Streamed(events)) = self.clients.last_mut() else {
            unreachable!("the last client has a stream");
        };
        loop {
            let event = events.next().await.expect("the stream is not cut");
            if event.expect("the stream has not ended").contains(part) {
                return;
            }
        }
    }
}

/// Starts a buffered chat and returns its pending response.
async fn buffered_chat(sidecar: &Sidecar) -> BoxFuture<'static, hyper::Result<BufferedResponse>> {
    let mut client = sidecar.connect().await;
    let request = chat(&json!({"text": "Hi."}), &json!({}));
    Box::pin(async move { client.send(request).await })
}
