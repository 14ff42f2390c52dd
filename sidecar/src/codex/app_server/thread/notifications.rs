//! Notifications and requests about a thread, and their meaning for its turn.

use std::time::Duration;

use tokio::time::Instant;

use super::phases::{CallRequested, Thread};
use super::reaction::{Next, Reaction};
use crate::codex::app_server::failure;
use crate::codex::app_server::ids::{CallId, RequestId};
use crate::codex::app_server::wire::{self, custom, names};
use crate::turn::{
    AnswerItem, Event, FinishReason, Outcome, Phase, Profile, ReasoningItem, ToolCall, ToolKind,
    TurnError, Usage, UsedTokens,
};

impl Thread {
    /// Handles a notification about this thread.
    ///
    /// # Errors
    /// The parameters do not have the shape of the protocol.
    pub(in crate::codex::app_server) fn on_notification(
        &mut self,
        method: &str,
        params: &str,
        quota_reset: Option<Duration>,
        now: Instant,
    ) -> Result<Reaction, serde_json::Error> {
        self.last_activity = now;
        Ok(match method {
            "item/agentMessage/delta" => {
                let text: wire::Delta = serde_json::from_str(params)?;
                Reaction::event(self.on_text(text.delta, now))
            }
            "item/started" => self.on_item_started(&serde_json::from_str(params)?),
            "item/completed" => self.on_item(&serde_json::from_str(params)?)?,
            "item/reasoning/summaryTextDelta" => self.on_reasoning(serde_json::from_str(params)?),
            "item/reasoning/summaryPartAdded" => self.on_reasoning_part(),
            "rawResponseItem/completed" => self.on_raw_item(&serde_json::from_str(params)?)?,
            "rawResponse/completed" => self.on_response(serde_json::from_str(params)?, now),
            "thread/tokenUsage/updated" => self.on_usage(serde_json::from_str(params)?),
            "error" => self.on_error(&serde_json::from_str(params)?, now),
            "turn/completed" => self.on_completed(serde_json::from_str(params)?, quota_reset),
            _ => Reaction::event(Event::Heartbeat),
        })
    }

    /// Handles a delta of the model's text.
    pub(in crate::codex::app_server) fn on_text(&mut self, text: String, now: Instant) -> Event {
        self.last_activity = now;
        self.output.text = true;
        self.output.open_message.push(&text);
        Event::Text(text)
    }

    fn on_item_started(&mut self, started: &wire::ItemStarted<'_>) -> Reaction {
        if started.item.kind != "agentMessage" {
            return Reaction::event(Event::Heartbeat);
        }
        self.output.message_started = true;
        self.output.message_phase = None;
        match self.on_phase(started.item.phase.as_deref()) {
            Some(phase) => Reaction::event(phase),
            None => Reaction::event(Event::Heartbeat),
        }
    }

    /// Handles the phase of the current message; `None` for one that is known already or has no name in the API.
    fn on_phase(&mut self, name: Option<&str>) -> Option<Event> {
        let phase = Phase::parse(name?)?;
        let known = self.output.message_phase.replace(phase);
        (known != Some(phase)).then_some(Event::MessagePhase(phase))
    }

    /// Handles the end of an item. A message has its whole text here, also the text for which the provider sent no
    /// deltas.
    fn on_item(
        &mut self,
        completed: &wire::ItemCompleted<'_>,
    ) -> Result<Reaction, serde_json::Error> {
        if completed.item.kind != "agentMessage" {
            return Ok(Reaction::event(Event::Heartbeat));
        }
        self.output.message_started = false;
        let whole = match completed.item.text {
            Some(text) => serde_json::from_str(text.get())?,
            None => String::new(),
        };
        let rest = self.output.open_message.end(whole);
        self.output.text |= rest.is_some();
        let mut events = Vec::from_iter(rest.map(Event::Text));
        events.extend(self.on_phase(completed.item.phase.as_deref()));
        events.push(Event::MessageEnded);
        self.output.message_phase = None;
        Ok(Reaction::events(events))
    }

    /// Handles an `item/tool/call` request. The response stays open, since a response makes the model go on, unless the
    /// client has sent the output already.
    ///
    /// A raw item has announced the call before. A later Codex may have no raw items; then the calls are complete once
    /// no further request comes for a while.
    pub(in crate::codex::app_server) fn on_tool_call(
        &mut self,
        request: RequestId,
        call: ToolCall,
        now: Instant,
    ) -> CallRequested {
        let call_id = CallId(call.call_id.clone());
        let request = match self.respond(&call_id, request) {
            Ok(response) => return CallRequested::Answered(response),
            Err(request) => request,
        };
        let is_announced = self.output.tool_calls.contains(&call_id);
        self.open_requests.push((call_id, request));
        if is_announced {
            return CallRequested::Open(None);
        }
        let event = self.on_call(call);
        if event.is_some() {
            // Its place among the items is not known.
            self.output.differs = true;
            self.unannounced_call_at = Some(now);
        }
        CallRequested::Open(event)
    }

