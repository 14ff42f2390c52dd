//! The protocol of `codex proto` as a state machine without IO: lines in, lines and events out.
//! Codex 0.36 to 0.42; a process is one conversation, so that a child serves one turn and then ends.

use std::time::Duration;

use tokio::time::Instant;

use super::assembler::Answer;
use super::wire::{Op, SandboxPolicy};
use super::{command_line, failure, prompt, wire};
use crate::codex::rate_limits::SharedRateLimits;
use crate::turn::{Event, FinishReason, Outcome, TurnError, TurnRequest, Usage};
/// Time from the start of a child to its `session_configured`; 43 to 90 ms were seen.
pub(super) const START_DEADLINE: Duration = Duration::from_secs(15);

/// Time from a submission to its `task_started`: a submission that the child cannot read is answered by silence.
pub(super) const TASK_DEADLINE: Duration = Duration::from_secs(5);

/// What follows from a line or a new turn.
#[derive(Debug, Default)]
pub(in crate::codex) struct Step {
    /// Lines for the child, each with its end.
    pub(in crate::codex) write: Vec<Vec<u8>>,
    /// What happened in the turn.
    pub(in crate::codex) events: Vec<Event>,
}

/// The child broke its protocol and cannot be used any longer.
#[derive(Debug, thiserror::Error)]
pub(in crate::codex) enum ProtocolError {
    #[error("a line is not an event")]
    NotAnEvent(#[from] serde_json::Error),
    #[error("{0} did not come in time")]
    Silent(&'static str),
    #[error("a command ran although none can")]
    CommandRan,
}

/// How far a child has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codex) enum Phase {
    /// Until `session_configured`.
    Starting {
        until: Instant,
    },
    /// The turn may begin.
    Ready,
    /// Until `task_started`.
    Submitted {
        until: Instant,
    },
    Running,
    /// The turn has ended; what the child says now is of no interest.
    Over,
}

/// One `codex proto` process, seen from the other end of its pipes.
#[derive(Debug)]
pub(in crate::codex) struct Proto {
    phase: Phase,
    /// The child's working directory.
    directory: String,
    answer: Answer,
    usage: Option<Usage>,
    plan: SharedRateLimits,
}

impl Proto {
    /// A child that has just been started.
    pub(in crate::codex) fn start(directory: String, plan: SharedRateLimits, now: Instant) -> Self {
        Self {
            phase: Phase::Starting {
                until: now + START_DEADLINE,
            },
            directory,
            answer: Answer::default(),
            usage: None,
            plan,
        }
    }

    pub(in crate::codex) fn phase(&self) -> Phase {
        self.phase
    }

    /// When the child must have said what is expected of it, and what that is.
    pub(in crate::codex) fn deadline(&self) -> Option<(Instant, ProtocolError)> {
        match self.phase {
            Phase::Starting { until } => Some((until, ProtocolError::Silent("session_configured"))),
            Phase::Submitted { until } => Some((until, ProtocolError::Silent("task_started"))),
            Phase::Ready | Phase::Running | Phase::Over => None,
        }
    }

    /// Begins the turn of a child that is ready.
    pub(in crate::codex) fn begin(&mut self, request: &TurnRequest, now: Instant) -> Step {
        let turn = Op::UserTurn {
            items: prompt::items(&request.conversation),
            cwd: &self.directory,
            approval_policy: command_line::APPROVAL_POLICY,
            sandbox_policy: SandboxPolicy {
                mode: command_line::SANDBOX_MODE,
            },
            model: &request.model.name,
            effort: request.model.effort.map(crate::turn::Effort::as_str),
            summary: request.summary.as_str(),
            final_output_json_schema: request.schema.as_deref(),
        };
        let line = turn.line();
        self.phase = Phase::Submitted {
            until: now + TASK_DEADLINE,
        };
        Step {
            write: vec![line],
            events: Vec::new(),
        }
    }

    /// What ends the child, with its turn if there is one, once its stdin is closed.
    pub(super) fn shutdown() -> Vec<u8> {
        Op::Shutdown.line()
    }

