//! The session with one `codex proto` process: handshake, one turn, and its events.

use std::time::Duration;

use tokio::time::Instant;

use super::assembler::MessageAssembler;
use super::wire::{Op, SandboxPolicy};
use super::{command_line, failure, prompt, wire};
use crate::codex::rate_limits::SharedRateLimits;
use crate::turn::{Effort, Event, FinishReason, Outcome, TurnError, TurnRequest, Usage};

/// Time from the start of a child to its `session_configured`; 43 to 90 ms were measured.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(15);

/// Time from a submission to its `task_started`. The child does not respond to a submission that it cannot parse.
pub(super) const TASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The result of a line or of a new turn.
#[derive(Debug, Default)]
pub(in crate::codex) struct ProtoOutput {
    /// Lines for the child, with their line breaks.
    pub(in crate::codex) write: Vec<Vec<u8>>,
    /// Events of the turn.
    pub(in crate::codex) events: Vec<Event>,
}

/// A violation of the protocol by the child, which cannot be used any longer.
#[derive(Debug, thiserror::Error)]
pub(in crate::codex) enum ProtoError {
    #[error("invalid event")]
    InvalidEvent(#[from] serde_json::Error),
    #[error("{0} timed out")]
    Timeout(&'static str),
    #[error("a command ran although all commands are denied")]
    CommandRan,
}

/// The phase of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codex) enum ProtoPhase {
    /// Before `session_configured`.
    Starting { until: Instant },
    /// The turn may begin.
    Ready,
    /// Before `task_started`.
    Submitted { until: Instant },
    /// The turn runs.
    Running,
    /// The turn is over. Further events are ignored.
    Over,
}

/// The sidecar's side of the protocol with one `codex proto` process.
#[derive(Debug)]
pub(in crate::codex) struct ProtoSession {
    phase: ProtoPhase,
    /// The child's working directory.
    directory: String,
    assembler: MessageAssembler,
    usage: Option<Usage>,
    rate_limits: SharedRateLimits,
}

impl ProtoSession {
    /// Starts a session with a child that was just started.
    pub(in crate::codex) fn start(
        directory: String,
        rate_limits: SharedRateLimits,
        now: Instant,
    ) -> Self {
        Self {
            phase: ProtoPhase::Starting {
                until: now + START_TIMEOUT,
            },
            directory,
            assembler: MessageAssembler::default(),
            usage: None,
            rate_limits,
        }
    }

    /// Returns the phase of the session.
    pub(in crate::codex) fn phase(&self) -> ProtoPhase {
        self.phase
    }

    /// Returns the deadline of the event that is due next, and the error when the deadline is missed.
    pub(in crate::codex) fn deadline(&self) -> Option<(Instant, ProtoError)> {
        match self.phase {
            ProtoPhase::Starting { until } => {
                Some((until, ProtoError::Timeout("session_configured")))
            }
            ProtoPhase::Submitted { until } => Some((until, ProtoError::Timeout("task_started"))),
            // A running turn has timers of its own, in the channel to the client.
            ProtoPhase::Ready | ProtoPhase::Running | ProtoPhase::Over => None,
        }
    }

    /// Begins the turn. The session must be ready.
    pub(in crate::codex) fn begin(&mut self, request: &TurnRequest, now: Instant) -> ProtoOutput {
        let turn = Op::UserTurn {
            items: prompt::items(&request.conversation),
            cwd: &self.directory,
            // As in the arguments: Codex would tell the model about every difference.
            approval_policy: command_line::APPROVAL_POLICY,
            sandbox_policy: SandboxPolicy {
                mode: command_line::SANDBOX_MODE,
            },
            model: &request.model.name,
            effort: request.model.effort.as_ref().map(Effort::as_str),
            summary: request.summary.as_str(),
            final_output_json_schema: request.schema.as_deref(),
        };
        let line = turn.line();
        self.phase = ProtoPhase::Submitted {
            until: now + TASK_TIMEOUT,
        };
        ProtoOutput {
            write: vec![line],
            events: Vec::new(),
        }
    }

    /// Returns the line that ends the child, and its turn if one runs, once its stdin is closed.
    pub(super) fn shutdown() -> Vec<u8> {
        Op::Shutdown.line()
    }

