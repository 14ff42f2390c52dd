//! A CODEX_HOME full of extensions: a chat is the same as with an empty home, and an agent takes over what its
//! documentation says.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::http::with;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions, codex_tool};
use xtask::command::write_program;
use xtask::tools::Tool;

use crate::stack::{ask, chat, eventually};

/// A word in every text of the home.
const CANARY: &str = "canary-of-the-home";

const WRITABLE: &str = "the test folder is writable";

/// A CODEX_HOME, and the folder in which the programs of the home leave a file when they are started.
struct FullHome {
    home: TempDir,
    traces: TempDir,
}

impl FullHome {
    /// A home with each kind of extension that Codex knows, and with `model` as its provider.
    fn new(model: &ScriptedModel) -> Self {
        let full = Self {
            home: tempfile::tempdir().expect(WRITABLE),
            traces: tempfile::tempdir().expect(WRITABLE),
        };
        let [notify, server, hook, plugin] =
            ["notify", "server", "hook", "plugin"].map(|name| full.program(name));
        let config = format!(
            "notify = [\"{notify}\"]\ndeveloper_instructions = \"{CANARY}\"\n\
             personality = \"friendly\"\nmodel_verbosity = \"high\"\n\
             [features]\nhooks = true\nmemories = true\nplugins = true\nskills = true\n\
             [memories]\nuse_memories = true\n\
             [mcp_servers.probe]\ncommand = \"{server}\"\n\
             [plugins.\"probe@ours\"]\nenabled = true\n\
             [[hooks.UserPromptSubmit]]\nhooks = [{{ type = \"command\", command = \"{hook}\" }}]\n{}",
            provider(model)
        );
        let hooks =
            json!({"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": hook}]}]}});
        let servers = json!({"mcpServers": {"plugged": {"command": plugin}}});
        let plugin = "plugins/cache/ours/probe/local";
        for (name, text) in [
            ("config.toml", config),
            ("hooks.json", hooks.to_string()),
            ("AGENTS.md", format!("Always say {CANARY}.")),
            ("skills/probe/SKILL.md", skill()),
            ("prompts/probe.md", CANARY.to_owned()),
            ("memories/memory_summary.md", CANARY.to_owned()),
            ("memories/MEMORY.md", CANARY.to_owned()),
            (
                "rules/default.rules",
                "prefix_rule(pattern=[\"ls\"], decision=\"forbidden\")\n".to_owned(),
            ),
            (
                &format!("{plugin}/.codex-plugin/plugin.json"),
                json!({"name": "probe", "description": CANARY}).to_string(),
            ),
            (&format!("{plugin}/.mcp.json"), servers.to_string()),
            (&format!("{plugin}/skills/plugged/SKILL.md"), skill()),
        ] {
            let path = full.home.path().join(name);
            fs::create_dir_all(path.parent().expect("the path has a folder")).expect(WRITABLE);
            fs::write(path, text).expect(WRITABLE);
        }
        full
    }

    /// A program that leaves a file when it is started.
    fn program(&self, name: &str) -> String {
        let path = self.home.path().join(format!("{name}.sh"));
        let trace = self.traces.path().join(name);
        write_program(&path, &format!("#!/bin/sh\ntouch {}\n", trace.display())).expect(WRITABLE);
        path.to_string_lossy().into_owned()
    }

    /// The programs that were started.
    fn started(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.traces.path())
            .expect(WRITABLE)
            .map(|entry| {
                entry
                    .expect(WRITABLE)
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    async fn sidecar(&self, options: SidecarOptions) -> Sidecar {
        with_home(options, self.home.path()).start().await
    }
}

fn with_home(options: SidecarOptions, home: &Path) -> SidecarOptions {
    options.env("CODEX_HOME", &home.to_string_lossy())
}

fn provider(model: &ScriptedModel) -> String {
    format!(
        "[model_providers.scripted]\nname = \"scripted\"\nbase_url = \"{}\"\nwire_api = \"responses\"\n",
        model.base_url()
    )
}

fn skill() -> String {
    format!("---\nname: probe\ndescription: {CANARY}\n---\n{CANARY}\n")
}

/// The body of the newest model request without ids, which differ between two runs.
fn last_body(model: &ScriptedModel) -> Value {
    let mut body = model
        .requests()
        .last()
        .expect("a request arrived")
        .body
        .clone();
    remove_ids(&mut body);
    body
}

fn remove_ids(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                !["id", "prompt_cache_key", "client_metadata"].contains(&name.as_str())
            });
            fields.values_mut().for_each(remove_ids);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_ids),
        _ => {}
    }
}

