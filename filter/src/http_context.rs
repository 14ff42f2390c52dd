//! The filter as its host sees it: reads values, asks the core, carries out what it says.
//! Host callbacks of the proxy-wasm ABI 0.2.1, as Envoy 1.40 calls them.

use std::rc::Rc;

use crate::body::{Body, Progress};
use crate::config::Config;
use crate::cors::Change;
use crate::head::RequestHead;
use crate::host::{self, Fields, Refused};
use crate::rejection::Outcome;
use crate::root_context::{Plugin, Wasm};
use crate::policy::{self, Answer, Decision, Verdict};
use crate::rate_limit::Quota;
use crate::reply::LocalReply;

/// The filter state that the access log reads a refusal's reason from: `%FILTER_STATE(wasm.codex_edge.reason:PLAIN)%`.
const REASON: &str = "codex_edge.reason";

/// What the host does with the part of a stream that it has just shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Action {
    /// It goes on.
    Continue = 0,
    /// It stays.
    Pause = 1,
}

/// One request and its answer.
#[derive(Debug)]
pub(crate) struct Stream {
    plugin: Option<Rc<Plugin>>,
    /// The body that may go on; none before the head was decided on, and none after a refusal.
    body: Option<Body>,
    answer: Option<Answer>,
    /// Whether the counters and the access log have heard of an answer of our own.
    is_noted: bool,
    /// The status of that answer, once it is given.
    replied: Option<u16>,
}

impl Stream {
    /// A stream of this plugin; one without is refused.
    pub(crate) fn new(plugin: Option<Rc<Plugin>>) -> Self {
        Self {
            plugin,
            body: None,
            answer: None,
            is_noted: false,
            replied: None,
        }
    }

    pub(crate) fn on_request_head(&mut self, end_of_stream: bool) -> Action {
        let map = host::request_head().unwrap_or_default();
        let (Some(plugin), Some(head)) = (self.plugin.clone(), RequestHead::parse(&map)) else {
            return self.reply(LocalReply::host_failure());
        };
        let decision = policy::on_request_head(&plugin.config, &head, &Wasm);
        // A field that stays although it had to go is somebody's word about who calls.
        let is_changed = change_request(&decision).is_ok();
        self.answer = Some(decision.answer);
        match decision.verdict {
            _ if !is_changed => self.reply(LocalReply::host_failure()),
            Verdict::Reply(reply) if decision.takes_body_first && !end_of_stream => {
                self.note(reply.outcome);
                self.body = Some(Body::Discarded(reply));
                Action::Pause
            }
            Verdict::Reply(reply) => self.reply(reply),
            Verdict::Forward(body) => self.forward(&plugin.config, body, end_of_stream),
        }
    }

    pub(crate) fn on_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let (Some(plugin), Some(body)) = (&self.plugin, &mut self.body) else {
            return Action::Pause;
        };
        let mut progress = body.on_data(&plugin.config, size, host::request_body);
        if end_of_stream && progress == Progress::Hold {
            progress = body.on_end(&plugin.config, host::request_body);
        }
        self.carry_out(progress)
    }

    pub(crate) fn on_request_trailers(&mut self) -> Action {
        let (Some(plugin), Some(body)) = (&self.plugin, &mut self.body) else {
            return Action::Pause;
        };
        let progress = body.on_end(&plugin.config, host::request_body);
        self.carry_out(progress)
    }

    pub(crate) fn on_response_head(&mut self) -> Action {
        match &self.answer {
            Some(answer) if change_response(answer, self.replied).is_err() => match self.replied {
                None => self.reply(LocalReply::host_failure()),
                // A refusal of ours, of which a page may not read as much as it should.
                Some(_) if !answer.becomes_grpc => Action::Continue,
                // What was a no may have become a yes.
                Some(_) => Action::Pause,
            },
            _ => Action::Continue,
        }
    }

    /// Lets the head go, unless its body has a say in it and Envoy can hold the head back.
    fn forward(&mut self, config: &Config, mut body: Body, end_of_stream: bool) -> Action {
        let progress = match body {
            Body::Flowing { .. } => Progress::Admit(0),
            _ if end_of_stream => body.on_end(config, host::request_body),
            _ if config.hold_headers => Progress::Hold,
            _ => Progress::Flow,
        };
        self.body = Some(body);
        self.carry_out(progress)
    }

    fn carry_out(&mut self, progress: Progress) -> Action {
        match progress {
            Progress::Flow => Action::Continue,
            Progress::Hold => Action::Pause,
            Progress::Admit(scanned_bytes) => {
                if let Some(plugin) = &self.plugin {
                    plugin.metrics.count_forwarded(scanned_bytes);
                }
                Action::Continue
            }
            Progress::Refuse(reply) => self.reply(reply),
        }
    }

    /// Answers; nothing of the request passes any more.
    fn reply(&mut self, mut reply: LocalReply) -> Action {
        self.body = None;
        self.replied = Some(reply.status);
        self.note(reply.outcome);
        // CORS and rate come with the response headers; they cost more in the reply's own list.
        if let Some(answer) = &self.answer {
            reply = reply.with("x-request-id", answer.request_id.clone());
        }
        let fields: Vec<_> = reply
            .fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        // Should the host not take it, the request stays where it is, and nothing of it passes.
        let _ = host::send_response(
            reply.status,
            &fields,
            reply.body.as_deref().unwrap_or_default(),
        );
        Action::Pause
    }

    /// Counts an answer of our own and leaves its reason for the access log, once.
    fn note(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_noted, true) {
            return;
        }
        if let Some(plugin) = &self.plugin {
            plugin.metrics.count(outcome);
        }
        if let Outcome::Refused(refusal) = outcome {
            // Without it the log has no reason; the refusal stands.
            let _ = host::set_filter_state(REASON, refusal.name());
        }
    }
}

fn change_request(decision: &Decision) -> Result<(), Refused> {
    for name in &decision.remove {
        Fields::Request.remove(name)?;
    }
    decision
        .set()
        .try_for_each(|(name, value)| Fields::Request.add(name, value))
}

fn change_response(answer: &Answer, replied: Option<u16>) -> Result<(), Refused> {
    for change in answer.cors.changes() {
        match change {
            Change::Set(name, value) => Fields::Response.set(name, value)?,
            Change::Add(name, value) => Fields::Response.add(name, value)?,
            Change::Remove(name) => Fields::Response.remove(name)?,
        }
    }
    for (name, value) in answer.quota.iter().flat_map(Quota::fields) {
        Fields::Response.set(name, &value)?;
    }
    match replied {
        Some(status) if answer.becomes_grpc => undo_grpc(status),
        _ => Ok(()),
    }
}

/// To a request that looks like gRPC, Envoy sends our answer as a 200 without its body: to a proxy that asks
/// `/verify`, a no would be a yes.
fn undo_grpc(status: u16) -> Result<(), Refused> {
    Fields::Response.set(":status", &status.to_string())?;
    ["grpc-status", "grpc-message", "content-type"]
        .into_iter()
        .try_for_each(|name| Fields::Response.remove(name))
}
