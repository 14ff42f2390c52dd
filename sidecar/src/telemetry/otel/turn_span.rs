//! The span of a turn, kind client, and its measurement. Attributes have names, counts and times, and no content.
//! Source: OpenTelemetry GenAI semantic conventions, "client inference".

use std::sync::Arc;

use opentelemetry::trace::{Span, SpanKind, Status, Tracer};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::Span as SdkSpan;
use tokio::time::Instant;

use super::recorders::Recorders;
use super::request_span::SpanParent;
use super::turn_facts::{TurnFacts, TurnResult};
use crate::config::GenAiNames;
use crate::telemetry::TokenSource;

/// The provider whose flavour of the conventions applies.
const PROVIDER: &str = "openai";

/// The span of one turn, ended by [`TurnSpan::end`].
#[derive(Debug)]
pub struct TurnSpan {
    recorders: Arc<Recorders>,
    /// `None` if traces are not exported.
    span: Option<SdkSpan>,
    /// The attributes of the span that metrics have too.
    attributes: Vec<KeyValue>,
    stream: bool,
    last_chunk: Option<Instant>,
}

impl TurnSpan {
    pub(super) fn start(
        recorders: Arc<Recorders>,
        facts: &TurnFacts<'_>,
        parent: Option<&SpanParent>,
    ) -> Self {
        let attributes = common_attributes(facts, recorders.names);
        let span = recorders.tracer.as_ref().map(|tracer| {
            let mut all = attributes.clone();
            all.push(KeyValue::new("gen_ai.request.stream", facts.stream));
            all.extend(facts.conversation.map(|conversation| {
                KeyValue::new("gen_ai.conversation.id", conversation.to_owned())
            }));
            let builder = tracer
                .span_builder(format!("{} {}", facts.operation, facts.requested_model))
                .with_kind(SpanKind::Client)
                .with_attributes(all);
            let root = Context::new();
            tracer.build_with_context(builder, parent.map_or(&root, |parent| &parent.0))
        });
        Self {
            recorders,
            span,
            attributes,
            stream: facts.stream,
            last_chunk: None,
        }
    }

    /// Records a text, reasoning or tool call of the model.
    pub fn on_chunk(&mut self) {
        if let Some(instruments) = &self.recorders.instruments
            && self.stream
            && instruments.measures_chunks()
        {
            let now = Instant::now();
            if let Some(last) = self.last_chunk.replace(now) {
                instruments.record_chunk(now - last, &self.attributes);
            }
        }
    }

    /// Ends the span of a turn that was not started; Envoy retries its request.
    pub fn end_retried(mut self, error: &str) {
        if let Some(mut span) = self.span.take() {
            fail(&mut span, error);
            span.end();
        }
    }

    /// Ends the span and records the measurements.
    pub fn end(mut self, result: &TurnResult<'_>) {
        if let Some(instruments) = &self.recorders.instruments {
            instruments.record(result, self.stream, &self.attributes);
        }
        if let Some(mut span) = self.span.take() {
            span.set_attributes(result_attributes(result, self.stream));
            if let Some(error) = &result.record.error {
                fail(&mut span, error);
            }
            span.end();
        }
    }
}

fn fail(span: &mut SdkSpan, error: &str) {
    span.set_attribute(KeyValue::new("error.type", error.to_owned()));
    span.set_status(Status::error(""));
}

fn common_attributes(facts: &TurnFacts<'_>, names: GenAiNames) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("gen_ai.operation.name", facts.operation),
        KeyValue::new("gen_ai.provider.name", PROVIDER),
        KeyValue::new("gen_ai.request.model", facts.requested_model.to_owned()),
        KeyValue::new("gen_ai.response.model", facts.effective_model.to_owned()),
    ];
    match names {
        // Renamed to gen_ai.provider.name in version 1.37.
        GenAiNames::Version136 => attributes.push(KeyValue::new("gen_ai.system", PROVIDER)),
        GenAiNames::Latest => {}
    }
    attributes
}

fn result_attributes(result: &TurnResult<'_>, stream: bool) -> Vec<KeyValue> {
    let record = result.record;
    let mut attributes = Vec::new();
    if let Some(reason) = &record.finish_reason {
        let reasons = Array::String(vec![StringValue::from(reason.clone())]);
        attributes.push(KeyValue::new(
            "gen_ai.response.finish_reasons",
            Value::Array(reasons),
        ));
    }
    if let Some(after) = result.first_token.filter(|_| stream) {
        let name = "gen_ai.response.time_to_first_chunk";
        attributes.push(KeyValue::new(name, after.as_secs_f64()));
    }
    // The conventions: the counts of the provider, not estimates.
    if record.token_source == TokenSource::Reported {
        attributes.extend(
            [
                ("gen_ai.usage.input_tokens", record.prompt_tokens),
                ("gen_ai.usage.output_tokens", record.completion_tokens),
                ("gen_ai.usage.cache_read.input_tokens", record.cached_tokens),
                (
                    "gen_ai.usage.reasoning.output_tokens",
                    record.reasoning_tokens,
                ),
            ]
            .map(|(name, tokens)| KeyValue::new(name, i64::try_from(tokens).unwrap_or(i64::MAX))),
        );
    }
    attributes
}
