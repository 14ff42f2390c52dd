//! The span of a request: kind server, a child of the caller's span.
//! Sources: W3C Trace Context; OpenTelemetry semantic conventions for HTTP spans. The path is left out, because it may have
//! text of the client; `http.route` has the pattern.

use http::{HeaderMap, Method};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

use crate::telemetry::trace_context::caller_trace_id;

/// The span of one request, ended by [`RequestSpan::end`].
#[derive(Debug)]
pub struct RequestSpan(SdkSpan);

/// The span under which a turn starts its own.
#[derive(Debug, Clone)]
pub struct SpanParent(pub(super) Context);

impl RequestSpan {
    pub(super) fn start(
        tracer: &SdkTracer,
        method: &Method,
        route: &'static str,
        headers: &HeaderMap,
    ) -> Self {
        let method = known_method(method);
        let builder = tracer
            .span_builder(format!("{method} {route}"))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", method),
                KeyValue::new("http.route", route),
                KeyValue::new("url.scheme", "http"),
            ]);
        Self(tracer.build_with_context(builder, &caller(headers)))
    }

    /// Returns the parent for the spans of this request.
    pub fn parent(&self) -> SpanParent {
        let context = self.0.span_context().clone();
        SpanParent(Context::new().with_remote_span_context(context))
    }

    /// Returns the trace id in hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.0.span_context().trace_id().to_string()
    }

    /// Ends the span. `status` is `None` if the client left before the response.
    pub fn end(mut self, status: Option<u16>, client_left: bool) {
        let mut error = None;
        if let Some(status) = status {
            let value = KeyValue::new("http.response.status_code", i64::from(status));
            self.0.set_attribute(value);
            error = (status >= 500).then(|| status.to_string());
        }
        if client_left {
            error.get_or_insert_with(|| "client_left".to_owned());
        }
        if let Some(error) = error {
            self.0.set_attribute(KeyValue::new("error.type", error));
            self.0.set_status(Status::error(""));
        }
        self.0.end();
    }
}

/// Returns the span of the caller; an empty context for a header that Trace Context does not allow.
fn caller(headers: &HeaderMap) -> Context {
    // The propagator of the SDK accepts ids that are too short.
    if caller_trace_id(headers).is_some() {
        TraceContextPropagator::new()
            .extract_with_context(&Context::new(), &HeaderExtractor(headers))
    } else {
        Context::new()
    }
}

/// Returns the name of a method of HTTP; the conventions replace any other by `_OTHER`.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}
