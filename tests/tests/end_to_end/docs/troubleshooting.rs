//! `docs/troubleshooting.md`: every error code of the sources has its entry, and each command provokes its symptom.
//! The codes are read out of the sources, so that a new one finds the page.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::scripted_model::{Script, ScriptedModel};
use tests::sidecar::{Sidecar, SidecarOptions};

use super::page::{Block, Section, code_words, read, sections};
use crate::clients::curl::{assert_provokes, keys, shell};
use crate::stack::Stack;

/// Scenes that are on at once; each waits for its sidecar most of the time.
const AT_ONCE: usize = 3;

const PAGE: &str = "docs/troubleshooting.md";

/// Types of errors that are no codes as well.
const TYPES: [&str; 5] = [
    "authentication_error",
    "permission_error",
    "rate_limit_error",
    "server_error",
    "timeout_error",
];

/// What an entry says that nothing shows.
const NOT_RUN: &str = "Not run here:";

#[test]
fn every_code_has_an_entry() {
    let page = read(PAGE);
    let entries = sections(&page).into_iter().filter(|entry| entry.level == 3);
    let entries: String = entries.map(|entry| entry.title).collect();
    let entries: BTreeSet<_> = code_words(&entries).collect();
    let codes = codes();
    assert!(codes.len() >= 25, "{codes:?}");
    for code in codes {
        assert!(entries.contains(&*code), "{code} has no entry");
    }
}

/// The codes that the filter, the sidecar and Envoy know.
fn codes() -> BTreeSet<String> {
    let filter = read("filter/src/outcome.rs");
    let shapes = filter.split_once("pub fn shape").expect("it is there").1;
    let errors = read("sidecar/src/openai/response/error.rs");
    let requests = ["request/body.rs", "responses/request/parse.rs"]
        .map(|file| read(&format!("sidecar/src/openai/{file}")))
        .concat();
    let calls = ["bad_request(", "rejected("].map(|name| requests.split(name).skip(1));
    let called = calls.into_iter().flatten();
    let called = called.filter_map(|call| names(call.split(',').next()?).next());
    let envoy = read("envoy/envoy.yaml");
    let replies = envoy.split("\"code\":\"").skip(1);
    let replied = replies.filter_map(|rest| rest.split('"').next());
    let named = names(shapes).chain(names(&errors));
    let all = named.chain(called).chain(replied).map(str::to_owned);
    all.collect()
}

/// The names in snake case that stand in a source as texts, before its tests, and are no types.
fn names(source: &str) -> impl Iterator<Item = &str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let texts = code.split('"').skip(1).step_by(2);
    texts.filter(|text| {
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        text.contains('_') && text.chars().all(is_name) && !TYPES.contains(text)
    })
}

#[test]
fn every_entry_is_run_or_says_what_shows_it() {
    for entry in sections(&read(PAGE))
        .iter()
        .filter(|entry| entry.level == 3)
    {
        let shown = entry.blocks_of("sh").next().is_some()
            || entry.prose.contains(".rs::")
            || entry.prose.contains(NOT_RUN);
        assert!(shown, "nothing shows {}", entry.title);
    }
}

#[tokio::test]
async fn the_first_questions_are_answered() {
    let page = sections(&read(PAGE));
    let first = page.first().expect("the page has sections");
    let stack = Stack::start().await;
    let commands = code_words(&first.prose).filter(|word| word.starts_with("curl "));
    let commands: Vec<_> = commands.collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command in commands {
        let command = command.replacen("curl ", "curl --silent --show-error --fail ", 1);
        let said = shell(&stack.base_url(), &command).await;
        assert!(
            said.starts_with('{') && !said.contains("curl:"),
            "{command}: {said}"
        );
    }
}

#[tokio::test]
async fn every_command_provokes_what_its_heading_says() {
    let page = sections(&read(PAGE));
    let asked = page.iter().flat_map(|section| {
        let blocks = section.blocks_of("sh");
        blocks.map(move |block| (scene_of(block), section, block))
    });
    let mut asked: Vec<_> = asked.collect();
    assert!(asked.len() >= 31, "only {} commands are left", asked.len());
    asked.sort_by_key(|(scene, ..)| *scene);
    let scenes = asked.chunk_by(|one, other| one.0 == other.0);
    let plays = scenes.map(async |commands| {
        let stack = set(commands[0].0).await;
        for (_, section, block) in commands {
            check(&stack, section, &block.code).await;
        }
    });
    let plays = stream::iter(plays).buffer_unordered(AT_ONCE);
    plays.collect::<()>().await;
}

/// The scene that a block's lead names; most need none.
fn scene_of(block: &Block) -> &str {
    let scene = block.lead.strip_prefix("<!-- scene: ");
    scene
        .and_then(|scene| scene.strip_suffix(" -->"))
        .unwrap_or_default()
}

/// Asserts that a command provokes status and code, or at least the name, that stand in the heading.
async fn check(stack: &Stack, section: &Section, command: &str) {
    let name = code_words(&section.title)
        .next()
        .expect("a heading has a name");
    let status = section.title.split(' ').next().unwrap_or_default();
    if status.parse::<u16>().is_ok() {
        assert_provokes(&stack.base_url(), command, status, name).await;
    } else {
        let said = shell(&stack.base_url(), command).await;
        assert!(said.contains(name), "{name} expected of {command}: {said}");
    }
}

/// The chain, made to fail as a scene has it.
async fn set(scene: &str) -> Stack {
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
        other => panic!("a scene that nobody knows: {other}"),
    };
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    model.set_default(Some(Script::parse(script).expect("a script")));
    let options = SidecarOptions::new(&model);
    let options = variables
        .iter()
        .fold(options, |options, (name, value)| options.env(name, value));
    let sidecar = match scene {
        "no login" => without_login(options).await,
        _ => options.start().await,
    };
    let wrong = scene == "wrong filter";
    let mut stack = Stack::start_over(model, sidecar, |options| {
        let options = options.filter("keys", keys());
        if wrong {
            options.filter("a_field_that_is_none", json!(true))
        } else {
            options
        }
    })
    .await;
    if scene == "no sidecar" {
        stack.sidecar.signal(Signal::SIGTERM);
        assert_eq!(stack.sidecar.wait().await, Some(0));
    }
    stack
}

/// A sidecar whose Codex has no login, once it says so.
async fn without_login(options: SidecarOptions) -> Sidecar {
    let mut sidecar = options.env("CODEX_FORCE_PROVIDER", "").spawn();
    let has_none = |answer: &tests::http::BufferedResponse| {
        answer.json()["error"]["code"] == "codex_login_required"
    };
    sidecar.wait_for_readiness(has_none).await;
    sidecar
}
