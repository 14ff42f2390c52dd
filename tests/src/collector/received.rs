//! Received telemetry in a form that tests can compare.

use std::collections::BTreeMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::Value;

/// Attributes by their names, as JSON values.
pub type Attributes = BTreeMap<String, Value>;

/// Everything that a collector has received.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Spans in the order of their arrival.
    pub spans: Vec<SpanRecord>,
    /// Points of metrics by the metric's name, as of the last export that had it.
    pub metrics: BTreeMap<String, Vec<MetricPoints>>,
    /// Bodies and heads of the exports.
    pub raw: Vec<(http::request::Parts, Bytes)>,
}

/// A span.
#[derive(Clone, Debug)]
pub struct SpanRecord {
    /// `service.name` of its resource.
    pub service: String,
    /// Attributes of its resource.
    pub resource: Attributes,
    /// Trace id in hexadecimal digits.
    pub trace: String,
    /// Span id in hexadecimal digits.
    pub id: String,
    /// Parent's span id; empty for a root.
    pub parent: String,
    /// `tracestate` of the trace.
    pub state: String,
    /// Name of the operation.
    pub name: String,
    /// Kind, such as `SPAN_KIND_SERVER`.
    pub kind: &'static str,
    /// Attributes of the span.
    pub attributes: Attributes,
    /// Whether the status is an error.
    pub is_error: bool,
    /// Duration in nanoseconds.
    pub nanos: u64,
}

/// A data point of a metric.
#[derive(Clone, Debug)]
pub struct MetricPoints {
    /// Attributes of the point.
    pub attributes: Attributes,
    /// Number of values in a histogram; 1 for a sum.
    pub count: u64,
    /// Sum of the values.
    pub sum: f64,
    /// Boundaries of the buckets; empty for a sum.
    pub boundaries: Vec<f64>,
}

impl Received {
    /// Decodes the body of an export to `path`.
    ///
    /// # Errors
    /// The path or the body is not OTLP's.
    pub(super) fn add(&mut self, head: http::request::Parts, body: Bytes) -> Result<(), String> {
        match head.uri.path() {
            "/v1/traces" => {
                let request = ExportTraceServiceRequest::decode(body.clone());
                self.add_traces(request.map_err(|error| error.to_string())?);
            }
            "/v1/metrics" => {
                let request = ExportMetricsServiceRequest::decode(body.clone());
                self.add_metrics(request.map_err(|error| error.to_string())?);
            }
            path => return Err(format!("unknown path {path}")),
        }
        self.raw.push((head, body));
        Ok(())
    }

    /// Whether `word` occurs in anything that was exported.
    pub fn contains(&self, word: &str) -> bool {
        let word = word.as_bytes();
        let bodies = self.raw.iter();
        bodies
            .flat_map(|(_, body)| body.windows(word.len()))
            .any(|window| window == word)
    }

    /// Returns the spans of `service` in a trace.
    pub fn spans_of(&self, service: &str, trace: &str) -> Vec<&SpanRecord> {
        let spans = self.spans.iter();
        spans
            .filter(|span| span.service == service && span.trace == trace)
            .collect()
    }

    fn add_traces(&mut self, request: ExportTraceServiceRequest) {
        for of_resource in request.resource_spans {
            let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
            let service = resource["service.name"].as_str().unwrap_or_default();
            let spans = of_resource.scope_spans.into_iter();
            for span in spans.flat_map(|of_scope| of_scope.spans) {
                self.spans.push(SpanRecord {
                    service: service.to_owned(),
                    resource: resource.clone(),
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    kind: SpanKind::try_from(span.kind)
                        .map_or("unknown", |kind| kind.as_str_name()),
                    state: span.trace_state,
                    name: span.name,
                    attributes: attributes(span.attributes),
                    is_error: span.status.is_some_and(|status| status.code == 2),
                    nanos: span.end_time_unix_nano - span.start_time_unix_nano,
                });
            }
        }
    }

    fn add_metrics(&mut self, request: ExportMetricsServiceRequest) {
        let resources = request.resource_metrics.into_iter();
        let scopes = resources.flat_map(|of_resource| of_resource.scope_metrics);
        for metric in scopes.flat_map(|of_scope| of_scope.metrics) {
            let points = points(metric.data.expect("a metric has data"));
            self.metrics.insert(metric.name, points);
        }
    }
}

fn points(data: Data) -> Vec<MetricPoints> {
    match data {
        Data::Histogram(histogram) => histogram
            .data_points
            .into_iter()
            .map(|point| MetricPoints {
                attributes: attributes(point.attributes),
                count: point.count,
                sum: point.sum.unwrap_or_default(),
                boundaries: point.explicit_bounds,
            })
            .collect(),
        Data::Sum(sum) => sum
            .data_points
            .into_iter()
            .map(|point| MetricPoints {
                attributes: attributes(point.attributes),
                count: 1,
                sum: match point.value {
                    #[expect(clippy::cast_precision_loss, reason = "counts of tests are small")]
                    Some(number_data_point::Value::AsInt(value)) => value as f64,
                    Some(number_data_point::Value::AsDouble(value)) => value,
                    None => 0.0,
                },
                boundaries: Vec::new(),
            })
            .collect(),
        other => panic!("the sidecar exports histograms and sums: {other:?}"),
    }
}

fn attributes(attributes: Vec<KeyValue>) -> Attributes {
    let attributes = attributes.into_iter();
    attributes
        .map(|attribute| (attribute.key, attribute.value.map_or(Value::Null, json)))
        .collect()
}

fn json(value: AnyValue) -> Value {
    match value.value {
        Some(Any::StringValue(text)) => text.into(),
        Some(Any::BoolValue(value)) => value.into(),
        Some(Any::IntValue(value)) => value.into(),
        Some(Any::DoubleValue(value)) => value.into(),
        Some(Any::ArrayValue(array)) => array.values.into_iter().map(json).collect(),
        other => format!("{other:?}").into(),
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
