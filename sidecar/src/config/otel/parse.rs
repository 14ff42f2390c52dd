//! The flags -> an [`OtelConfig`]. An error names the variable, what it accepts and what to do.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::args::OtelArgs;
use super::types::{BatchConfig, GenAiNames, OtelConfig, OtlpTarget, SampledTraces};

/// A flag's value, with the name of its variable.
#[derive(Clone, Copy)]
struct Value<'a> {
    name: &'static str,
    text: &'a str,
}

/// The flags of one signal, beside those of all signals.
struct Signal<'a> {
    path: &'static str,
    exporter: Option<Value<'a>>,
    endpoint: Option<Value<'a>>,
    protocol: Option<Value<'a>>,
    headers: Option<Value<'a>>,
    timeout: Option<Value<'a>>,
    shorter_timeout: Option<Value<'a>>,
}

/// Pairs the field of a variable with the variable's name.
macro_rules! value {
    ($args:expr, $field:ident, $name:literal) => {
        $args
            .$field
            .as_deref()
            .map(|text| Value { name: $name, text })
    };
}

impl OtelArgs {
    /// Returns the export, or `None` if it is disabled: no endpoint is set, or `OTEL_SDK_DISABLED` is true.
    ///
    /// # Errors
    /// A text for the operator about the first invalid value. Values of a disabled export are not looked at.
    pub(in crate::config) fn parse(&self) -> Result<Option<OtelConfig>, String> {
        let disabled = value!(self, otel_sdk_disabled, "OTEL_SDK_DISABLED");
        if disabled.is_some_and(|value| value.text.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let (traces, metrics) = (self.target(&self.traces())?, self.target(&self.metrics())?);
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let interval = value!(
            self,
            otel_metric_export_interval,
            "OTEL_METRIC_EXPORT_INTERVAL"
        );
        let attributes = value!(self, otel_resource_attributes, "OTEL_RESOURCE_ATTRIBUTES");
        let mut resource = attributes.map_or(Ok(Vec::new()), Value::pairs)?;
        // The variable of its own has precedence.
        let position = resource.iter().position(|(name, _)| name == "service.name");
        let named = position.map(|index| resource.remove(index).1);
        let service_name = self.otel_service_name.clone().or(named);
        Ok(Some(OtelConfig {
            traces,
            metrics,
            service_name: service_name.unwrap_or_else(|| "codex-edge".to_owned()),
            resource,
            sampled: self.sampled()?,
            batches: self.batches()?,
            metric_interval: milliseconds(interval, 60_000)?,
            names: self.names(),
        }))
    }

    fn traces(&self) -> Signal<'_> {
        Signal {
            path: "v1/traces",
            exporter: value!(self, otel_traces_exporter, "OTEL_TRACES_EXPORTER"),
            endpoint: value!(
                self,
                otel_exporter_otlp_traces_endpoint,
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
            ),
            protocol: value!(
                self,
                otel_exporter_otlp_traces_protocol,
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
            ),
            headers: value!(
                self,
                otel_exporter_otlp_traces_headers,
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
            ),
            timeout: value!(
                self,
                otel_exporter_otlp_traces_timeout,
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"
            ),
            shorter_timeout: value!(self, otel_bsp_export_timeout, "OTEL_BSP_EXPORT_TIMEOUT"),
        }
    }