    /// Takes the open requests of a child that has been silent for `patience`.
    ///
    /// When a model response breaks off after a call, Codex reports the failure only after the call has an output.
    pub(in crate::codex::app_server) fn take_stale_requests(
        &mut self,
        now: Instant,
        patience: Duration,
    ) -> Vec<RequestId> {
        if self.is_parked() || now.duration_since(self.last_activity) < patience {
            return Vec::new();
        }
        let open = std::mem::take(&mut self.open_requests);
        open.into_iter().map(|(_, request)| request).collect()
    }

    /// Finishes the turn with the client's tool calls: the client's next request brings their outputs. The turn waits for
    /// them, if that request can continue it.
    pub(in crate::codex::app_server) fn finish_with_calls(
        &mut self,
        usage: Option<Usage>,
        now: Instant,
    ) -> Reaction {
        self.unannounced_call_at = None;
        self.output.usage = usage.or(self.output.usage);
        let outcome = Outcome::Completed {
            stop: FinishReason::ToolCalls,
            usage: self.output.usage,
        };
        if self.keep() {
            return Reaction {
                events: vec![Event::Finished(outcome)],
                next: Next::Keep,
            };
        }
        self.finish_early(outcome, now)
    }

    /// Handles an item as the provider sent it.
    fn on_raw_item(
        &mut self,
        completed: &wire::RawItemCompleted<'_>,
    ) -> Result<Reaction, serde_json::Error> {
        // Injected history items come back too, under the id of another turn.
        if !self.is_current_turn(&completed.turn_id) {
            return Ok(Reaction::none());
        }
        let event = match serde_json::from_str(completed.item.get())? {
            wire::RawItem::Message(message) => {
                self.on_raw_message(message);
                None
            }
            wire::RawItem::FunctionCall(call) => self.on_call(call.into()),
            wire::RawItem::FunctionCallOutput(_) => None,
            wire::RawItem::CustomToolCall(_) => {
                self.output.differs = true;
                self.output.codex_call = true;
                None
            }
            wire::RawItem::Reasoning(item) => {
                let item = ReasoningItem::from(item);
                self.output.answer.push(AnswerItem::reasoning(&item));
                Some(Event::ReasoningItem(item))
            }
            wire::RawItem::Other => {
                self.output.differs = true;
                None
            }
        };
        Ok(Reaction::events(Vec::from_iter(event)))
    }

    /// Handles a record of the rollout file, which a rebuilt thread has in place of raw events.
    ///
    /// # Errors
    /// The item does not have the shape of the protocol.
    pub(in crate::codex::app_server) fn on_record(
        &mut self,
        record: wire::RolloutRecord<'_>,
        now: Instant,
    ) -> Result<Reaction, serde_json::Error> {
        match record {
            wire::RolloutRecord::Item { turn_id, item } => {
                self.on_raw_item(&wire::RawItemCompleted { turn_id, item })
            }
            wire::RolloutRecord::ResponseEnd { turn_id, usage } => {
                let usage = Some(usage);
                Ok(self.on_response(wire::ResponseCompleted { turn_id, usage }, now))
            }
        }
    }

    fn on_raw_message(&mut self, message: wire::RawMessage) {
        match message.into_text() {
            Some((text, phase)) => {
                let item = AnswerItem::message(&text, phase);
                self.output.answer.push(item);
            }
            None => self.output.differs = true,
        }
    }

    /// Handles a call of the model. In the chat profile Codex has no tools of its own, so each call is the client's,
    /// under any name; a call without offered tools fails the turn.
    fn on_call(&mut self, mut call: ToolCall) -> Option<Event> {
        // The request of a call may come before its record.
        if self
            .output
            .tool_calls
            .iter()
            .any(|known| known.0 == call.call_id)
        {
            return None;
        }
        let tools = &self.request.tools;
        let called = tools
            .offered
            .iter()
            .find(|tool| names::is_call_of(&call, &tool.name, tool.namespace.as_deref()));
        let is_clients = self.request.profile == Profile::Chat || called.is_some();
        if is_clients && tools.offered.is_empty() {
            self.output.unexpected_call = true;
            return None;
        }
        let is_surplus = tools.one_at_a_time && !self.output.tool_calls.is_empty();
        if !is_clients || is_surplus {
            self.output.differs = true;
            self.output.codex_call |= !is_clients;
            return None;
        }
        self.output.tool_calls.push(CallId(call.call_id.clone()));
        match called {
            Some(tool) => {
                call.name.clone_from(&tool.name);
                call.namespace = tool
                    .namespace
                    .as_ref()
                    .map(|namespace| namespace.name.clone());
                call.kind = tool.kind;
            }
            None => {
                // Codex answers such a call itself, and the turn goes on.
                self.output.differs = true;
                names::restore(&mut call);
            }
        }
        if call.kind == ToolKind::Custom {
            let text = custom::parse_arguments(call.arguments.clone());
            self.output.differs |= custom::write_arguments(&text) != call.arguments;
            call.arguments = text;
        }
        self.output.answer.push(AnswerItem::tool_call(&call));
        Some(Event::ToolCall(call))
    }

