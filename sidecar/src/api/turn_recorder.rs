//! The account of one turn: sees what its client is given, and closes with a record and its metrics.
//! It is closed by being dropped, so that no end of a turn can be missed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::access_log::CLIENT_CLOSED_REQUEST;
use crate::openai::{ApiError, Delivery, Retry, finish_reason};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{Record, TokenSource, UsageLog};
use crate::turn::{Event, Outcome, TurnObserver, Usage};

/// Where accounts are kept.
#[derive(Debug, Clone)]
pub struct UsageSinks {
    /// A line a turn.
    pub log: UsageLog,
    /// UsageTotals of all turns.
    pub metrics: Arc<Metrics>,
}

/// What is known of a turn before it begins.
#[derive(Debug)]
pub(super) struct TurnInfo {
    /// The id that the client's answer carries.
    pub(super) request_id: String,
    /// The id of the caller's key.
    pub(super) client: String,
    /// The path that was asked.
    pub(super) route: &'static str,
    /// The model that the client named.
    pub(super) requested_model: String,
    /// The model that Codex is told to use.
    pub(super) effective_model: String,
    /// Whether the answer is a stream.
    pub(super) stream: bool,
    /// Whether the status goes out before the turn has ended, whatever comes of it.
    pub(super) status_sent_early: bool,
    /// For the estimate of tokens that Codex does not report.
    pub(super) prompt_chars: usize,
}

impl TurnInfo {
    /// Returns the information of a turn that is delivered as `delivery`.
    pub(super) fn with_delivery(self, delivery: Delivery) -> Self {
        Self {
            stream: delivery.is_stream(),
            status_sent_early: delivery.sends_status_early(),
            ..self
        }
    }
}

/// The account of one turn.
#[derive(Debug)]
pub(super) struct TurnRecorder {
    sinks: UsageSinks,
    info: TurnInfo,
    came: SystemTime,
    started: Instant,
    first_token: Option<Duration>,
    answer_chars: usize,
    end: End,
}

/// How it ended, as far as that was seen.
#[derive(Debug)]
enum End {
    /// The client was to be given more.
    Open,
    Refused(ApiError),
    Over(Outcome),
}

impl TurnRecorder {
    /// Opens the account of a request that was understood a moment ago.
    pub(super) fn new(sinks: UsageSinks, info: TurnInfo) -> Self {
        Self {
            sinks,
            info,
            came: SystemTime::now(),
            started: Instant::now(),
            first_token: None,
            answer_chars: 0,
            end: End::Open,
        }
    }

    /// Closes it for a turn that did not begin. One that Envoy will ask for again is told of when it has.
    pub(super) fn reject(mut self, error: &ApiError) {
        self.end = End::Refused(error.clone());
    }

    /// What the turn cost, and who counted. What was asked of the model is paid for once it has said a word.
    fn usage(&self) -> (Usage, TokenSource) {
        match &self.end {
            End::Over(Outcome::Completed {
                usage: Some(usage), ..
            }) => (*usage, TokenSource::Reported),
            End::Over(Outcome::Completed { usage: None, .. }) => self.estimate(),
            _ if self.first_token.is_some() => self.estimate(),
            _ => (Usage::default(), TokenSource::None),
        }
    }

    fn estimate(&self) -> (Usage, TokenSource) {
        let usage = Usage::estimate(self.info.prompt_chars, self.answer_chars);
        (usage, TokenSource::Estimated)
    }

    /// The status of the answer, and what became of the turn where the model did not come to an end.
    fn failure(&self) -> (u16, Option<&str>) {
        const OK: u16 = 200;
        let ahead = |status: u16| {
            if self.info.status_sent_early {
                OK
            } else {
                status
            }
        };
        match &self.end {
            End::Open => (ahead(CLIENT_CLOSED_REQUEST), Some(Record::CLIENT_LEFT)),
            End::Refused(error) => (error.status.as_u16(), Some(error.code())),
            End::Over(Outcome::Completed { .. }) => (OK, None),
            End::Over(Outcome::Interrupted) => {
                let status = ApiError::shutting_down().status;
                (ahead(status.as_u16()), Some(Record::INTERRUPTED))
            }
            End::Over(Outcome::Failed(error)) => {
                let error = ApiError::from(error.clone());
                (ahead(error.status.as_u16()), Some(error.code()))
            }
        }
    }

    fn record(&self, usage: &Usage, token_source: TokenSource, duration: Duration) -> Record {
        let (info, (status, error)) = (&self.info, self.failure());
        Record {
            ts: millis(self.came.duration_since(UNIX_EPOCH).unwrap_or_default()),
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
                End::Over(Outcome::Completed { stop, .. }) => Some(finish_reason(*stop).to_owned()),
                _ => None,
            },
            error: error.map(str::to_owned),
        }
    }

    /// Writes the record and counts the turn. Called by `drop`, which is the only event that every end of a turn shares.
    fn finish(&self) {
        // Envoy retries a request that was not started; the retry has the record.
        if let End::Refused(error) = &self.end
            && error.retry == Retry::Safe
        {
            return;
        }
        let duration = self.started.elapsed();
        let (usage, source) = self.usage();
        let metrics = &self.sinks.metrics;
        match &self.end {
            End::Open => metrics.count_turn(&Outcome::Interrupted, &usage, duration),
            End::Over(outcome) => metrics.count_turn(outcome, &usage, duration),
            End::Refused(_) => {}
        }
        self.sinks.log.write(&self.record(&usage, source, duration));
    }

    fn note_first_token(&mut self) {
        if self.first_token.is_none() {
            let after = self.started.elapsed();
            self.first_token = Some(after);
            self.sinks.metrics.note_first_token(self.info.route, after);
        }
    }
}

impl TurnObserver for TurnRecorder {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Text(text) | Event::Reasoning(text) => {
                self.note_first_token();
                self.answer_chars += text.chars().count();
            }
            Event::ToolCall(call) => {
                self.note_first_token();
                self.answer_chars += call.name.chars().count() + call.arguments.chars().count();
            }
            Event::ReasoningItem(_) => self.note_first_token(),
            Event::Finished(outcome) => self.end = End::Over(outcome.clone()),
            Event::Heartbeat | Event::MessageEnded | Event::ReasoningPartAdded => {}
        }
    }
}

impl Drop for TurnRecorder {
    fn drop(&mut self) {
        self.finish();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UsageLogConfig;
    use crate::turn::TurnError;

    fn info() -> TurnInfo {
        TurnInfo {
            request_id: "r".into(),
            client: "alice".into(),
            route: "/v1/chat/completions",
            requested_model: "codex-5".into(),
            effective_model: "gpt-5".into(),
            stream: false,
            status_sent_early: false,
            prompt_chars: 4,
        }
    }

    /// Envoy asks again for what was not begun, so that one request would have a record for each try.
    #[tokio::test]
    async fn a_try_that_envoy_repeats_is_not_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let config = UsageLogConfig {
            path: folder.path().join("usage.ndjson"),
            max_bytes: None,
        };
        let (log, writer) = UsageLog::open(&config).unwrap();
        let writer = tokio::task::spawn_blocking(|| writer.run());
        let sinks = UsageSinks {
            log: log.clone(),
            metrics: Arc::default(),
        };
        for error in [TurnError::Starting, TurnError::Busy] {
            TurnRecorder::new(sinks.clone(), info()).reject(&error.into());
        }
        let errors = log.read(Vec::new(), |seen, record| seen.push(record.error));
        let errors = errors.await.unwrap();
        assert_eq!(errors, [Some("concurrency_exceeded".to_owned())]);
        drop((log, sinks));
        writer.await.unwrap();
    }
}