    fn metrics(&self) -> Signal<'_> {
        Signal {
            path: "v1/metrics",
            exporter: value!(self, otel_metrics_exporter, "OTEL_METRICS_EXPORTER"),
            endpoint: value!(
                self,
                otel_exporter_otlp_metrics_endpoint,
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
            ),
            protocol: value!(
                self,
                otel_exporter_otlp_metrics_protocol,
                "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"
            ),
            headers: value!(
                self,
                otel_exporter_otlp_metrics_headers,
                "OTEL_EXPORTER_OTLP_METRICS_HEADERS"
            ),
            timeout: value!(
                self,
                otel_exporter_otlp_metrics_timeout,
                "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT"
            ),
            shorter_timeout: value!(
                self,
                otel_metric_export_timeout,
                "OTEL_METRIC_EXPORT_TIMEOUT"
            ),
        }
    }

    /// Returns the collector of a signal; `None` without an endpoint, or with the exporter `none`.
    fn target(&self, signal: &Signal<'_>) -> Result<Option<OtlpTarget>, String> {
        let general = value!(
            self,
            otel_exporter_otlp_endpoint,
            "OTEL_EXPORTER_OTLP_ENDPOINT"
        );
        let Some(endpoint) = signal.endpoint.or(general) else {
            return Ok(None);
        };
        if let Some(exporter) = signal.exporter {
            match exporter.text {
                "otlp" => {}
                "none" => return Ok(None),
                _ => return Err(exporter.invalid("otlp or none")),
            }
        }
        let protocol = value!(
            self,
            otel_exporter_otlp_protocol,
            "OTEL_EXPORTER_OTLP_PROTOCOL"
        );
        check_protocol(signal.protocol.or(protocol))?;
        let mut url = endpoint.url()?;
        if signal.endpoint.is_none() {
            let separator = if url.ends_with('/') { "" } else { "/" };
            url = format!("{url}{separator}{}", signal.path);
        }
        let headers = value!(
            self,
            otel_exporter_otlp_headers,
            "OTEL_EXPORTER_OTLP_HEADERS"
        );
        let timeout = value!(
            self,
            otel_exporter_otlp_timeout,
            "OTEL_EXPORTER_OTLP_TIMEOUT"
        );
        let timeout = milliseconds(signal.timeout.or(timeout), 10_000)?;
        let shorter = signal
            .shorter_timeout
            .map(Value::milliseconds)
            .transpose()?;
        Ok(Some(OtlpTarget {
            url,
            headers: headers_of(signal.headers.or(headers))?,
            timeout: shorter.map_or(timeout, |shorter| shorter.min(timeout)),
            gzip: self.gzip()?,
        }))
    }

    fn gzip(&self) -> Result<bool, String> {
        let compression = value!(
            self,
            otel_exporter_otlp_compression,
            "OTEL_EXPORTER_OTLP_COMPRESSION"
        );
        match compression.map(|value| (value.text, value)) {
            None | Some(("none", _)) => Ok(false),
            Some(("gzip", _)) => Ok(true),
            Some((_, value)) => Err(value.invalid("gzip or none")),
        }
    }

    fn sampled(&self) -> Result<SampledTraces, String> {
        let Some(sampler) = value!(self, otel_traces_sampler, "OTEL_TRACES_SAMPLER") else {
            return Ok(SampledTraces {
                follows_caller: true,
                ratio: 1.0,
            });
        };
        let share = value!(self, otel_traces_sampler_arg, "OTEL_TRACES_SAMPLER_ARG");
        let own = sampler.text.strip_prefix("parentbased_");
        Ok(SampledTraces {
            follows_caller: own.is_some(),
            ratio: match own.unwrap_or(sampler.text) {
                "always_on" => 1.0,
                "always_off" => 0.0,
                "traceidratio" => share.map_or(Ok(1.0), Value::ratio)?,
                _ => {
                    return Err(sampler.invalid(
                        "always_on, always_off or traceidratio, also after parentbased_",
                    ));
                }
            },
        })
    }

    fn batches(&self) -> Result<BatchConfig, String> {
        let queue = value!(self, otel_bsp_max_queue_size, "OTEL_BSP_MAX_QUEUE_SIZE");
        let batch = value!(
            self,
            otel_bsp_max_export_batch_size,
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
        );
        let delay = value!(self, otel_bsp_schedule_delay, "OTEL_BSP_SCHEDULE_DELAY");
        let queue = spans(queue, 2048)?;
        Ok(BatchConfig {
            queue,
            // The specification: at most the queue.
            batch: spans(batch, 512)?.min(queue),
            delay: milliseconds(delay, 5_000)?,
        })
    }

    fn names(&self) -> GenAiNames {
        let text = self.otel_semconv_stability_opt_in.as_deref();
        let mut names = text.unwrap_or_default().split(',').map(str::trim);
        if names.any(|name| name == "gen_ai_latest_experimental") {
            GenAiNames::Latest
        } else {
            GenAiNames::Version136
        }
    }
}