    /// Handles the end of a model response, after which all of its calls are known.
    fn on_response(&mut self, completed: wire::ResponseCompleted<'_>, now: Instant) -> Reaction {
        if !self.is_current_turn(&completed.turn_id) {
            return Reaction::event(Event::Heartbeat);
        }
        if self.output.unexpected_call {
            return self.finish_early(Outcome::Failed(TurnError::UnexpectedToolCall), now);
        }
        if self.output.tool_calls.is_empty() {
            return self.on_answered(completed.usage.map(Usage::from));
        }
        // `thread/tokenUsage/updated` does not cover this response yet, so its tokens are added to the earlier ones.
        let before = self.output.usage.unwrap_or_default();
        let usage = completed.usage.map(|tokens| before.plus(tokens.into()));
        self.finish_with_calls(usage, now)
    }

    /// Handles the end of a response without calls for the client. Codex runs the calls of an agent next, and reports the
    /// tokens in `thread/tokenUsage/updated` only after them.
    fn on_answered(&mut self, tokens: Option<Usage>) -> Reaction {
        self.output.goes_on = std::mem::take(&mut self.output.codex_call);
        let Some(tokens) = tokens.filter(|_| self.output.goes_on) else {
            return Reaction::event(Event::Heartbeat);
        };
        self.output.uncounted = self.output.uncounted.plus(tokens);
        let before = self.output.usage.unwrap_or_default();
        Reaction::event(self.used(before.plus(self.output.uncounted)))
    }

    fn used(&self, usage: Usage) -> Event {
        let goes_on = self.output.goes_on;
        Event::Used(UsedTokens { usage, goes_on })
    }

    fn on_reasoning(&mut self, delta: wire::Delta) -> Reaction {
        self.output.reasoning = true;
        Reaction::event(Event::Reasoning(delta.delta))
    }

    fn on_reasoning_part(&self) -> Reaction {
        // The first part is announced too, and needs no separator.
        if self.output.reasoning {
            Reaction::event(Event::ReasoningPartAdded)
        } else {
            Reaction::none()
        }
    }

    fn on_usage(&mut self, updated: wire::TokenUsageUpdated) -> Reaction {
        let usage = self.usage_of(updated.token_usage.total.into());
        // After a failure the child reports zeros, which mean an unknown usage.
        self.output.usage = (usage.total_tokens() > 0).then_some(usage);
        self.output.uncounted = Usage::default();
        let used = self.output.usage.map(|usage| self.used(usage));
        Reaction::event(used.unwrap_or(Event::Heartbeat))
    }

    fn on_error(&mut self, notice: &wire::ErrorNotice, now: Instant) -> Reaction {
        tracing::warn!(
            reason = notice.error.message,
            kind = %notice.error.codex_error_info,
            will_retry = notice.will_retry,
            "codex error reported"
        );
        // The retry announces its items again.
        self.output.message_started &= !notice.will_retry;
        // The retry starts the text over, and the client has read its beginning already.
        if notice.will_retry && self.output.text {
            return self.finish_early(Outcome::Failed(TurnError::ProviderFailed), now);
        }
        match notice.will_retry {
            true => Reaction::event(Event::Heartbeat),
            // `turn/completed` follows.
            false => Reaction::none(),
        }
    }

    fn on_completed(
        &mut self,
        completed: wire::TurnCompleted,
        quota_reset: Option<Duration>,
    ) -> Reaction {
        let outcome = match (completed.turn.status.as_str(), completed.turn.error) {
            // An error decides whatever the status: a response that the provider ended early comes as one, and its
            // outcome is `Completed`.
            (_, Some(error)) => failure::outcome(&error, self.output.usage, quota_reset),
            ("completed", None) => {
                let outcome = self.completed();
                let has_stopped = matches!(
                    outcome,
                    Outcome::Completed {
                        stop: FinishReason::Stop,
                        ..
                    }
                );
                if has_stopped && self.keep() {
                    return Reaction {
                        events: vec![Event::Finished(outcome)],
                        next: Next::Keep,
                    };
                }
                outcome
            }
            ("interrupted", None) => Outcome::Interrupted,
            (_, None) => Outcome::Failed(TurnError::ProviderFailed),
        };
        // The permit is not released yet: Codex holds the thread in memory until the result of `thread/unsubscribe`.
        Reaction {
            events: vec![Event::Finished(outcome)],
            next: self.close(),
        }
    }

    fn completed(&self) -> Outcome {
        if self.request.tools.required {
            return Outcome::Failed(TurnError::ToolNotCalled);
        }
        // Codex drops a message whose content it cannot read: the message starts and never ends. A refusal is the only
        // such content that the provider sends. A message that ends without text is an empty answer.
        let is_refusal = self.output.message_started && self.output.open_message.is_empty();
        Outcome::Completed {
            stop: if is_refusal {
                FinishReason::Refused
            } else {
                FinishReason::Stop
            },
            usage: self.output.usage,
        }
    }
}
