//! One line a request in the log, and one count, when its answer is over or its client has left.
//! The line lives in the body of the answer, so that no end of a request can be missed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tracing::{Span, debug, info};

use crate::telemetry::metrics::Metrics;

/// The status of a request whose client left before there was one, as nginx logs it.
pub const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The line of one request; dropping it writes it.
#[derive(Debug)]
pub struct AccessLog {
    span: Span,
    importance: LogClass,
    metrics: Arc<Metrics>,
    /// What the metrics call where it went.
    route: &'static str,
    started: Instant,
    status: Option<u16>,
    complete: bool,
}

/// Who wants to read the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogClass {
    /// Everybody.
    Request,
    /// Hardly anybody: something asks every few seconds whether we live.
    Probe,
}

impl AccessLog {
    /// The line of a request that has just come.
    pub fn new(
        span: Span,
        importance: LogClass,
        metrics: Arc<Metrics>,
        route: &'static str,
    ) -> Self {
        Self {
            span,
            importance,
            metrics,
            route,
            started: Instant::now(),
            status: None,
            complete: false,
        }
    }

    /// Goes along with the answer to its end.
    pub fn follow<B: Body>(mut self, response: Response<B>) -> Response<Followed<B>> {
        self.status = Some(response.status().as_u16());
        response.map(|body| {
            self.complete = body.is_end_stream();
            Followed { body, line: self }
        })
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        let elapsed = self.started.elapsed();
        self.metrics.count_request(
            self.route,
            self.status.unwrap_or(CLIENT_CLOSED_REQUEST),
            elapsed,
        );
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let client_left = !self.complete;
        match self.importance {
            LogClass::Request => info!(status = self.status, elapsed_ms, client_left, "request"),
            LogClass::Probe => debug!(status = self.status, elapsed_ms, client_left, "probe"),
        }
    }
}

/// A body whose end is written to the log.
#[derive(Debug)]
pub struct Followed<B> {
    body: B,
    line: AccessLog,
}

impl<B: Body + Unpin> Body for Followed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.line.complete = true;
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