    /// Reads one line of the child.
    ///
    /// # Errors
    /// The child broke its protocol and is of no more use.
    pub(in crate::codex) fn read_line(&mut self, line: &str) -> Result<Step, ProtocolError> {
        let said = wire::Said::parse(line)?;
        let mut step = Step::default();
        match self.phase {
            Phase::Starting { .. } if said.event == "session_configured" => {
                self.phase = Phase::Ready;
            }
            Phase::Submitted { .. } | Phase::Running => {
                self.phase = Phase::Running;
                let event = self.on_event(&said, &mut step)?;
                step.events.push(event);
            }
            Phase::Starting { .. } | Phase::Ready | Phase::Over => {}
        }
        Ok(step)
    }

    fn on_event(&mut self, said: &wire::Said<'_>, step: &mut Step) -> Result<Event, ProtocolError> {
        let answer = &mut self.answer;
        Ok(match said.event.as_ref() {
            "agent_message_delta" => answer.on_delta(said.read::<wire::Delta>()?.delta),
            "agent_message" => answer.on_message(said.read::<wire::Message>()?.message),
            "agent_reasoning_delta" => answer.on_reasoning_delta(said.read::<wire::Delta>()?.delta),
            "agent_reasoning" => answer.on_reasoning(said.read::<wire::Reasoning>()?.text),
            "agent_reasoning_section_break" => answer.on_reasoning_break(),
            "token_count" => self.on_token_count(said.read()?),
            "stream_error" => self.on_stream_error(&said.read()?),
            "error" => self.on_error(&said.read()?),
            "task_complete" => self.on_task_complete(said.read()?, step),
            "turn_aborted" => self.finish(Outcome::Interrupted),
            "exec_approval_request" => deny(&Op::deny_exec(), step),
            "apply_patch_approval_request" => deny(&Op::deny_patch(), step),
            "exec_command_end" => on_command_end(&said.read()?)?,
            _ => Event::Heartbeat,
        })
    }

    fn finish(&mut self, outcome: Outcome) -> Event {
        self.phase = Phase::Over;
        Event::Finished(outcome)
    }

    /// The total grows with each call of the model, so that the last one is the turn's.
    fn on_token_count(&mut self, count: wire::TokenCount) -> Event {
        if let Some(info) = count.info {
            let usage = Usage::from(info.total_token_usage);
            self.usage = (usage.total_tokens() > 0).then_some(usage);
        }
        if let Some(limits) = count.rate_limits {
            self.plan.report(limits.into());
        }
        Event::Heartbeat
    }

    /// A retry would say again, from its beginning, what the client has read already.
    fn on_stream_error(&mut self, notice: &wire::Message) -> Event {
        tracing::warn!(reason = notice.message, "codex tries again");
        if self.answer.has_begun() {
            self.finish(Outcome::Failed(TurnError::ProviderFailed))
        } else {
            Event::Heartbeat
        }
    }

    fn on_error(&mut self, error: &wire::Message) -> Event {
        tracing::warn!(reason = error.message, "codex reports an error");
        let error = failure::turn_error(&error.message, self.plan.read().reopens_in());
        self.finish(Outcome::Failed(error))
    }

    fn on_task_complete(&mut self, complete: wire::TaskComplete, step: &mut Step) -> Event {
        if let Some(message) = complete.last_agent_message
            && !self.answer.has_text()
        {
            step.events.push(self.answer.on_message(message));
        }
        let stop = if self.answer.has_text() {
            FinishReason::Stop
        } else {
            FinishReason::Refused
        };
        self.finish(Outcome::Completed {
            stop,
            usage: self.usage,
        })
    }
}

/// Nothing may ever wait for a human: an unanswered request would block the turn for ever.
fn deny(denial: &Op<'_>, step: &mut Step) -> Event {
    tracing::warn!("request of the child refused");
    step.write.push(denial.line());
    Event::Heartbeat
}

/// Codex runs commands that it takes for harmless without asking. Here none can be started (`command_line`, `confine`).
fn on_command_end(end: &wire::ExecCommandEnd) -> Result<Event, ProtocolError> {
    if end.exit_code == wire::NOT_STARTED {
        Ok(Event::Heartbeat)
    } else {
        Err(ProtocolError::CommandRan)
    }
}
