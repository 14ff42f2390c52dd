//! The exporters of a process, and their end.

use std::time::Duration;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{
    Compression, ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanExporter as _};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::counts::{ExportCounts, Signal};
use super::handle::Otel;
use super::http_client::RuntimeClient;
use super::instruments::Instruments;
use super::span_queue::span_queue;
use crate::config::{OtelConfig, OtlpTarget, SampledTraces};

/// Time at exit for the last spans and metrics to reach the collector.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The running exporters of a process.
#[derive(Debug, Default)]
pub struct OtelExport {
    closing: CancellationToken,
    spans: JoinSet<()>,
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

impl OtelExport {
    /// Starts the exporters of `config`, with the handle that records. Called on the runtime.
    ///
    /// # Errors
    /// The exporter rejects a variable that it reads itself.
    pub fn start(
        config: &OtelConfig,
        counts: &ExportCounts,
    ) -> Result<(Otel, Self), ExporterBuildError> {
        let mut export = Self::default();
        let resource = resource(config);
        let tracer = match &config.traces {
            Some(target) => Some(export.start_traces(target, config, &resource, counts)?),
            None => None,
        };
        let instruments = match &config.metrics {
            Some(target) => Some(export.start_metrics(target, config, resource, counts)?),
            None => None,
        };
        Ok((Otel::new(tracer, instruments, config.names), export))
    }

    fn start_traces(
        &mut self,
        target: &OtlpTarget,
        config: &OtelConfig,
        resource: &Resource,
        counts: &ExportCounts,
    ) -> Result<SdkTracer, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(&target.url)
            .with_timeout(target.timeout)
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(RuntimeClient::new(target));
        let mut exporter = match target.gzip {
            true => exporter.with_compression(Compression::Gzip).build()?,
            false => exporter.build()?,
        };
        exporter.set_resource(resource);
        let (queue, writer) = span_queue(exporter, config.batches, counts.clone());
        self.spans.spawn(writer.run(self.closing.clone()));
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_sampler(sampler(config.sampled))
            .with_span_processor(queue)
            .build();
        let tracer = provider.tracer_with_scope(scope());
        self.traces = Some(provider);
        Ok(tracer)
    }

    fn start_metrics(
        &mut self,
        target: &OtlpTarget,
        config: &OtelConfig,
        resource: Resource,
        counts: &ExportCounts,
    ) -> Result<Instruments, ExporterBuildError> {
        let exporter = MetricExporter::builder()
            .with_http()
            .with_endpoint(&target.url)
            .with_timeout(target.timeout)
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(RuntimeClient::new(target));
        let exporter = match target.gzip {
            true => exporter.with_compression(Compression::Gzip).build()?,
            false => exporter.build()?,
        };
        let exporter = CountedExporter {
            exporter,
            counts: counts.clone(),
        };
        let reader = PeriodicReader::builder(exporter)
            .with_interval(config.metric_interval)
            .build();
        let provider = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(reader)
            .build();
        let meter = provider.meter_with_scope(scope());
        self.metrics = Some(provider);
        Ok(Instruments::new(&meter, config.names))
    }

    /// Exports what is left, for a bounded time: a collector that is away must not keep the process.
    pub async fn finish(mut self) {
        self.closing.cancel();
        let metrics = self.metrics.take().map(|provider| {
            // Waits for the thread of the SDK.
            spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT))
        });
        let flushed = async {
            while self.spans.join_next().await.is_some() {}
            if let Some(metrics) = metrics {
                metrics.await.ok(); // A failed export is counted.
            }
        };
        if timeout(FLUSH_TIMEOUT, flushed).await.is_err() {
            warn!("telemetry flush timed out");
        }
    }
}

fn resource(config: &OtelConfig) -> Resource {
    let attributes = config.resource.iter();
    Resource::builder_empty()
        .with_attribute(KeyValue::new("telemetry.sdk.name", "opentelemetry"))
        .with_attribute(KeyValue::new("telemetry.sdk.language", "rust"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(attributes.map(|(name, value)| KeyValue::new(name.clone(), value.clone())))
        .with_service_name(config.service_name.clone())
        .build()
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("codex-edge")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

fn sampler(sampled: SampledTraces) -> Sampler {
    // The ratio 1 samples every trace, the ratio 0 samples none.
    let own = Sampler::TraceIdRatioBased(sampled.ratio);
    if sampled.follows_caller {
        Sampler::ParentBased(Box::new(own))
    } else {
        own
    }
}

/// An exporter that counts its failures; the SDK only logs them.
struct CountedExporter {
    exporter: MetricExporter,
    counts: ExportCounts,
}

impl PushMetricExporter for CountedExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let exported = self.exporter.export(metrics).await;
        if let Err(error) = &exported {
            self.counts
                .on_failure(Signal::metrics, 0, &error.to_string());
        }
        exported
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
