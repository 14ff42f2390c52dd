//! A sidecar with one slot that has come to a stage, and the clients that wait for it.
//! Each stage is waited for by what can be seen from outside: frames, requests at the model, processes, the socket.

use futures_util::future::{BoxFuture, Either, select};
use http::Request;
use nix::sys::signal::Signal;
use serde_json::json;
use tests::http::{Body, BufferedResponse, with};
use tests::processes::{descendants, has_argument};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};
use tests::sse::Events;

use crate::lifecycle::workers::Faulty;
use crate::proto;
use crate::stack::{SOON, chat, eventually};

/// How far a sidecar and a turn have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The child does not answer its first call.
    Handshake,
    /// Nobody asks.
    Idle,
    /// All slots are taken, and a client waits for one.
    Queued,
    /// The model has the request and says nothing.
    Asked,
    /// The client has read a part of the answer.
    Text,
    /// The client has read a part of the reasoning.
    Reasoning,
    /// A command of an agent runs.
    Command,
    /// The turn's child is worn out, and another serves already.
    Recycling,
    /// The sidecar was told to stop, and waits for the turn.
    Draining,
}

/// Which Codex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codex {
    AppServer,
    Proto,
}

/// An answer that is not over, or has not begun.
pub(super) enum Pending {
    Stream(Events),
    Gathered(BoxFuture<'static, hyper::Result<BufferedResponse>>),
}

/// A sidecar that has come to a stage, with one slot, and the clients that wait for it.
pub(super) struct Scene {
    pub(super) model: ScriptedModel,
    pub(super) sidecar: Sidecar,
    pub(super) clients: Vec<Pending>,
    _faulty: Option<Faulty>,
}

impl Scene {
    /// Starts a sidecar and brings it to `stage`.
    pub(super) async fn reach(stage: Stage, codex: Codex) -> Self {
        let model = ScriptedModel::start().await;
        let model = model.expect("a loopback port is free");
        let faulty = (stage == Stage::Handshake).then(|| Faulty::new("exec sleep 600"));
        let options = match (&faulty, codex) {
            (Some(faulty), _) => faulty.options(&model),
            (None, Codex::AppServer) => SidecarOptions::new(&model),
            (None, Codex::Proto) => SidecarOptions::new(&model).env("CODEX_BIN", &proto::codex()),
        };
        let drain_ms = if stage == Stage::Draining {
            "600000"
        } else {
            "300"
        };
        let max_turns = if stage == Stage::Recycling { "1" } else { "0" };
        let options = options
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_MAX", "1")
            .env("PROXY_QUEUE_TIMEOUT_MS", "60000")
            .env("PROXY_DRAIN_MS", drain_ms)
            .env("CODEX_WORKER_MAX_TURNS", max_turns);
        let mut scene = Self {
            model,
            sidecar: options.spawn(),
            clients: Vec::new(),
            _faulty: faulty,
        };
        scene.go_to(stage).await;
        scene
    }

    async fn go_to(&mut self, stage: Stage) {
        if stage == Stage::Handshake {
            let starting =
                |answer: &BufferedResponse| answer.json()["error"]["code"] == "codex_starting";
            self.sidecar.wait_for_readiness(starting).await;
            return eventually("the child runs", || self.has_below("600")).await;
        }
        self.sidecar.wait_until_ready().await;
        match stage {
            Stage::Handshake | Stage::Idle => {}
            Stage::Asked => self.asked().await,
            Stage::Text => self.text().await,
            Stage::Reasoning => self.reasoning().await,
            Stage::Command => self.command().await,
            Stage::Queued => {
                self.text().await;
                self.queue().await;
            }
            Stage::Recycling => {
                self.text().await;
                eventually("the successor runs", || self.workers() == 2).await;
            }
            Stage::Draining => {
                self.text().await;
                self.sidecar.signal(Signal::SIGTERM);
                eventually("it drains", || !self.sidecar.socket().exists()).await;
            }
        }
    }

    async fn asked(&mut self) {
        let script = json!([{"hold": "for ever"}, {"text": "late"}]);
        self.begin(chat(&script, &json!({"stream": true}))).await;
        let asked = self.model.wait_for_requests(1, SOON).await;
        asked.expect("the model is asked");
    }

    async fn text(&mut self) {
        let script = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
        self.begin(chat(&script, &json!({"stream": true}))).await;
        self.read_until("\"content\":\"par\"").await;
    }

    async fn reasoning(&mut self) {
        let script = json!([{"reasoning": ["Think."]}, {"hold": "for ever"}, {"text": "late"}]);
        let more = json!({"stream": true, "reasoning": {"effort": "high", "summary": "auto"}});
        self.begin(chat(&script, &more)).await;
        self.read_until("\"reasoning_content\":\"").await;
    }

    async fn command(&mut self) {
        let call = json!({"call": "exec_command", "arguments": {"cmd": "sleep 600"}});
        let script = json!([[call], [{"text": "late"}]]);
        let request = chat(&script, &json!({"stream": true}));
        self.begin(with(request, "x-codex-edge-profile", "agent"))
            .await;
        eventually("the command runs", || self.has_below("600")).await;
    }

    /// Of two clients one finds the only place in the queue and one is refused: then the other waits.
    async fn queue(&mut self) {
        let first = gathered(&self.sidecar).await;
        let second = gathered(&self.sidecar).await;
        let (refused, waits) = match select(first, second).await {
            Either::Left(ended) | Either::Right(ended) => ended,
        };
        assert_eq!(refused.expect("an answer").status, 429);
        self.clients.push(Pending::Gathered(waits));
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
        let stream = client.stream(request).await.expect("an answer");
        self.clients.push(Pending::Stream(Events::new(stream)));
    }

    async fn read_until(&mut self, part: &str) {
        let Some(Pending::Stream(events)) = self.clients.last_mut() else {
            unreachable!("a stream was begun");
        };
        loop {
            let event = events.next().await.expect("the stream goes on");
            if event.expect("there is one more event").contains(part) {
                return;
            }
        }
    }
}

async fn gathered(sidecar: &Sidecar) -> BoxFuture<'static, hyper::Result<BufferedResponse>> {
    let mut client = sidecar.connect().await;
    let request = chat(&json!({"text": "Hi."}), &json!({}));
    Box::pin(async move { client.send(request).await })
}
