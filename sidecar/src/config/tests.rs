use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
use crate::turn::{Effort, ToolBlockTail};

fn parse(args: &[&str]) -> Result<Config, String> {
    let args = ["sidecar"].iter().chain(args).map(OsString::from);
    match Wish::from_args(args) {
        Ok(Wish::Serve(config) | Wish::Check(config, _)) => Ok(config),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn the_defaults_are_the_contract() {
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

/// It ended the sidecar with a panic, since clap was told another type than its parser returns.
#[test]
fn models_of_the_operators_own_are_taken() {
    let json = r#"{"fast":{"model":"gpt-5.5","effort":"low"},"plain":{}}"#;
    let catalogue = parse(&["--models", json]).unwrap().catalogue;
    let fast = catalogue.find("FAST").unwrap();
    assert_eq!(
        (fast.name.as_str(), fast.effort),
        ("gpt-5.5", Some(Effort::Low))
    );
    assert_eq!(catalogue.find("plain").unwrap().name, "gpt-5");
}

#[test]
fn no_more_children_wait_than_there_can_be_turns() {
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
fn zero_turns_a_limit_off() {
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
fn what_stands_behind_tool_blocks_follows_one_rule() {
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
fn a_wrong_value_is_refused_by_name() {
    for (args, named) in [
        (["--timeout-ms", "5m"], "--timeout-ms"),
        (["--listen", "0.0.0.0:80"], "loopback"),
        (["--listen", "unix:"], "unix:/path"),
        (["--sandbox-mode", "none"], "read-only"),
        (["--codex-force-provider", "a.b"], "model_providers"),
        (["--models", "[]"], "--models"),
        (["--models", r#"{"x":{"effort":"much"}}"#], "effort"),
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
