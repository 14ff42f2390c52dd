//! Flags and their values: defaults, conversions, errors.

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::catalogue::{Catalogue, CodexModels};
use crate::config::*;
use crate::turn::{Effort, ToolBlockTail};

fn parse(args: &[&str]) -> Result<Config, String> {
    let args = ["sidecar"].iter().chain(args).map(OsString::from);
    match Command::parse(args) {
        Ok(Command::Serve(config) | Command::Check(config, _)) => Ok(config),
        Ok(Command::Key(command)) => panic!("{command:?}"),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn state_is_memory_a_file_or_redis_and_errors_show_no_password() {
    for (text, expected) in [
        ("memory", "Memory"),
        ("sqlite:/tmp/state", "File(\"/tmp/state\")"),
        ("redis://:secret@host/1", "Redis(redis host/1, Reject)"),
        (
            "redis+unix:///run/redis.sock",
            "Redis(redis /run/redis.sock, Reject)",
        ),
    ] {
        let config = parse(&["--state", text]).unwrap();
        assert_eq!(format!("{:?}", config.state), expected);
    }
    let args = ["sidecar", "--check", "--state", "redis://:secret@host/1"];
    let Ok(Command::Check(_, settings)) = Command::parse(args.map(OsString::from)) else {
        panic!("the arguments are valid");
    };
    assert!(!format!("{settings:?}").contains("secret"), "{settings:?}");
    for text in [
        "",
        "disk",
        "sqlite:",
        "redis://:secret@",
        "rediss://:secret@host",
    ] {
        let error = parse(&["--state", text]).unwrap_err();
        assert!(
            error.contains("expected") && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn defaults_match_the_contract() {
    let config = parse(&[]).unwrap();
    assert_eq!(
        config.listen,
        Listen::Unix("/run/codex-edge/sidecar.sock".into())
    );
    assert_eq!(config.sandbox_mode, SandboxMode::ReadOnly);
    assert_eq!(config.limits.turns.map(NonZeroUsize::get), Some(4));
    assert_eq!(config.timers.request, Some(Duration::from_secs(300)));
    assert_eq!(config.max_body_bytes, 16 << 20);
    assert!(config.kill_on_disconnect);
}

/// Regression: the sidecar panicked, because the field had another type than the value parser returns.
#[test]
fn models_flag_adds_ids_to_the_catalogue() {
    let json = r#"{"fast":{"model":"gpt-5.5","effort":"low"},"plain":{}}"#;
    let settings = parse(&["--models", json]).unwrap().models;
    let catalogue = Catalogue::new(&settings, CodexModels::only("gpt-5"));
    let fast = catalogue.find("FAST").unwrap();
    let effort = fast.effort.map(Effort::as_str);
    assert_eq!((fast.model, effort), ("gpt-5.5", Some("low")));
    assert_eq!(catalogue.find("plain").unwrap().model, "gpt-5");
}

#[test]
fn proto_pool_is_limited_by_the_number_of_turns() {
    for (args, expected) in [
        (&[][..], 2),
        (&["--sse-max-concurrency", "1"], 1),
        (
            &["--sse-max-concurrency", "0", "--codex-proto-pool", "5"],
            5,
        ),
    ] {
        let pool = parse(args).unwrap().limits.proto_pool;
        assert_eq!(pool.get(), expected, "{args:?}");
    }
}

#[test]
fn zero_disables_limits_and_timers() {
    let config = parse(&[
        "--timeout-ms",
        "0",
        "--sse-max-concurrency",
        "0",
        "--sse-keepalive-ms",
        "0",
    ])
    .unwrap();
    assert_eq!(
        (config.timers.request, config.limits.turns, config.keepalive),
        (None, None, None)
    );
}

#[test]
fn tool_block_flags_map_to_one_truncation_rule() {
    let rule = |grace_ms: Option<u64>, max_blocks| {
        Some(ToolBlockTail {
            grace: grace_ms.map(Duration::from_millis),
            max_blocks: NonZeroU32::new(max_blocks),
        })
    };
    for (flags, expected) in [
        ("", None),
        ("--stop-after-tools-mode=first", None),
        ("--suppress-tail-after-tools=1", rule(None, 0)),
        ("--stop-after-tools=true", rule(Some(300), 0)),
        (
            "--stop-after-tools=on --stop-after-tools-grace-ms=0",
            rule(Some(0), 0),
        ),
        (
            "--stop-after-tools=yes --stop-after-tools-mode=First --tool-block-max=3",
            rule(None, 1),
        ),
        (
            "--stop-after-tools=true --tool-block-max=2",
            rule(Some(300), 2),
        ),
        ("--tool-block-max=2", rule(None, 2)),
    ] {
        let args: Vec<_> = flags.split_whitespace().collect();
        assert_eq!(parse(&args).unwrap().tool_tail, expected, "{flags}");
    }
}

#[test]
fn invalid_value_error_names_the_flag() {
    for (args, named) in [
        (["--timeout-ms", "5m"], "--timeout-ms"),
        (["--listen", "0.0.0.0:80"], "loopback"),
        (["--listen", "unix:"], "unix:/path"),
        (["--sandbox-mode", "none"], "read-only"),
        (["--codex-force-provider", "a.b"], "model_providers"),
        (["--models", "[]"], "--models"),
        (["--models", r#"{"x":{"effort":"very much"}}"#], "effort"),
        (["--kill-on-disconnect", "maybe"], "--kill-on-disconnect"),
        (["--codex-protocol", "v2"], "app-server"),
        (["--codex-proto-pool", "0"], "--codex-proto-pool"),
        (["--max-prompt-tokens", "5k"], "--max-prompt-tokens"),
        (["--stop-after-tools", "2"], "--stop-after-tools"),
        (["--stop-after-tools-mode", "last"], "first"),
        (["--tool-block-max", "many"], "--tool-block-max"),
    ] {
        let message = parse(&args).unwrap_err();
        assert!(message.contains(named), "{args:?}: {message}");
    }
}
