//! `sidecar --check`: the findings, the exit code, and that a start of the sidecar has the same result.
//! sysexits(3): exit code 64 means an unusable configuration.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::codex::models::default_model;
use tests::http::get;
use tests::redis::Redis;
use tests::sidecar::{Sidecar, sidecar_binary};
use tokio::process::Command;
use tokio::time::timeout;
use xtask::command::write_program;
use xtask::tools::{Tool, Tools};

use crate::login::home::{RENEWED, chatgpt};
use crate::proto::codex_binary as proto_codex;
use crate::stack::{SOON, start};

/// A folder and an environment for a sidecar that is not started yet.
struct Installation {
    dir: TempDir,
    env: Vec<(String, String)>,
}

/// The exit code and the output of a sidecar process.
#[derive(Debug)]
struct ProcessOutput {
    code: Option<i32>,
    out: String,
    err: String,
}

impl ProcessOutput {
    /// The text of the first finding with this verdict and subject.
    fn finding(&self, verdict: &str, subject: &str) -> &str {
        let head = format!("{verdict:<5} {subject:<12} ");
        let found = self.out.lines().find_map(|line| line.strip_prefix(&head));
        found.unwrap_or_else(|| panic!("{verdict} {subject} is missing in {self:?}"))
    }

    fn has(&self, verdict: &str) -> bool {
        let head = format!("{verdict:<5} ");
        self.out.lines().any(|line| line.starts_with(&head))
    }
}

