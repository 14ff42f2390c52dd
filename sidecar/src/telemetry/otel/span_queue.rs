//! The queue between ended spans and their export.
//! The SDK's `BatchSpanProcessor` drops spans without a count, and exports from a thread of its own; this queue counts, and
//! runs on the runtime of the sidecar.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::counts::{ExportCounts, Signal};
use crate::config::BatchConfig;

/// The end of the queue that spans enter. Entering never waits.
#[derive(Debug)]
pub(super) struct SpanQueue {
    sender: mpsc::Sender<SpanData>,
    counts: ExportCounts,
}

/// The end of the queue that exports.
#[derive(Debug)]
pub(super) struct SpanWriter<E> {
    receiver: mpsc::Receiver<SpanData>,
    exporter: E,
    config: BatchConfig,
    counts: ExportCounts,
}

/// Returns both ends of a queue for `exporter`.
pub(super) fn span_queue<E: SpanExporter>(
    exporter: E,
    config: BatchConfig,
    counts: ExportCounts,
) -> (SpanQueue, SpanWriter<E>) {
    let (sender, receiver) = mpsc::channel(config.queue.get());
    let queue = SpanQueue {
        sender,
        counts: counts.clone(),
    };
    let writer = SpanWriter {
        receiver,
        exporter,
        config,
        counts,
    };
    (queue, writer)
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.sender.try_send(span).is_err() {
            self.counts.on_full_queue();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(()) // `SpanWriter::run` ends the queue.
    }
}

impl<E: SpanExporter> SpanWriter<E> {
    /// Exports batches until `closing` is cancelled and the queue is empty.
    pub(super) async fn run(mut self, closing: CancellationToken) {
        loop {
            let batch = self.next_batch(&closing).await;
            if batch.is_empty() {
                return;
            }
            let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            if let Err(error) = self.exporter.export(batch).await {
                self.counts
                    .on_failure(Signal::traces, spans, &error.to_string());
            }
        }
    }

    /// Waits for a span, then for more of them until the batch is full or the first one has waited long enough. Empty once
    /// the queue has ended.
    async fn next_batch(&mut self, closing: &CancellationToken) -> Vec<SpanData> {
        let mut batch = Vec::new();
        let mut deadline = None;
        while batch.len() < self.config.batch.get() {
            let room = self.config.batch.get() - batch.len();
            let until = deadline.unwrap_or_else(|| Instant::now() + FOREVER);
            let is_open = !self.receiver.is_closed();
            let received = tokio::select! {
                // Both arms may be dropped halfway: `recv_many` then has taken nothing.
                () = closing.cancelled(), if is_open => {
                    self.receiver.close();
                    continue;
                }
                received = timeout_at(until, self.receiver.recv_many(&mut batch, room)) => received,
            };
            match received {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    deadline.get_or_insert_with(|| Instant::now() + self.config.delay);
                }
            }
        }
        batch
    }
}

/// A wait for the first span of a batch; an empty batch would end the queue.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
