//! The access log: one line and one count per request, written when its response has ended or its client has left.
//! The line is owned by the response's body, because dropping the body is the only event that every ending shares.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Span, debug, info};

use super::response::BoxedBody;
use crate::telemetry::UsageRecord;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::otel::RequestSpan;

/// The log line of one request; dropping it writes it.
#[derive(Debug)]
pub(super) struct AccessLog {
    span: Span,
    class: LogClass,
    metrics: Arc<Metrics>,
    /// The exported span; `None` if traces are not exported.
    exported: Option<RequestSpan>,
    /// The `route` label of the metrics.
    route: &'static str,
    started: Instant,
    /// `None` when the client left before the response.
    status: Option<u16>,
    complete: bool,
}

/// The level of a request's log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogClass {
    /// Level info.
    Request,
    /// Level debug: a health check.
    Probe,
}

impl AccessLog {
    /// Starts the line of a request, right after its head.
    pub(super) fn new(
        span: Span,
        class: LogClass,
        metrics: Arc<Metrics>,
        route: &'static str,
        exported: Option<RequestSpan>,
    ) -> Self {
        Self {
            span,
            class,
            metrics,
            exported,
            route,
            started: Instant::now(),
            status: None,
            complete: false,
        }
    }

    /// Moves the line, and `in_flight`, into the body of the response.
    pub(super) fn instrument(
        mut self,
        response: Response<BoxedBody>,
        in_flight: TaskTrackerToken,
    ) -> Response<InstrumentedBody> {
        self.status = Some(response.status().as_u16());
        response.map(|body| {
            // hyper never polls an empty body, such as that of a 204.
            self.complete = body.is_end_stream();
            InstrumentedBody {
                body,
                log: Some(self),
                _in_flight: in_flight,
            }
        })
    }

    /// Writes the line and counts the request.
    fn finish(&mut self) {
        let _entered = self.span.enter();
        let elapsed = self.started.elapsed();
        let status = self.status.unwrap_or(UsageRecord::CLIENT_CLOSED_REQUEST);
        self.metrics.count_request(self.route, status, elapsed);
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let client_left = !self.complete;
        if let Some(exported) = self.exported.take() {
            exported.end(self.status, client_left);
        }
        match self.class {
            LogClass::Request => info!(status = self.status, elapsed_ms, client_left, "request"),
            LogClass::Probe => debug!(status = self.status, elapsed_ms, client_left, "probe"),
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The body of a response with its access log line. The connection drains once every body that it sent is dropped.
#[derive(Debug)]
pub struct InstrumentedBody {
    body: BoxedBody,
    log: Option<AccessLog>,
    _in_flight: TaskTrackerToken,
}

impl InstrumentedBody {
    /// Returns a body without an access log line; `in_flight` is held until it is dropped.
    pub fn unlogged(body: BoxedBody, in_flight: TaskTrackerToken) -> Self {
        Self {
            body,
            log: None,
            _in_flight: in_flight,
        }
    }
}

impl HttpBody for InstrumentedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // hyper does not poll again after a last frame that marks the end, so check after each frame.
        let is_last = match &polled {
            Poll::Ready(Some(frame)) => frame.as_ref().is_ok_and(Frame::is_trailers),
            Poll::Ready(None) => true,
            Poll::Pending => false,
        };
        let ended = is_last || self.body.is_end_stream();
        if let Some(log) = &mut self.log {
            log.complete |= ended;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use tokio_util::task::TaskTracker;

    use super::*;

    #[test]
    fn instrumented_body_holds_its_token_until_dropped_and_passes_the_size_on() {
        let in_flight = TaskTracker::new();
        let body = Full::new(Bytes::from("four")).boxed_unsync();
        let body = InstrumentedBody::unlogged(body, in_flight.token());
        assert_eq!(in_flight.len(), 1);
        assert_eq!(
            (body.size_hint().exact(), body.is_end_stream()),
            (Some(4), false)
        );
        drop(body);
        assert_eq!(in_flight.len(), 0);
    }
}
