//! `sidecar --check`: what it finds, with which exit code, and that a start comes to the same.
//! sysexits(3): 64 is a configuration that cannot be used.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::http::get;
use tests::sidecar::{Sidecar, sidecar_binary};
use tokio::process::Command;
use tokio::time::timeout;
use xtask::command::write_program;
use xtask::tools::{Tool, Tools};

use crate::proto::codex as codex_proto;
use crate::stack::{SOON, start};

/// A folder with all that a sidecar needs, which is not started yet.
struct Site {
    dir: TempDir,
    env: Vec<(String, String)>,
}

/// How a process ended, and what it said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    /// The text of the first finding of this kind.
    fn finding(&self, verdict: &str, subject: &str) -> &str {
        let head = format!("{verdict:<5} {subject:<12} ");
        let found = self.out.lines().find_map(|line| line.strip_prefix(&head));
        found.unwrap_or_else(|| panic!("no {verdict} of {subject} in {self:?}"))
    }

    fn has(&self, verdict: &str) -> bool {
        let head = format!("{verdict:<5} ");
        self.out.lines().any(|line| line.starts_with(&head))
    }
}

impl Site {
    /// One at which nothing is wrong.
    fn new(codex: &str) -> Self {
        let dir = TempDir::new().expect("the folder is ours");
        let site = Self {
            dir,
            env: Vec::new(),
        };
        fs::create_dir(site.path("home")).expect("the folder is ours");
        fs::set_permissions(site.path("home"), fs::Permissions::from_mode(0o700))
            .expect("the folder is ours");
        fs::create_dir(site.path("tmp")).expect("the folder is ours");
        let config = "[model_providers.local]\nname = \"local\"\nbase_url = \"http://127.0.0.1:9\"\n\
                      wire_api = \"responses\"\n";
        fs::write(site.path("home/config.toml"), config).expect("the folder is ours");
        let (home, tmp) = (site.text("home"), site.text("tmp"));
        let listen = format!("unix:{}", site.text("sidecar.sock"));
        site.env("PATH", &std::env::var("PATH").unwrap_or_default())
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

    async fn check(&self) -> Said {
        self.run(&["--check"]).await.expect("it ends by itself")
    }

    /// Runs the sidecar; `None` when it is still there after a while.
    async fn run(&self, arguments: &[&str]) -> Option<Said> {
        let mut command = Command::new(sidecar_binary());
        command
            .args(arguments)
            .env_clear()
            .envs(self.env.iter().cloned())
            .current_dir(self.dir.path())
            .kill_on_drop(true);
        let output = timeout(SOON * 3, command.output()).await.ok()?;
        let output = output.expect("the sidecar is executable");
        Some(Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Every file and folder, with its mode.
    fn contents(&self) -> Vec<(PathBuf, u32)> {
        let mut found = Vec::new();
        list(self.dir.path(), &mut found);
        found.sort();
        found
    }
}

fn list(folder: &Path, found: &mut Vec<(PathBuf, u32)>) {
    for entry in fs::read_dir(folder).expect("the folder is ours").flatten() {
        let metadata = entry.metadata().expect("the folder is ours");
        found.push((entry.path(), metadata.permissions().mode()));
        if metadata.is_dir() {
            list(&entry.path(), found);
        }
    }
}

fn codex() -> String {
    let codex = Tools::open().executable(Tool::Codex);
    let codex = codex.expect("Codex was fetched: `cargo xtask fetch`");
    codex.to_string_lossy().into_owned()
}

#[tokio::test]
async fn where_nothing_is_wrong_it_says_what_would_run_and_leaves_nothing() {
    for (codex, version, protocol) in [
        (codex(), "0.169.0", "app-server"),
        (codex_proto(), "0.42.0", "proto"),
    ] {
        let site = Site::new(&codex).env("PROXY_TIMEOUT_MS", "7000");
        let before = site.contents();
        let said = site.check().await;
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(!said.has("fail") && !said.has("warn"), "{}", said.out);
        let found = said.finding("ok", "codex");
        assert!(
            found.contains(version) && found.ends_with(protocol),
            "{found}"
        );
        assert!(said.finding("ok", "login").contains("not required"));
        for part in [
            "PROXY_TIMEOUT_MS                 7000  (variable)",
            "codex-5-low                      gpt-5, effort low",
            "model_providers.local.stream_max_retries=0",
            "CORS allows web pages of any origin",
        ] {
            assert!(said.out.contains(part), "{part}: {}", said.out);
        }
        assert!(
            said.out.contains(&format!("codex {protocol} ")),
            "{}",
            said.out
        );
        assert!(said.err.is_empty(), "{}", said.err);
        assert_eq!(site.contents(), before, "it leaves nothing behind");
    }
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let toml = |site: Site, text: &str| {
        fs::write(site.path("home/config.toml"), text).unwrap();
        site
    };
    let between = |site: Site| {
        let file = site.path("between");
        write_program(&file, "#!/bin/sh\necho codex-cli 0.44.0").unwrap();
        let file = file.to_string_lossy().into_owned();
        site.env("CODEX_BIN", &file)
    };
    let listen = |site: Site, name: &str| {
        let address = format!("unix:{}", site.text(name));
        site.env("SIDECAR_LISTEN", &address)
    };
    // What is changed, what fails, the important words, and a start's exit code; none where it starts in vain.
    type Change<'a> = Box<dyn Fn(Site) -> Site + 'a>;
    let cases: Vec<(Change<'_>, &str, &[&str], Option<i32>)> = vec![
        (
            Box::new(|site| site.env("CODEX_BIN", "/nowhere/codex")),
            "codex",
            &["CODEX_BIN=/nowhere/codex", "install Codex"],
            Some(64),
        ),
        (
            Box::new(|site| site.env("CODEX_BIN", "/bin/true")),
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
            Box::new(|site| site.env("CODEX_PROTOCOL", "proto")),
            "codex",
            &["0.169.0", "0.42 or older", "CODEX_PROTOCOL=proto"],
            Some(64),
        ),
        (
            Box::new(|site| {
                let site = site.env("CODEX_BIN", &codex_proto());
                site.env("CODEX_PROTOCOL", "app-server")
            }),
            "codex",
            &["0.42.0", "0.169 or newer", "CODEX_PROTOCOL=app-server"],
            Some(64),
        ),
        (
            Box::new(|site| site.env("CODEX_HOME", "/dev/null/home")),
            "home",
            &["/dev/null/home", "CODEX_HOME"],
            Some(64),
        ),
        (
            Box::new(|site| site.env("TOKEN_LOG_PATH", "/dev/null/log")),
            "log",
            &["TOKEN_LOG_PATH=/dev/null/log"],
            Some(64),
        ),
        (
            Box::new(|site| {
                let site = site.env("PROXY_LOG_PROTO", "true");
                site.env("PROTO_LOG_PATH", "/dev/null/log")
            }),
            "log",
            &["PROTO_LOG_PATH=/dev/null/log"],
            Some(64),
        ),
        (
            Box::new(|site| site.env("SIDECAR_ADMIN_LISTEN", &taken)),
            "admin",
            &["in use by another process"],
            Some(1),
        ),
        (
            Box::new(|site| site.env("PROXY_CODEX_WORKDIR", "/dev/null")),
            "workdir",
            &["PROXY_CODEX_WORKDIR=/dev/null"],
            Some(64),
        ),
        (
            Box::new(|site| toml(site, "model = \"x\"\nbearer = sk-secret\n")),
            "config.toml",
            &["config.toml, line 2"],
            Some(64),
        ),
        (
            Box::new(|site| {
                let site = site.env("CODEX_FORCE_PROVIDER", "");
                toml(site, "model = 5\n")
            }),
            "login",
            &["home/config.toml:1:9", "expected a string"],
            None,
        ),
        (
            Box::new(|site| site.env("CODEX_FORCE_PROVIDER", "typo")),
            "config.toml",
            &["CODEX_FORCE_PROVIDER=typo", "[model_providers.typo]"],
            Some(64),
        ),
        (
            Box::new(|site| {
                fs::create_dir(site.path("home/auth.json")).unwrap();
                site
            }),
            "login",
            &["auth.json", "the sidecar's user"],
            Some(64),
        ),
        (
            Box::new(|site| listen(site, "missing/s.sock")),
            "listen",
            &["missing/s.sock", "create the directory"],
            Some(1),
        ),
        (
            Box::new(|site| listen(site, "home/config.toml")),
            "listen",
            &["not a socket"],
            Some(1),
        ),
        (
            Box::new(|site| listen(site, &"long/".repeat(30))),
            "listen",
            &["SUN_LEN"],
            Some(1),
        ),
        (
            Box::new(|site| site.env("SIDECAR_LISTEN", &taken)),
            "listen",
            &["in use by another process"],
            Some(1),
        ),
    ];
    for (change, subject, parts, start) in cases {
        let site = change(Site::new(&codex()));
        let before = site.contents();
        let said = site.check().await;
        assert_eq!(said.code, Some(64), "{said:?}");
        let text = said.finding("fail", subject);
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!said.out.contains("sk-secret"), "{}", said.out);
        assert_eq!(site.contents(), before, "it leaves nothing behind");
        if let Some(code) = start {
            let started = site.run(&[]).await.expect("a start ends likewise");
            assert_eq!(started.code, Some(code), "{subject}: {started:?}");
        }
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_used_is_named_as_at_a_start() {
    for (name, value, part) in [
        ("SIDECAR_LISTEN", "0.0.0.0:80", "loopback"),
        ("PROXY_TIMEOUT_MS", "5m", "--timeout-ms"),
    ] {
        let site = Site::new(&codex()).env(name, value);
        let said = site.check().await;
        assert_eq!(said.code, Some(64), "{said:?}");
        assert!(said.err.contains(part), "{said:?}");
    }
}

#[tokio::test]
async fn what_somebody_should_look_at_does_not_fail() {
    let site = Site::new(&codex())
        .env("CODEX_FORCE_PROVIDER", "")
        .env("PROXY_SANDBOX_MODE", "danger-full-access")
        .env("PROXY_TIMEOUTS_MS", "5");
    fs::set_permissions(site.path("home"), fs::Permissions::from_mode(0o755)).unwrap();
    let before = site.contents();
    let said = site.check().await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let login = format!("CODEX_HOME={} {} login", site.text("home"), codex());
    for (subject, part) in [
        ("home", "0755"),
        ("login", login.as_str()),
        ("sandbox", "danger-full-access"),
        ("variable", "did you mean PROXY_TIMEOUT_MS?"),
    ] {
        let text = said.finding("warn", subject);
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(site.contents(), before, "it leaves nothing behind");
    fs::write(
        site.path("home/auth.json"),
        r#"{"OPENAI_API_KEY":"sk-test"}"#,
    )
    .unwrap();
    let said = site.check().await;
    assert_eq!(said.finding("ok", "login"), "API key");
    assert!(!said.out.contains("sk-"), "{}", said.out);
}

#[tokio::test]
async fn a_sidecar_that_runs_is_named_and_not_disturbed() {
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
        let mut site = Site::new(&codex()).env("CODEX_FORCE_PROVIDER", "");
        if has_home {
            site = site.env("CODEX_HOME", &home);
        }
        if has_address {
            site = site.env("SIDECAR_LISTEN", &address);
        }
        let said = site.check().await;
        assert_eq!(said.code, Some(code), "{said:?}");
        let text = said.finding(verdict, subject);
        assert!(text.contains(&pid), "{pid}: {text}");
    }
    assert_eq!(sidecar.children(), children);
    let ready = sidecar.connect().await.send(get("/readyz")).await.unwrap();
    assert_eq!(ready.status, 200, "{}", sidecar.log());
}

fn listen(sidecar: &Sidecar) -> String {
    format!("unix:{}", sidecar.socket().display())
}
