//! `docs/troubleshooting.md`: every error code of the sources has an entry, and each command produces the symptom of its
//! entry. The codes are read from the sources, so a new code without an entry fails the test.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::scripted_model::{Script, ScriptedModel};
use tests::sidecar::{Sidecar, SidecarOptions};

use super::page::{CodeBlock, Section, code_words, read, sections};
use crate::clients::curl::{assert_provokes, keys, shell};
use crate::stack::Chain;

/// Number of scenes that run concurrently; each waits for its sidecar most of the time.
const AT_ONCE: usize = 3;

const PAGE: &str = "docs/troubleshooting.md";

/// Error types that are not also error codes.
const TYPES: [&str; 5] = [
    "authentication_error",
    "permission_error",
    "rate_limit_error",
    "server_error",
    "timeout_error",
];

/// The introduction of the reason in an entry without a command or test.
const NOT_RUN: &str = "Not run here:";

#[test]
fn every_error_code_has_an_entry() {
    let page = read(PAGE);
    let titles: String = sections(&page)
        .into_iter()
        .filter(|entry| entry.level == 3)
        .map(|entry| entry.title)
        .collect();
    let entries: BTreeSet<_> = code_words(&titles).collect();
    let codes = codes();
    assert!(codes.len() >= 25, "{codes:?}");
    for code in codes {
        assert!(entries.contains(&*code), "{code} has no entry");
    }
}

/// The error codes of the filter, the sidecar and Envoy.
fn codes() -> BTreeSet<String> {
    let filter = read("filter/src/reply/rejection.rs");
    let shapes = filter
        .split_once("pub fn error_spec")
        .expect("the function exists")
        .1;
    let errors = read("sidecar/src/openai/response/error.rs");
    let requests = [
        "request/body.rs",
        "request/tools.rs",
        "responses/request/parse.rs",
    ]
    .map(|file| read(&format!("sidecar/src/openai/{file}")))
    .concat();
    let calls = ["bad_request(", "rejected("].map(|name| requests.split(name).skip(1));
    let called = calls
        .into_iter()
        .flatten()
        .filter_map(|call| names(call.split(',').next()?).next());
    let envoy = read("envoy/envoy.yaml");
    let replies = envoy.split("\"code\":\"").skip(1);
    let replied = replies.filter_map(|rest| rest.split('"').next());
    let named = names(shapes).chain(names(&errors));
    let all = named.chain(called).chain(replied).map(str::to_owned);
    all.collect()
}

/// The string literals in snake case before the tests of a source, without the error types.
fn names(source: &str) -> impl Iterator<Item = &str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let texts = code.split('"').skip(1).step_by(2);
    texts.filter(|text| {
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        text.contains('_') && text.chars().all(is_name) && !TYPES.contains(text)
    })
}

#[test]
fn every_entry_has_a_command_a_test_or_a_reason() {
    for entry in sections(&read(PAGE))
        .iter()
        .filter(|entry| entry.level == 3)
    {
        let shown = entry.blocks_of("sh").next().is_some()
            || entry.prose.contains(".rs::")
            || entry.prose.contains(NOT_RUN);
        assert!(
            shown,
            "{} has neither command nor test nor reason",
            entry.title
        );
    }
}

#[tokio::test]
async fn first_commands_of_the_page_succeed() {
    let page = sections(&read(PAGE));
    let first = page.first().expect("the page has sections");
    let chain = Chain::start().await;
    let commands: Vec<_> = code_words(&first.prose)
        .filter(|word| word.starts_with("curl "))
        .collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command in commands {
        let script = command.replacen("curl ", "curl --silent --show-error --fail ", 1);
        let output = shell(&chain.base_url(), &script).await;
        assert!(
            output.starts_with('{') && !output.contains("curl:"),
            "{command}: {output}"
        );
    }
}