impl Installation {
    /// Creates a folder and an environment in which the check finds no problem.
    fn new(codex: &str) -> Self {
        let dir = TempDir::new().expect("the test folder is writable");
        let installation = Self {
            dir,
            env: Vec::new(),
        };
        fs::create_dir(installation.path("home")).expect("the test folder is writable");
        fs::set_permissions(installation.path("home"), fs::Permissions::from_mode(0o700))
            .expect("the test folder is writable");
        fs::create_dir(installation.path("tmp")).expect("the test folder is writable");
        let config = "[model_providers.local]\nname = \"local\"\nbase_url = \"http://127.0.0.1:9\"\n\
                      wire_api = \"responses\"\n";
        fs::write(installation.path("home/config.toml"), config)
            .expect("the test folder is writable");
        let (home, tmp) = (installation.text("home"), installation.text("tmp"));
        let listen = format!("unix:{}", installation.text("sidecar.sock"));
        installation
            .env("PATH", &std::env::var("PATH").unwrap_or_default())
            .env("TMPDIR", &tmp)
            .env("CODEX_BIN", codex)
            .env("CODEX_HOME", &home)
            .env("CODEX_FORCE_PROVIDER", "local")
            .env("SIDECAR_LISTEN", &listen)
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    async fn check(&self) -> ProcessOutput {
        self.run(&["--check"])
            .await
            .expect("the check exits by itself")
    }

    /// Runs the sidecar; `None` if the sidecar is still running at the deadline.
    async fn run(&self, arguments: &[&str]) -> Option<ProcessOutput> {
        let mut command = Command::new(sidecar_binary());
        command
            .args(arguments)
            .env_clear()
            .envs(self.env.iter().cloned())
            .current_dir(self.dir.path())
            .kill_on_drop(true);
        let output = timeout(SOON * 3, command.output())
            .await
            .ok()?
            .expect("the sidecar is executable");
        Some(ProcessOutput {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// The files and folders of the installation, with their modes.
    fn contents(&self) -> Vec<(PathBuf, u32)> {
        let mut found = Vec::new();
        list(self.dir.path(), &mut found);
        found.sort();
        found
    }
}

fn list(folder: &Path, found: &mut Vec<(PathBuf, u32)>) {
    for entry in fs::read_dir(folder)
        .expect("the test folder is writable")
        .flatten()
    {
        let metadata = entry.metadata().expect("the test folder is writable");
        found.push((entry.path(), metadata.permissions().mode()));
        if metadata.is_dir() {
            list(&entry.path(), found);
        }
    }
}

fn codex() -> String {
    Tools::open()
        .executable(Tool::Codex)
        .expect("Codex was fetched: `cargo xtask fetch`")
        .to_string_lossy()
        .into_owned()
}

#[tokio::test]
async fn valid_configuration_is_described_and_leaves_no_files() {
    for (codex, version, protocol, model) in [
        (codex(), "0.171.0", "app-server", default_model()),
        (proto_codex(), "0.42.0", "proto", "gpt-5"),
    ] {
        let installation = Installation::new(&codex).env("PROXY_TIMEOUT_MS", "7000");
        let low = format!("codex-5-low                      {model}, effort low");
        let before = installation.contents();
        let output = installation.check().await;
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(!output.has("fail") && !output.has("warn"), "{}", output.out);
        let found = output.finding("ok", "codex");
        assert!(
            found.contains(version) && found.ends_with(protocol),
            "{found}"
        );
        assert!(output.finding("ok", "login").contains("not required"));
        for part in [
            "PROXY_TIMEOUT_MS                 7000  (variable)",
            low.as_str(),
            "model_providers.local.stream_max_retries=0",
            "CORS allows web pages of any origin",
        ] {
            assert!(output.out.contains(part), "{part}: {}", output.out);
        }
        assert!(
            output.out.contains(&format!("codex {protocol} ")),
            "{}",
            output.out
        );
        assert!(output.err.is_empty(), "{}", output.err);
        assert_eq!(installation.contents(), before, "the check leaves no files");
    }
}

#[tokio::test]
async fn variables_that_the_filter_rejects_are_named() {
    let installation = Installation::new(&codex())
        .env("PROXY_RATE_LIMIT_MAX", "many")
        .env("PROXY_CORS_ALLOWED_ORIGINS", "app.example")
        .env("PROXY_PROTECT_MODELS", "true");
    let output = installation.check().await;
    assert_eq!(output.code, Some(0), "the sidecar would start: {output:?}");
    let warnings: Vec<_> = output
        .out
        .lines()
        .filter_map(|line| line.strip_prefix("warn  filter       Envoy would reject "))
        .collect();
    let [origins, limit] = warnings.as_slice() else {
        panic!("two variables are invalid: {}", output.out);
    };
    assert!(
        origins.starts_with("PROXY_CORS_ALLOWED_ORIGINS: "),
        "{origins}"
    );
    assert_eq!(
        *limit,
        "PROXY_RATE_LIMIT_MAX: expected a whole number, found other text"
    );
}

#[tokio::test]
async fn configuration_that_prevents_a_start_is_named() {
    // The listener holds its port until the end of the test.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let toml = |installation: Installation, text: &str| {
        fs::write(installation.path("home/config.toml"), text).unwrap();
        installation
    };
    let between = |installation: Installation| {
        let file = installation.path("between");
        write_program(&file, "#!/bin/sh\necho codex-cli 0.44.0").unwrap();
        installation.env("CODEX_BIN", &file.to_string_lossy())
    };
    let listen = |installation: Installation, name: &str| {
        let address = format!("unix:{}", installation.text(name));
        installation.env("SIDECAR_LISTEN", &address)
    };
    // The change, the subject of the finding, parts of its text, and the exit code of a start. The code is `None` where
    // the sidecar starts and stays unready.
    type Change<'a> = Box<dyn Fn(Installation) -> Installation + 'a>;
    let cases: Vec<(Change<'_>, &str, &[&str], Option<i32>)> = vec![
        (
            Box::new(|installation| installation.env("CODEX_BIN", "/nowhere/codex")),
            "codex",
            &["CODEX_BIN=/nowhere/codex", "install Codex"],
            Some(64),
        ),
        (
            Box::new(|installation| installation.env("CODEX_BIN", "/bin/true")),
            "codex",
            &["/bin/true", "0.169 or newer", "0.42 or older"],
            Some(64),
        ),
        (
            Box::new(between),
            "codex",
            &["0.44.0", "0.169 or newer", "0.42 or older"],
            Some(64),
        ),
        (
            Box::new(|installation| installation.env("CODEX_PROTOCOL", "proto")),
            "codex",
            &["0.171.0", "0.42 or older", "CODEX_PROTOCOL=proto"],
            Some(64),
        ),
        (
            Box::new(|installation| {
                installation
                    .env("CODEX_BIN", &proto_codex())
                    .env("CODEX_PROTOCOL", "app-server")
            }),
            "codex",
            &["0.42.0", "0.169 or newer", "CODEX_PROTOCOL=app-server"],
            Some(64),
        ),
        (
            Box::new(|installation| installation.env("CODEX_HOME", "/dev/null/home")),
            "home",
            &["/dev/null/home", "CODEX_HOME"],
            Some(64),
        ),
        (
            Box::new(|installation| installation.env("TOKEN_LOG_PATH", "/dev/null/log")),
            "log",
            &["TOKEN_LOG_PATH=/dev/null/log"],
            Some(64),
        ),
        (
            Box::new(|installation| {
                installation
                    .env("PROXY_LOG_PROTO", "true")
                    .env("PROTO_LOG_PATH", "/dev/null/log")
            }),
            "log",
            &["PROTO_LOG_PATH=/dev/null/log"],
            Some(64),
        ),
        (
            Box::new(|installation| installation.env("SIDECAR_ADMIN_LISTEN", &taken)),
            "admin",
            &["in use by another process"],
            Some(1),
        ),
        (
            Box::new(|installation| installation.env("PROXY_CODEX_WORKDIR", "/dev/null")),
            "workdir",
            &["PROXY_CODEX_WORKDIR=/dev/null"],
            Some(64),
        ),
        (
            Box::new(|installation| toml(installation, "model = \"x\"\nbearer = sk-secret\n")),
            "config.toml",
            &["config.toml, line 2"],
            Some(64),
        ),
        (
            Box::new(|installation| {
                toml(
                    installation.env("CODEX_FORCE_PROVIDER", ""),
                    "approval_policy = 5\n",
                )
            }),
            "login",
            &["home/config.toml:1:19", "wanted string or table"],
            None,
        ),
        (
            Box::new(|installation| installation.env("CODEX_FORCE_PROVIDER", "typo")),
            "config.toml",
            &["CODEX_FORCE_PROVIDER=typo", "[model_providers.typo]"],
            Some(64),
        ),
        (
            Box::new(|installation| {
                fs::create_dir(installation.path("home/auth.json")).unwrap();
                installation
            }),
            "login",
            &["auth.json", "the sidecar's user"],
            Some(64),
        ),
        (
            Box::new(|installation| listen(installation, "missing/s.sock")),
            "listen",
            &["missing/s.sock", "create the directory"],
            Some(1),
        ),
        (
            Box::new(|installation| listen(installation, "home/config.toml")),
            "listen",
            &["not a socket"],
            Some(1),
        ),
        (
            Box::new(|installation| listen(installation, &"long/".repeat(30))),
            "listen",
            &["SUN_LEN"],
            Some(1),
        ),
        (
            Box::new(|installation| installation.env("SIDECAR_LISTEN", &taken)),
            "listen",
            &["in use by another process"],
            Some(1),
        ),
    ];
    for (change, subject, parts, start) in cases {
        let installation = change(Installation::new(&codex()));
        let before = installation.contents();
        let output = installation.check().await;
        assert_eq!(output.code, Some(64), "{output:?}");
        let text = output.finding("fail", subject);
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!output.out.contains("sk-secret"), "{}", output.out);
        assert_eq!(installation.contents(), before, "the check leaves no files");
        if let Some(code) = start {
            let started = installation.run(&[]).await.expect("a start exits as well");
            assert_eq!(started.code, Some(code), "{subject}: {started:?}");
        }
    }
}

#[tokio::test]
async fn invalid_value_is_named_as_at_a_start() {
    for (name, value, part) in [
        ("SIDECAR_LISTEN", "0.0.0.0:80", "loopback"),
        ("PROXY_TIMEOUT_MS", "5m", "--timeout-ms"),
    ] {
        let installation = Installation::new(&codex()).env(name, value);
        let output = installation.check().await;
        assert_eq!(output.code, Some(64), "{output:?}");
        assert!(output.err.contains(part), "{output:?}");
    }
}

#[tokio::test]
async fn warnings_do_not_fail_the_check() {
    let installation = Installation::new(&codex())
        .env("CODEX_FORCE_PROVIDER", "")
        .env("PROXY_SANDBOX_MODE", "danger-full-access")
        .env("PROXY_TIMEOUTS_MS", "5");
    fs::set_permissions(installation.path("home"), fs::Permissions::from_mode(0o755)).unwrap();
    let before = installation.contents();
    let output = installation.check().await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let login = format!("CODEX_HOME={} {} login", installation.text("home"), codex());
    for (subject, part) in [
        ("home", "0755"),
        ("login", login.as_str()),
        ("sandbox", "danger-full-access"),
        ("variable", "did you mean PROXY_TIMEOUT_MS?"),
    ] {
        let text = output.finding("warn", subject);
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(installation.contents(), before, "the check leaves no files");
    fs::write(
        installation.path("home/auth.json"),
        r#"{"OPENAI_API_KEY":"sk-test"}"#,
    )
    .unwrap();
    let output = installation.check().await;
    assert_eq!(output.finding("ok", "login"), "API key");
    assert!(!output.out.contains("sk-"), "{}", output.out);
}

#[tokio::test]
async fn chatgpt_login_behind_a_public_address_is_warned_about() {
    let mut installation = Installation::new(&codex()).env("CODEX_FORCE_PROVIDER", "");
    let login = chatgpt(RENEWED, "refresh", "2099-01-01T00:00:00Z");
    fs::write(installation.path("home/auth.json"), login.to_string()).unwrap();
    for host in ["", "127.0.0.1", "::1", "localhost"] {
        installation = installation.env("PROXY_HOST", host);
        let output = installation.check().await;
        assert_eq!(output.finding("ok", "login"), "ChatGPT login", "{host}");
    }
    let output = installation.env("PROXY_HOST", "0.0.0.0").check().await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let text = output.finding("warn", "login");
    for part in [
        "PROXY_HOST=0.0.0.0",
        "codex login --with-api-key",
        "CODEX_ACCESS_TOKEN",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn unusable_access_token_is_named_without_its_value() {
    let installation = Installation::new(&codex())
        .env("CODEX_FORCE_PROVIDER", "")
        .env("CODEX_ACCESS_TOKEN", RENEWED);
    let output = installation.check().await;
    let text = output.finding("warn", "login");
    assert!(
        text.starts_with("Codex cannot use its credential: "),
        "{text}"
    );
    assert!(!output.out.contains(RENEWED), "{}", output.out);
}

#[tokio::test]
async fn contents_of_the_home_are_named_by_profile() {
    let installation = Installation::new(&codex());
    let output = installation.check().await;
    let expected = "CODEX_HOME extends neither chats nor agents";
    assert_eq!(output.finding("ok", "contents"), expected);
    fs::write(installation.path("home/AGENTS.md"), "Obey.").unwrap();
    fs::create_dir_all(installation.path("home/skills/ours")).unwrap();
    let output = installation.check().await;
    let expected = "chats do not use: AGENTS.md, skills; agents use: AGENTS.md";
    assert_eq!(output.finding("ok", "contents"), expected);
}

#[tokio::test]
async fn running_sidecar_is_named_and_not_disturbed() {
    let (_model, sidecar) = start().await;
    let pid = format!("pid {}", sidecar.pid());
    let home = sidecar.dir().join("codex-home");
    let (home, address) = (home.to_string_lossy(), listen(&sidecar));
    let children = sidecar.children();
    for (has_home, has_address, code, verdict, subject) in [
        (true, true, 0, "warn", "running"),
        (true, false, 64, "fail", "home"),
        (false, true, 64, "fail", "listen"),
    ] {
        let mut installation = Installation::new(&codex()).env("CODEX_FORCE_PROVIDER", "");
        if has_home {
            installation = installation.env("CODEX_HOME", &home);
        }
        if has_address {
            installation = installation.env("SIDECAR_LISTEN", &address);
        }
        let output = installation.check().await;
        assert_eq!(output.code, Some(code), "{output:?}");
        let text = output.finding(verdict, subject);
        assert!(text.contains(&pid), "{pid}: {text}");
    }
    assert_eq!(sidecar.children(), children);
    let ready = sidecar.connect().await.send(get("/readyz")).await.unwrap();
    assert_eq!(ready.status, 200, "{}", sidecar.log());
}

fn listen(sidecar: &Sidecar) -> String {
    format!("unix:{}", sidecar.socket().display())
}

#[tokio::test]
async fn places_of_the_state_are_named_with_whether_they_can_be_used() {
    let installation = Installation::new(&codex());
    let text = |name: &str| installation.text(name);
    fs::write(installation.path("broken"), "not a database, but text").expect("writable");
    let redis = Redis::start().await;
    let missing = format!("redis+unix://{}", text("missing.sock"));
    for (state, verdict, expected) in [
        ("memory".to_owned(), "ok", "memory; a restart".to_owned()),
        (
            format!("sqlite:{}", text("new")),
            "ok",
            format!("SQLite file {}, will be created", text("new")),
        ),
        (
            format!("sqlite:{}", text("broken")),
            "fail",
            "file is not a database".to_owned(),
        ),
        (redis.address(), "ok", "redis.sock answers".to_owned()),
        (missing, "warn", "does not answer".to_owned()),
    ] {
        let output = Installation::new(&codex())
            .env("PROXY_STATE", &state)
            .check()
            .await;
        let found = output.finding(verdict, "state");
        assert!(found.contains(&expected), "{found}");
    }
    assert!(!installation.path("new").exists());
    let durable = Installation::new(&codex())
        .env("PROXY_RESPONSES_DURABLE", "true")
        .check()
        .await;
    assert!(
        durable
            .out
            .contains("state.responses.sqlite3, will be created")
    );
    let conflict = Installation::new(&codex())
        .env("PROXY_RESPONSES_DURABLE", "true")
        .env("PROXY_STATE", "memory")
        .check()
        .await;
    assert_eq!(conflict.code, Some(64), "{conflict:?}");
}