#[tokio::test]
async fn chats_use_nothing_of_the_home_but_login_provider_and_model() {
    let work_dir = tempfile::tempdir().unwrap();
    for codex in [codex_tool(), Tool::CodexProto] {
        let model = ScriptedModel::start_for(codex).await.unwrap();
        let options = || {
            let options = SidecarOptions::with_codex(codex, &model);
            // One for both, since `proto` always tells the model its working directory.
            options.env("PROXY_CODEX_WORKDIR", &work_dir.path().to_string_lossy())
        };
        let ask = async |sidecar: &Sidecar| {
            let response = ask(sidecar, json!({"text": "Hi."}), json!({})).await;
            assert_eq!(response.status, 200, "{codex:?}: {response:?}");
            last_body(&model)
        };
        let expected = ask(&options().start().await).await;
        let full = FullHome::new(&model);
        let mut sidecar = full.sidecar(options()).await;
        assert_eq!(ask(&sidecar).await, expected, "{codex:?}");
        // After the exit, since Codex runs `notify` after the end of a turn.
        sidecar.signal(Signal::SIGTERM);
        assert_eq!(sidecar.wait().await, Some(0));
        assert_eq!(full.started(), [""; 0], "{codex:?}");
        let log = sidecar.log();
        let read = log.lines().find(|line| line.contains("codex home read"));
        let read: Value = serde_json::from_str(read.expect("the home is logged")).unwrap();
        assert_eq!(read["unused_by_chats"], UNUSED_BY_CHATS);
        assert_eq!(read["used_by_agents"], USED_BY_AGENTS);
    }
}

/// The contents of a full home, as the log and `--check` name them.
const UNUSED_BY_CHATS: &str = "mcp_servers (probe), settings (developer_instructions, features, model_verbosity, \
     personality), AGENTS.md, hooks, hooks.json, memories, notify, plugins, prompts, rules, skills";

const USED_BY_AGENTS: &str = "mcp_servers (probe), settings (developer_instructions, features, model_verbosity, \
     personality), AGENTS.md, notify, rules";

#[tokio::test]
async fn default_profile_starts_with_the_sidecar_and_the_other_with_its_first_turn() {
    let model = ScriptedModel::start().await.unwrap();
    let full = FullHome::new(&model);
    let options = SidecarOptions::new(&model).env("CODEX_PROFILE", "agent");
    let sidecar = full.sidecar(options).await;
    let agents = sidecar.children();
    assert_eq!(agents.len(), 1);
    let plain = with(
        chat(&json!({"text": "Hi."}), &json!({})),
        "x-codex-edge-profile",
        "chat",
    );
    let response = sidecar.connect().await.send(plain).await.unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    assert!(!last_body(&model).to_string().contains(CANARY));
    assert_eq!(full.started(), [""; 0]);
    let children = sidecar.children();
    assert!(
        children.len() == 2 && children.contains(&agents[0]),
        "{children:?}"
    );
}

#[tokio::test]
async fn agents_take_over_what_the_log_names() {
    let model = ScriptedModel::start().await.unwrap();
    let full = FullHome::new(&model);
    let sidecar = full.sidecar(SidecarOptions::new(&model)).await;
    assert_eq!(sidecar.children().len(), 1, "no child for agents yet");
    let call = json!({"call": "exec_command", "arguments": {"cmd": "ls"}});
    let request = with(
        chat(&json!([[call], [{"text": "done"}]]), &json!({})),
        "x-codex-edge-profile",
        "agent",
    );
    let response = sidecar.connect().await.send(request).await.unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(
        sidecar.children().len(),
        2,
        "chats and agents share no child"
    );
    let started = || full.started() == ["notify", "server"];
    eventually("notify and the MCP server were started", started).await;
    let body = last_body(&model);
    let text = body.to_string();
    assert!(text.contains(&format!("Always say {CANARY}.")), "AGENTS.md");
    assert_eq!(
        text.matches(CANARY).count(),
        2,
        "AGENTS.md and developer_instructions: {text}"
    );
    assert_eq!(body["text"]["verbosity"], "high");
    assert!(text.contains("policy forbids commands"), "rules: {text}");
}
