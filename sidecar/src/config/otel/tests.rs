//! Tests of the variables: defaults, precedence, and the errors.

use std::time::Duration;

use clap::Parser;

use super::{GenAiNames, OtelArgs, OtelConfig};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    otel: OtelArgs,
}

/// Parses flags as the variables of the same names.
fn parse(variables: &[(&str, &str)]) -> Result<Option<OtelConfig>, String> {
    let flags = variables
        .iter()
        .map(|(name, value)| format!("--{}={value}", name.to_ascii_lowercase().replace('_', "-")));
    let args = std::iter::once("sidecar".to_owned()).chain(flags);
    Flags::try_parse_from(args)
        .expect("the flags are known")
        .otel
        .parse()
}

fn enabled(variables: &[(&str, &str)]) -> OtelConfig {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    let variables: Vec<_> = [endpoint].iter().chain(variables).copied().collect();
    parse(&variables)
        .expect("the variables are valid")
        .expect("an endpoint is set")
}

#[test]
fn export_is_off_without_an_endpoint_or_when_disabled() {
    assert!(parse(&[]).unwrap().is_none());
    // Values for other programs of the machine.
    assert!(
        parse(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")])
            .unwrap()
            .is_none()
    );
    for disabled in ["true", "TRUE"] {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector"),
            ("OTEL_SDK_DISABLED", disabled),
        ];
        assert!(parse(&variables).unwrap().is_none());
    }
}

#[test]
fn defaults_are_those_of_the_specification() {
    let config = enabled(&[]);
    let traces = config.traces.unwrap();
    assert_eq!(traces.url, "http://collector:4318/v1/traces");
    assert_eq!(traces.timeout, Duration::from_secs(10));
    assert!(!traces.gzip && traces.headers.is_empty());
    assert_eq!(
        config.metrics.unwrap().url,
        "http://collector:4318/v1/metrics"
    );
    assert_eq!(config.service_name, "codex-edge");
    assert!(config.sampled.follows_caller);
    assert!((config.sampled.ratio - 1.0).abs() < f64::EPSILON);
    assert_eq!(
        (config.batches.queue.get(), config.batches.batch.get()),
        (2048, 512)
    );
    assert_eq!(config.batches.delay, Duration::from_secs(5));
    assert_eq!(config.metric_interval, Duration::from_secs(60));
    assert_eq!(config.names, GenAiNames::Version136);
}

#[test]
fn variables_of_a_signal_override_those_of_all_signals() {
    let config = enabled(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/own"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "authorization=Bearer%20x+y, b = 2",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "900"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "800"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "700"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,zone=a%2Cb"),
        (
            "OTEL_SEMCONV_STABILITY_OPT_IN",
            "http, gen_ai_latest_experimental",
        ),
    ]);
    let (traces, metrics) = (config.traces.unwrap(), config.metrics.unwrap());
    assert_eq!(traces.url, "http://t:1/own");
    assert_eq!(traces.headers["authorization"], "Bearer x+y");
    assert_eq!(traces.headers["b"], "2");
    assert_eq!(traces.timeout, Duration::from_millis(700));
    assert_eq!(metrics.url, "http://collector:4318/v1/metrics");
    assert_eq!(metrics.headers["a"], "1");
    assert_eq!(metrics.timeout, Duration::from_millis(900));
    assert!(traces.gzip && metrics.gzip);
    assert_eq!(config.service_name, "mine");
    assert_eq!(config.resource, [("zone".to_owned(), "a,b".to_owned())]);
    assert_eq!(config.names, GenAiNames::Latest);
}

#[test]
fn signals_are_enabled_separately() {
    let config = enabled(&[("OTEL_METRICS_EXPORTER", "none")]);
    assert!(config.traces.is_some() && config.metrics.is_none());
    let only = [(
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "http://m:1/v1/metrics",
    )];
    let config = parse(&only).unwrap().unwrap();
    assert!(config.traces.is_none() && config.metrics.is_some());
}

#[test]
fn sampler_is_read_with_its_argument() {
    for (sampler, argument, follows_caller, ratio) in [
        ("always_on", "0.5", false, 1.0),
        ("always_off", "", false, 0.0),
        ("traceidratio", "0.25", false, 0.25),
        ("parentbased_always_off", "", true, 0.0),
        ("parentbased_traceidratio", "0.5", true, 0.5),
    ] {
        let mut variables = vec![("OTEL_TRACES_SAMPLER", sampler)];
        if !argument.is_empty() {
            variables.push(("OTEL_TRACES_SAMPLER_ARG", argument));
        }
        let sampled = enabled(&variables).sampled;
        assert_eq!(sampled.follows_caller, follows_caller, "{sampler}");
        assert!((sampled.ratio - ratio).abs() < f64::EPSILON, "{sampler}");
    }
}

#[test]
fn invalid_value_is_rejected_with_its_variable_and_a_remedy() {
    for (name, value, remedy) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "http://"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c", "no TLS"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "usually 4318"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc", "Unset"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "NAME=VALUE"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret", "header names"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "from 1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "gzip or none"),
        ("OTEL_RESOURCE_ATTRIBUTES", "secret", "NAME=VALUE"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
        ("OTEL_TRACES_SAMPLER", "xray", "traceidratio"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "from 1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon", "milliseconds"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1m", "milliseconds"),
    ] {
        let mut variables = vec![(name, value)];
        if name != "OTEL_EXPORTER_OTLP_ENDPOINT" {
            variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"));
        }
        let error = parse(&variables).unwrap_err();
        assert!(error.contains(name) && error.contains(remedy), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let ratio = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ];
    let error = parse(&ratio).unwrap_err();
    assert!(error.contains("from 0 to 1"), "{error}");
}
