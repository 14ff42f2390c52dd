//! Records one turn: observes the events that its client receives, then writes a usage record and counts the turn.
//! The record is written on drop, so that no end of a turn is missed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::route::Dialect;
use crate::openai::{ApiError, Delivery, Retry, finish_reason};
use crate::store::UsageCount;
use crate::store::ledger::{Budget, Ledger, Reservation};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::otel::{Otel, SpanParent, TurnFacts, TurnResult, TurnSpan};
use crate::telemetry::{TokenSource, UsageLog, UsageRecord, UsageRow};
use crate::turn::{Event, FinishReason, Outcome, TurnObserver, Usage};

/// The destinations of usage records.
#[derive(Debug, Clone)]
pub struct UsageSinks {
    /// The usage log, one line per turn.
    pub log: UsageLog,
    /// Counters of all turns.
    pub metrics: Arc<Metrics>,
    /// The tokens of keys with a budget.
    pub ledger: Ledger,
    /// Export of traces and metrics.
    pub otel: Otel,
}

/// The facts about a turn that are known before it starts.
#[derive(Debug)]
pub(super) struct TurnInfo {
    /// Request id, as in the response.
    pub(super) request_id: String,
    /// Id of the caller's API key.
    pub(super) client: String,
    /// Route pattern of the request.
    pub(super) route: &'static str,
    /// The API of the route, which decides the status of an error.
    pub(super) dialect: Dialect,
    /// Model in the request.
    pub(super) requested_model: String,
    /// Model that Codex uses.
    pub(super) effective_model: String,
    /// Whether the response is a stream.
    pub(super) stream: bool,
    /// Characters of the prompt, for an estimate of tokens that Codex does not report.
    pub(super) prompt_chars: usize,
    /// Budget of the caller's API key.
    pub(super) budget: Option<Budget>,
    /// Client's own name of the conversation.
    pub(super) conversation: Option<Box<str>>,
    /// Span of the request.
    pub(super) span: Option<SpanParent>,
}

impl TurnInfo {
    fn facts(&self) -> TurnFacts<'_> {
        TurnFacts {
            operation: match self.route {
                "/v1/completions" => "text_completion",
                _ => "chat",
            },
            requested_model: &self.requested_model,
            effective_model: &self.effective_model,
            conversation: self.conversation.as_deref(),
            stream: self.stream,
        }
    }

    /// Returns the information of a turn that is delivered as `delivery`.
    pub(super) fn with_delivery(self, delivery: Delivery) -> Self {
        Self {
            stream: delivery.is_stream(),
            ..self
        }
    }
}

/// The recorder of one turn; dropping it writes the record.
#[derive(Debug)]
pub(super) struct TurnRecorder {
    sinks: UsageSinks,
    info: TurnInfo,
    arrived: SystemTime,
    started: Instant,
    first_token: Option<Duration>,
    /// Tokens of the model requests that have ended.
    used: Option<Usage>,
    /// Characters of the output since then.
    output_chars: usize,
    /// Characters of text and tool calls, without summaries of reasoning.
    visible_chars: usize,
    /// The reserved tokens of a key with a budget.
    reservation: Option<Reservation>,
    /// The status was sent before the turn has ended, so that it is 200 for a failed turn too.
    status_sent: bool,
    end: TurnEnd,
    /// `None` if nothing is exported.
    span: Option<TurnSpan>,
}

/// The end of a turn, as far as the recorder has observed it.
#[derive(Debug)]
enum TurnEnd {
    /// Not ended: on drop, the client has disconnected.
    Open,
    /// Rejected before a child took the turn.
    Rejected(ApiError),
    /// Ended by Codex, by a cancellation, or by the shutdown.
    Finished(Outcome),
}

impl TurnRecorder {
    /// Returns the recorder of a request that has just been parsed.
    pub(super) fn new(sinks: UsageSinks, info: TurnInfo) -> Self {
        let span = sinks.otel.start_turn(&info.facts(), info.span.as_ref());
        Self {
            sinks,
            info,
            arrived: SystemTime::now(),
            started: Instant::now(),
            first_token: None,
            used: None,
            output_chars: 0,
            visible_chars: 0,
            reservation: None,
            status_sent: false,
            end: TurnEnd::Open,
            span,
        }
    }

    /// Settles the turn against `reservation` when it has ended.
    pub(super) fn reserve(&mut self, reservation: Option<Reservation>) {
        self.reservation = reservation;
    }

    /// Records a turn that was rejected. A rejection that Envoy retries is not recorded; its retry is.
    pub(super) fn reject(mut self, error: &ApiError) {
        self.end = TurnEnd::Rejected(error.clone());
    }