impl Value<'_> {
    fn invalid(self, accepted: &str) -> String {
        let Self { name, text } = self;
        format!("Invalid {name} {text:?}; it must be {accepted}.")
    }

    /// An error without the value, which may hold a credential.
    fn invalid_secret(self, accepted: &str) -> String {
        format!("Invalid {}; it must be {accepted}.", self.name)
    }

    /// Accepts an http URL with a host.
    fn url(self) -> Result<String, String> {
        let uri = self.text.parse::<Uri>().ok();
        let scheme = uri.as_ref().and_then(Uri::scheme_str);
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        match scheme {
            Some("http") if !host.is_empty() => Ok(self.text.to_owned()),
            Some("https") => Err(format!(
                "Unsupported scheme https in {}: the sidecar speaks no TLS to a collector. Run a collector on this machine or in a private network, give its http:// URL, and let it forward over TLS.",
                self.name
            )),
            _ => Err(self.invalid("the http:// URL of a collector, such as http://localhost:4318")),
        }
    }

    fn milliseconds(self) -> Result<Duration, String> {
        match self.text.parse() {
            Ok(0) | Err(_) => Err(self.invalid("a whole number of milliseconds from 1")),
            Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        }
    }

    fn ratio(self) -> Result<f64, String> {
        let ratio = self.text.parse().ok();
        ratio
            .filter(|ratio| (0.0..=1.0).contains(ratio))
            .ok_or_else(|| self.invalid("a number from 0 to 1"))
    }

    /// Reads `NAME=VALUE,...` with percent-encoded values (W3C Baggage without properties).
    fn pairs(self) -> Result<Vec<(String, String)>, String> {
        let entries = self.text.split(',').map(str::trim);
        entries
            .filter(|entry| !entry.is_empty())
            .map(|entry| {
                let (name, value) = entry.split_once('=')?;
                let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
                let name = name.trim();
                (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
            })
            .collect::<Option<_>>()
            .ok_or_else(|| {
                self.invalid_secret("NAME=VALUE, separated by commas, with percent-encoded values")
            })
    }
}

/// Rejects every protocol but the one that is built in.
fn check_protocol(protocol: Option<Value<'_>>) -> Result<(), String> {
    match protocol {
        None => Ok(()),
        Some(value) if value.text == "http/protobuf" => Ok(()),
        Some(Value { name, text }) => Err(format!(
            "Unsupported {name} {text:?}; the sidecar exports with http/protobuf only. Unset {name} or set it to http/protobuf, and give the collector's HTTP port, usually 4318, in the endpoint."
        )),
    }
}

fn headers_of(value: Option<Value<'_>>) -> Result<HashMap<String, String>, String> {
    let Some(value) = value else {
        return Ok(HashMap::new());
    };
    let pairs = value.pairs()?;
    let valid = |(name, text): &(String, String)| {
        HeaderName::from_str(name).is_ok() && HeaderValue::from_str(text).is_ok()
    };
    if pairs.iter().all(valid) {
        Ok(pairs.into_iter().collect())
    } else {
        Err(value
            .invalid_secret("NAME=VALUE, separated by commas, with valid header names and values"))
    }
}

fn milliseconds(value: Option<Value<'_>>, default: u64) -> Result<Duration, String> {
    value.map_or(Ok(Duration::from_millis(default)), Value::milliseconds)
}

/// Largest number of spans in a queue. tokio's channel allocates as it fills; a larger number is a mistake.
const MAX_SPANS: usize = 1 << 20;

fn spans(value: Option<Value<'_>>, default: usize) -> Result<NonZeroUsize, String> {
    let count = value.map_or(Some(default), |value| value.text.parse().ok());
    count
        .filter(|count| *count <= MAX_SPANS)
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| {
            let value = value.expect("the default is valid");
            value.invalid("a whole number from 1 to 1048576")
        })
}