#[tokio::test]
async fn every_command_gets_the_error_of_its_heading() {
    let page = sections(&read(PAGE));
    let mut commands: Vec<_> = page
        .iter()
        .flat_map(|section| {
            let blocks = section.blocks_of("sh");
            blocks.map(move |block| (scene_of(block), section, block))
        })
        .collect();
    assert!(
        commands.len() >= 31,
        "the page has only {} commands",
        commands.len()
    );
    // Commands of one scene share a chain, so they must be adjacent.
    commands.sort_by_key(|(scene, ..)| *scene);
    let scenes = commands
        .chunk_by(|one, other| one.0 == other.0)
        .map(async |commands| {
            let chain = start_scene(commands[0].0).await;
            for (_, section, block) in commands {
                check(&chain, section, &block.code).await;
            }
        });
    stream::iter(scenes)
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}

/// The scene in a block's lead, `<!-- scene: ... -->`; empty for a block without one.
fn scene_of(block: &CodeBlock) -> &str {
    block
        .lead
        .strip_prefix("<!-- scene: ")
        .and_then(|scene| scene.strip_suffix(" -->"))
        .unwrap_or_default()
}

/// Asserts that a command gets the status and code of the heading. Without a status in the heading, the output must
/// contain the name in the heading.
async fn check(chain: &Chain, section: &Section, command: &str) {
    let name = code_words(&section.title)
        .next()
        .expect("the heading has a name");
    let status = section.title.split(' ').next().unwrap_or_default();
    if status.parse::<u16>().is_ok() {
        assert_provokes(&chain.base_url(), command, status, name).await;
    } else {
        let output = shell(&chain.base_url(), command).await;
        assert!(
            output.contains(name),
            "{name} expected of {command}: {output}"
        );
    }
}

/// Starts the chain with the fault of a scene.
async fn start_scene(scene: &str) -> Chain {
    let silence = json!([{"head": {}}, {"hold": "for ever"}]);
    let (variables, script): (&[_], Value) = match scene {
        "small prompts" => (&[("PROXY_MAX_PROMPT_TOKENS", "2")], json!([])),
        "one slot" => (
            &[("PROXY_SSE_MAX_CONCURRENCY", "1"), ("PROXY_QUEUE_MAX", "0")],
            json!([{"pause_ms": 2000}, {"text": "At last."}]),
        ),
        "used-up plan" => (
            &[],
            json!({"status": 429, "error": {"type": "usage_limit_reached"}}),
        ),
        "broken model" => (&[], json!({"status": 500})),
        "short request" => (&[("PROXY_TIMEOUT_MS", "300")], silence),
        "short silence" => (&[("PROXY_PROTO_IDLE_MS", "300")], silence),
        "" | "no login" | "no sidecar" | "wrong filter" => (&[], json!({"text": "Hello."})),
        other => panic!("unknown scene: {other}"),
    };
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    model.set_default(Some(Script::parse(script).expect("the script is valid")));
    let options = variables
        .iter()
        .fold(SidecarOptions::new(&model), |options, (name, value)| {
            options.env(name, value)
        });
    let sidecar = match scene {
        "no login" => without_login(options).await,
        _ => options.start().await,
    };
    let mut chain = Chain::start_over(model, sidecar, |options| {
        let with_keys = options.filter("keys", keys());
        if scene == "wrong filter" {
            with_keys.filter("an_unknown_field", json!(true))
        } else {
            with_keys
        }
    })
    .await;
    if scene == "no sidecar" {
        chain.sidecar.signal(Signal::SIGTERM);
        assert_eq!(chain.sidecar.wait().await, Some(0));
    }
    chain
}

/// Starts a sidecar with a Codex without login, and waits until readiness reports the missing login.
async fn without_login(options: SidecarOptions) -> Sidecar {
    let mut sidecar = options.env("CODEX_FORCE_PROVIDER", "").spawn();
    let has_no_login = |response: &tests::http::BufferedResponse| {
        response.json()["error"]["code"] == "codex_login_required"
    };
    sidecar.wait_for_readiness(has_no_login).await;
    sidecar
}
