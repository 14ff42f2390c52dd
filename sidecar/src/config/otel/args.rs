//! The flags as clap declares them; the variables have the standard names. The values are texts, because they count only
//! if an endpoint is set: many machines set these variables for all of their programs.

use clap::Args;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "OpenTelemetry")]
#[group(skip)]
pub(in crate::config) struct OtelArgs {
    /// Disable the export of traces and metrics: true or false (default).
    #[arg(long, env, value_name = "BOOL")]
    pub(super) otel_sdk_disabled: Option<String>,
    /// Collector that receives traces and metrics, such as http://localhost:4318; enables the export.
    #[arg(long, env, value_name = "URL")]
    pub(super) otel_exporter_otlp_endpoint: Option<String>,
    /// Whole URL for traces, used as it is; without it, /v1/traces at OTEL_EXPORTER_OTLP_ENDPOINT.
    #[arg(long, env, value_name = "URL")]
    pub(super) otel_exporter_otlp_traces_endpoint: Option<String>,
    /// Whole URL for metrics, used as it is; without it, /v1/metrics at OTEL_EXPORTER_OTLP_ENDPOINT.
    #[arg(long, env, value_name = "URL")]
    pub(super) otel_exporter_otlp_metrics_endpoint: Option<String>,
    /// Exporter of traces: otlp (default) or none.
    #[arg(long, env, value_name = "EXPORTER")]
    pub(super) otel_traces_exporter: Option<String>,
    /// Exporter of metrics: otlp (default) or none.
    #[arg(long, env, value_name = "EXPORTER")]
    pub(super) otel_metrics_exporter: Option<String>,
    /// Protocol of the export; http/protobuf (default) is the only one.
    #[arg(long, env, value_name = "PROTOCOL")]
    pub(super) otel_exporter_otlp_protocol: Option<String>,
    /// Protocol for traces; overrides OTEL_EXPORTER_OTLP_PROTOCOL.
    #[arg(long, env, value_name = "PROTOCOL")]
    pub(super) otel_exporter_otlp_traces_protocol: Option<String>,
    /// Protocol for metrics; overrides OTEL_EXPORTER_OTLP_PROTOCOL.
    #[arg(long, env, value_name = "PROTOCOL")]
    pub(super) otel_exporter_otlp_metrics_protocol: Option<String>,
    /// Headers of each export: NAME=VALUE, separated by commas, values percent-encoded. May hold a credential.
    #[arg(long, env, value_name = "HEADERS")]
    pub(super) otel_exporter_otlp_headers: Option<String>,
    /// Headers for traces; overrides OTEL_EXPORTER_OTLP_HEADERS.
    #[arg(long, env, value_name = "HEADERS")]
    pub(super) otel_exporter_otlp_traces_headers: Option<String>,
    /// Headers for metrics; overrides OTEL_EXPORTER_OTLP_HEADERS.
    #[arg(long, env, value_name = "HEADERS")]
    pub(super) otel_exporter_otlp_metrics_headers: Option<String>,
    /// Timeout of one export in milliseconds, 10000 by default.
    #[arg(long, env, value_name = "MS")]
    pub(super) otel_exporter_otlp_timeout: Option<String>,
    /// Timeout for traces; overrides OTEL_EXPORTER_OTLP_TIMEOUT.
    #[arg(long, env, value_name = "MS")]
    pub(super) otel_exporter_otlp_traces_timeout: Option<String>,
    /// Timeout for metrics; overrides OTEL_EXPORTER_OTLP_TIMEOUT.
    #[arg(long, env, value_name = "MS")]
    pub(super) otel_exporter_otlp_metrics_timeout: Option<String>,
    /// Compression of the export: gzip or none (default).
    #[arg(long, env, value_name = "COMPRESSION")]
    pub(super) otel_exporter_otlp_compression: Option<String>,
    /// Name of the service in traces and metrics, codex-edge by default.
    #[arg(long, env, value_name = "NAME")]
    pub(super) otel_service_name: Option<String>,
    /// Attributes of all traces and metrics: NAME=VALUE, separated by commas, values percent-encoded.
    #[arg(long, env, value_name = "ATTRIBUTES")]
    pub(super) otel_resource_attributes: Option<String>,
    /// Traces to sample: always_on, always_off, traceidratio, or one of them after parentbased_, which follows the
    /// caller's decision; parentbased_always_on by default.
    #[arg(long, env, value_name = "SAMPLER")]
    pub(super) otel_traces_sampler: Option<String>,
    /// Share of traces from 0 to 1 for the samplers that end with traceidratio, 1 by default.
    #[arg(long, env, value_name = "RATIO")]
    pub(super) otel_traces_sampler_arg: Option<String>,
    /// Maximum number of spans that wait for their export, 2048 by default; further ones are dropped and counted.
    #[arg(long, env, value_name = "SPANS")]
    pub(super) otel_bsp_max_queue_size: Option<String>,
    /// Maximum number of spans in one export, 512 by default.
    #[arg(long, env, value_name = "SPANS")]
    pub(super) otel_bsp_max_export_batch_size: Option<String>,
    /// Longest wait of a span for its export in milliseconds, 5000 by default.
    #[arg(long, env, value_name = "MS")]
    pub(super) otel_bsp_schedule_delay: Option<String>,
    /// Timeout of one export of spans in milliseconds, where it is shorter than OTEL_EXPORTER_OTLP_TIMEOUT.
    #[arg(long, env, value_name = "MS")]
    pub(super) otel_bsp_export_timeout: Option<String>,
    /// Time between two exports of metrics in milliseconds, 60000 by default.
    #[arg(long, env, value_name = "MS")]
    pub(super) otel_metric_export_interval: Option<String>,
    /// Timeout of one export of metrics in milliseconds, where it is shorter than OTEL_EXPORTER_OTLP_TIMEOUT.
    #[arg(long, env, value_name = "MS")]
    pub(super) otel_metric_export_timeout: Option<String>,
    /// Names of GenAI metrics: gen_ai_latest_experimental selects the renamed ones. Other values are left to other
    /// programs.
    #[arg(long, env, value_name = "NAMES")]
    pub(super) otel_semconv_stability_opt_in: Option<String>,
}