    /// Returns the token counts and their source. A turn that was interrupted after its first token is estimated,
    /// because the provider bills the prompt from then on.
    fn usage(&self) -> (Usage, TokenSource) {
        match &self.end {
            TurnEnd::Finished(Outcome::Completed {
                stop: FinishReason::Budget(_),
                ..
            }) if self.output_chars > 0 => self.estimate(),
            TurnEnd::Finished(Outcome::Completed {
                usage: Some(usage), ..
            }) => (*usage, TokenSource::Reported),
            TurnEnd::Finished(Outcome::Completed { usage: None, .. }) => self.estimate(),
            _ if self.first_token.is_some() || self.used.is_some() => self.estimate(),
            _ => (Usage::default(), TokenSource::None),
        }
    }

    /// Returns the reported tokens of the model requests that have ended, with an estimate of the one after them.
    fn estimate(&self) -> (Usage, TokenSource) {
        let reported = self.used.unwrap_or_default();
        if self.used.is_some() && self.output_chars == 0 {
            return (reported, TokenSource::Estimated);
        }
        let (prompt_chars, output_chars) = (self.info.prompt_chars, self.output_chars);
        let usage = match self.reservation {
            // As the budget counted the stream.
            Some(_) => {
                let ratios = self.sinks.ledger.ratios();
                ratios.estimate(&self.info.effective_model, prompt_chars, output_chars)
            }
            None => Usage::estimate(prompt_chars, output_chars),
        };
        (reported.plus(usage), TokenSource::Estimated)
    }

    /// Returns the status of the response, and the reason if the model did not complete.
    fn failure(&self) -> (u16, Option<String>) {
        const OK: u16 = 200;
        // The record has the status that the client received, which is 200 once a stream has started.
        let unless_sent = |status: u16| {
            if self.status_sent { OK } else { status }
        };
        match &self.end {
            TurnEnd::Open => (
                unless_sent(UsageRecord::CLIENT_CLOSED_REQUEST),
                Some(UsageRecord::CLIENT_LEFT.to_owned()),
            ),
            TurnEnd::Rejected(error) => (
                self.info.dialect.status(error).as_u16(),
                Some(error.code().to_owned()),
            ),
            TurnEnd::Finished(Outcome::Completed { .. }) => (OK, None),
            TurnEnd::Finished(Outcome::Interrupted) => {
                let status = ApiError::shutting_down().status;
                (
                    unless_sent(status.as_u16()),
                    Some(UsageRecord::INTERRUPTED.to_owned()),
                )
            }
            TurnEnd::Finished(Outcome::Failed(error)) => {
                let error = ApiError::from(error.clone());
                (
                    unless_sent(self.info.dialect.status(&error).as_u16()),
                    Some(error.code().to_owned()),
                )
            }
        }
    }

    fn record(&self, usage: &Usage, token_source: TokenSource, duration: Duration) -> UsageRecord {
        let (info, (status, error)) = (&self.info, self.failure());
        UsageRecord {
            ts: millis(self.arrived.duration_since(UNIX_EPOCH).unwrap_or_default()),
            request_id: info.request_id.clone(),
            client: info.client.clone(),
            route: info.route.to_owned(),
            requested_model: info.requested_model.clone(),
            effective_model: info.effective_model.clone(),
            stream: info.stream,
            prompt_tokens: usage.input_tokens,
            cached_tokens: usage.cached_input_tokens,
            completion_tokens: usage.output_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            total_tokens: usage.total_tokens(),
            token_source,
            duration_ms: millis(duration),
            time_to_first_token_ms: self.first_token.map(millis),
            status,
            finish_reason: match &self.end {
                TurnEnd::Finished(Outcome::Completed { stop, .. }) => {
                    Some(finish_reason(*stop).to_owned())
                }
                _ => None,
            },
            error,
        }
    }

    /// Writes the record and counts the turn. Called by `drop`, which is the only event that every end of a turn shares.
    fn finish(&mut self) {
        // Envoy retries a request that was not started; the retry has the record.
        if let TurnEnd::Rejected(error) = &self.end
            && error.retry == Retry::Safe
        {
            if let Some(span) = self.span.take() {
                span.end_retried(error.code());
            }
            return;
        }
        let duration = self.started.elapsed();
        let (usage, source) = self.usage();
        self.settle(&usage, source);
        let metrics = &self.sinks.metrics;
        match &self.end {
            // A disconnected client and an interrupted turn are one outcome in the metrics.
            TurnEnd::Open => metrics.count_turn(&Outcome::Interrupted, &usage, duration),
            TurnEnd::Finished(outcome) => metrics.count_turn(outcome, &usage, duration),
            // Not a turn; the request counts by its status.
            TurnEnd::Rejected(_) => {}
        }
        let record = self.record(&usage, source, duration);
        self.sinks.ledger.count_usage(count_of(&record));
        if let Some(span) = self.span.take() {
            span.end(&TurnResult {
                record: &record,
                duration,
                first_token: self.first_token,
            });
        }
        self.sinks.log.write(&record);
    }