    /// Reads one line of the child.
    ///
    /// # Errors
    /// The child violated the protocol and cannot be used any longer.
    pub(in crate::codex) fn read_line(&mut self, line: &str) -> Result<ProtoOutput, ProtoError> {
        // Parsed in every phase, so that a child with invalid lines is found out before it gets a turn.
        let event = wire::EventLine::parse(line)?;
        let mut output = ProtoOutput::default();
        match self.phase {
            ProtoPhase::Starting { .. } if event.kind == "session_configured" => {
                self.phase = ProtoPhase::Ready;
            }
            ProtoPhase::Submitted { .. } | ProtoPhase::Running => {
                // Before the event is handled, which may end the turn.
                self.phase = ProtoPhase::Running;
                let event = self.on_event(&event, &mut output)?;
                output.events.push(event);
            }
            ProtoPhase::Starting { .. } | ProtoPhase::Ready | ProtoPhase::Over => {}
        }
        Ok(output)
    }

    fn on_event(
        &mut self,
        line: &wire::EventLine<'_>,
        output: &mut ProtoOutput,
    ) -> Result<Event, ProtoError> {
        let assembler = &mut self.assembler;
        Ok(match line.kind.as_ref() {
            "agent_message_delta" => assembler.on_delta(line.read::<wire::Delta>()?.delta),
            "agent_message" => assembler.on_message(line.read::<wire::Message>()?.message),
            "agent_reasoning_delta" => {
                assembler.on_reasoning_delta(line.read::<wire::Delta>()?.delta)
            }
            "agent_reasoning" => assembler.on_reasoning(line.read::<wire::Reasoning>()?.text),
            "agent_reasoning_section_break" => assembler.on_reasoning_break(),
            "token_count" => self.on_token_count(line.read()?),
            "stream_error" => self.on_stream_error(&line.read()?),
            "error" => self.on_error(&line.read()?),
            "task_complete" => self.on_task_complete(line.read()?, output),
            "turn_aborted" => self.finish(Outcome::Interrupted),
            "exec_approval_request" => deny(&Op::deny_exec(), output),
            "apply_patch_approval_request" => deny(&Op::deny_patch(), output),
            "exec_command_end" => on_command_end(&line.read()?)?,
            _ => Event::Heartbeat,
        })
    }

    fn finish(&mut self, outcome: Outcome) -> Event {
        self.phase = ProtoPhase::Over;
        Event::Finished(outcome)
    }

    fn on_token_count(&mut self, count: wire::TokenCount) -> Event {
        if let Some(info) = count.info {
            // Replaced, not added: the total grows with each model call of the turn.
            let usage = Usage::from(info.total_token_usage);
            self.usage = (usage.total_tokens() > 0).then_some(usage);
        }
        if let Some(limits) = count.rate_limits {
            self.rate_limits.report(limits.into());
        }
        Event::Heartbeat
    }

    fn on_stream_error(&mut self, notice: &wire::Message) -> Event {
        tracing::warn!(reason = notice.message, "model call retried by codex");
        // The retry starts the output over, and the client has read its beginning already.
        if self.assembler.has_output() {
            self.finish(Outcome::Failed(TurnError::ProviderFailed))
        } else {
            Event::Heartbeat
        }
    }

    fn on_error(&mut self, error: &wire::Message) -> Event {
        tracing::warn!(reason = error.message, "codex error reported");
        let error = failure::turn_error(&error.message, self.rate_limits.read().resets_in());
        self.finish(Outcome::Failed(error))
    }

    fn on_task_complete(
        &mut self,
        complete: wire::TaskComplete,
        output: &mut ProtoOutput,
    ) -> Event {
        // The last message is repeated here, and is new only when no other event has brought text.
        if let Some(message) = complete.last_agent_message
            && !self.assembler.has_text()
        {
            output.events.push(self.assembler.on_message(message));
        }
        // This protocol does not distinguish a refusal from an empty answer.
        self.finish(Outcome::Completed {
            stop: FinishReason::Stop,
            usage: self.usage,
        })
    }
}

/// Denies a request for approval. An unanswered one would block the turn for ever.
fn deny(denial: &Op<'_>, output: &mut ProtoOutput) -> Event {
    tracing::warn!("request of codex denied");
    output.write.push(denial.line());
    Event::Heartbeat
}

/// Handles the end of a command. Codex runs commands that it considers harmless without approval; in the sidecar's
/// children none can be started (`command_line`, `confine`).
fn on_command_end(end: &wire::ExecCommandEnd) -> Result<Event, ProtoError> {
    if end.exit_code == wire::NOT_STARTED {
        Ok(Event::Heartbeat)
    } else {
        Err(ProtoError::CommandRan)
    }
}