    /// Spends the tokens of the turn, and learns from those that Codex reported.
    fn settle(&mut self, usage: &Usage, source: TokenSource) {
        let Some(reservation) = self.reservation.take() else {
            return;
        };
        let info = &self.info;
        if source == TokenSource::Reported {
            let ledger = &self.sinks.ledger;
            ledger.learn(&info.effective_model, self.visible_chars, usage);
        }
        match &self.end {
            TurnEnd::Finished(Outcome::Completed {
                stop: FinishReason::Budget(_),
                ..
            }) => reservation.settle_used_up(usage),
            // The provider may have read the prompt before the client left.
            TurnEnd::Open | TurnEnd::Finished(Outcome::Interrupted)
                if source == TokenSource::None =>
            {
                reservation.settle(&Usage::estimate(info.prompt_chars, 0));
            }
            TurnEnd::Open | TurnEnd::Finished(_) | TurnEnd::Rejected(_) => {
                reservation.settle(usage);
            }
        }
    }

    fn add_visible(&mut self, chars: usize) {
        self.output_chars += chars;
        self.visible_chars += chars;
    }

    fn record_output(&mut self) {
        if let Some(span) = &mut self.span {
            span.on_chunk();
        }
        if self.first_token.is_none() {
            let after = self.started.elapsed();
            self.first_token = Some(after);
            self.sinks
                .metrics
                .record_first_token(self.info.route, after);
        }
    }
}

impl TurnObserver for TurnRecorder {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Text(text) => {
                self.record_output();
                self.add_visible(text.chars().count());
            }
            Event::Reasoning(text) => {
                self.record_output();
                self.output_chars += text.chars().count();
            }
            Event::ToolCall(call) => {
                self.record_output();
                self.add_visible(call.name.chars().count() + call.arguments.chars().count());
            }
            Event::ReasoningItem(_) => self.record_output(),
            Event::Finished(outcome) => self.end = TurnEnd::Finished(outcome.clone()),
            Event::Used(used) => {
                self.used = Some(used.usage);
                self.output_chars = 0;
            }
            Event::Heartbeat
            | Event::MessagePhase(_)
            | Event::MessageEnded
            | Event::ReasoningPartAdded => {}
        }
    }

    fn on_status_sent(&mut self) {
        self.status_sent = true;
    }
}

impl Drop for TurnRecorder {
    fn drop(&mut self) {
        self.finish();
    }
}

fn count_of(record: &UsageRecord) -> UsageCount {
    UsageCount {
        client: record.client.as_str().into(),
        ts: record.ts,
        sums: UsageRow::from(record).into(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UsageLogConfig;
    use crate::store::StatePlace;
    use crate::store::ledger::Clock;
    use crate::turn::TurnError;

    fn info() -> TurnInfo {
        TurnInfo {
            request_id: "r".into(),
            client: "alice".into(),
            route: "/v1/chat/completions",
            dialect: Dialect::OpenAi,
            requested_model: "codex-5".into(),
            effective_model: "gpt-5".into(),
            stream: false,
            prompt_chars: 4,
            budget: None,
            conversation: None,
            span: None,
        }
    }

    /// Envoy retries a request that was not started; a record of each attempt would count the request several times.
    #[tokio::test]
    async fn rejection_that_envoy_retries_is_not_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let config = UsageLogConfig {
            path: directory.path().join("usage.ndjson"),
            max_bytes: None,
        };
        let (log, writer) = UsageLog::open(&config).unwrap();
        let writer = tokio::task::spawn_blocking(|| writer.run());
        let sinks = UsageSinks {
            log: log.clone(),
            metrics: Arc::default(),
            ledger: Ledger::open(&StatePlace::Memory, Clock::system())
                .unwrap()
                .0,
            otel: Otel::default(),
        };
        for error in [TurnError::Starting, TurnError::Busy] {
            TurnRecorder::new(sinks.clone(), info()).reject(&error.into());
        }
        let errors = log
            .read(Vec::new(), |errors, record| errors.push(record.error))
            .await
            .unwrap();
        assert_eq!(errors, [Some("concurrency_exceeded".to_owned())]);
        drop((log, sinks));
        writer.await.unwrap();
    }
}
