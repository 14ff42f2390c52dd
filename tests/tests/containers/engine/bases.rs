//! Stand-ins for the base images, where the engine is the test's own and no registry is within reach: Debian from
//! debootstrap, and on it this machine's Rust toolchain, Node.js and Envoy, and Debian's Prometheus and Redis.
//! They are kept in the engine's data; a name holds the version of its content, and `REVISION` that of this file.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tests::debian::{RELEASE, debootstrap, program};
use xtask::command::output;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

use super::container_engine::Engine;

/// Raised when a stand-in is made in another way.
const REVISION: u32 = 1;
/// Certificates of this machine: its package registries may be reached through a proxy that has its own.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Programs that rustup installs as links to itself.
const RUSTUP_LINKS: &[&str] = &[
    "cargo",
    "rustc",
    "rustfmt",
    "cargo-fmt",
    "cargo-clippy",
    "clippy-driver",
    "rustdoc",
];

/// The names of the stand-ins.
pub(crate) struct Bases {
    /// Build arguments of the Dockerfile with their images.
    pub(crate) arguments: Vec<(&'static str, String)>,
    pub(crate) prometheus: String,
    pub(crate) redis: String,
}

impl Bases {
    /// Makes the stand-ins that the engine does not have yet.
    pub(crate) fn make(engine: &Engine) -> Self {
        let base = Base {
            engine,
            debian: name("debian", RELEASE),
        };
        base.make_debian();
        let (rust, node, envoy) = (base.make_rust(), base.make_node(), base.make_envoy());
        Self {
            arguments: vec![
                ("DEBIAN_IMAGE", base.debian.clone()),
                ("RUST_IMAGE", rust),
                ("NODE_IMAGE", node),
                ("ENVOY_IMAGE", envoy),
            ],
            prometheus: base.make_prometheus(),
            redis: base.make_redis(),
        }
    }

    /// The stand-in for Debian.
    pub(crate) fn debian(&self) -> &str {
        let (_argument, image) = &self.arguments[0];
        image
    }
}

fn name(image: &str, version: &str) -> String {
    format!("codex-edge-standin/{image}:{version}-{REVISION}")
}

/// Debian, from which the other images are made.
struct Base<'a> {
    engine: &'a Engine,
    debian: String,
}

impl Base<'_> {
    fn has(&self, image: &str) -> bool {
        self.engine.try_docker(&["image", "inspect", image]).is_ok()
    }

    fn make_debian(&self) {
        if self.has(&self.debian) {
            return;
        }
        let dir = TempDir::new().expect("the temporary folder is writable");
        let root = dir.path().join("root");
        debootstrap(&root, &[]);
        for folder in [
            "var/cache/apt/archives",
            "var/lib/apt/lists",
            "usr/share/doc",
            "usr/share/man",
        ] {
            fs::remove_dir_all(root.join(folder)).expect("debootstrap makes the folder");
        }
        fs::create_dir_all(root.join("var/lib/apt/lists/partial")).expect("the folder is writable");
        fs::create_dir_all(root.join("var/cache/apt/archives/partial"))
            .expect("the folder is writable");
        let mut import = self.engine.command("docker");
        import.args(["import", "--change", "CMD [\"bash\"]", "-", &self.debian]);
        feed(&root, &mut import);
    }

    /// The toolchain of this machine, in the place of the official image, so that `rustup toolchain install` finds it.
    fn make_rust(&self) -> String {
        let sysroot = output(
            Command::new("rustc")
                .args(["--print", "sysroot"])
                .current_dir(workspace::root()),
        )
        .expect("rustc is installed");
        let sysroot = Path::new(sysroot.trim());
        let toolchain = sysroot
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a toolchain of rustup");
        let image = name("rust", toolchain);
        if self.has(&image) {
            return image;
        }
        let files = TempDir::new().expect("the temporary folder is writable");
        let bin = files.path().join("usr/local/cargo/bin");
        let rustup = files.path().join("usr/local/rustup");
        let target = rustup.join("toolchains").join(toolchain);
        fs::create_dir_all(&bin).expect("the folder is writable");
        fs::create_dir_all(&target).expect("the folder is writable");
        output(
            Command::new("cp")
                .arg("--archive")
                .arg("--no-target-directory")
                .args([sysroot, &target]),
        )
        .expect("the disk has room for a toolchain");
        copy(&program("rustup"), &bin.join("rustup"));
        for link in RUSTUP_LINKS {
            symlink("rustup", bin.join(link)).expect("the folder is writable");
        }
        let settings = format!(
            "version = \"12\"\ndefault_toolchain = \"{toolchain}\"\nprofile = \"minimal\"\n"
        );
        fs::write(rustup.join("settings.toml"), settings).expect("the folder is writable");
        add_certificates(files.path());
        let script = install("gcc g++ libc6-dev make pkg-config git");
        let environment = [
            "PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "RUSTUP_HOME=/usr/local/rustup",
            "CARGO_HOME=/usr/local/cargo",
        ];
        self.derive(
            &image,
            files.path(),
            &script,
            &[&environment[..], &TRUST].concat(),
        );
        image
    }

    /// This machine's Node.js; where it needs libraries of its distribution, Debian's.
    fn make_node(&self) -> String {
        let image = name("node", RELEASE);
        if self.has(&image) {
            return image;
        }
        let files = TempDir::new().expect("the temporary folder is writable");
        let local = files.path().join("usr/local");
        fs::create_dir_all(local.join("bin")).expect("the folder is writable");
        fs::create_dir_all(local.join("lib/node_modules")).expect("the folder is writable");
        copy(&program("node"), &local.join("bin/node"));
        let modules =
            output(Command::new("npm").args(["root", "--global"])).expect("npm is installed");
        let npm = Path::new(modules.trim()).join("npm");
        output(
            Command::new("cp")
                .args(["--recursive", "--dereference"])
                .arg(npm)
                .arg(local.join("lib/node_modules/")),
        )
        .expect("npm is installed globally");
        symlink(
            "../lib/node_modules/npm/bin/npm-cli.js",
            local.join("bin/npm"),
        )
        .expect("the folder is writable");
        add_certificates(files.path());
        let script = format!(
            "{}\nnpm --version || {{ rm -rf /usr/local/bin/node /usr/local/bin/npm; {}; }}",
            install("libstdc++6"),
            install("nodejs npm")
        );
        self.derive(&image, files.path(), &script, &TRUST);
        image
    }

    fn make_envoy(&self) -> String {
        let image = name("envoy", Tool::Envoy.version().expect("Envoy is pinned"));
        if self.has(&image) {
            return image;
        }
        let files = TempDir::new().expect("the temporary folder is writable");
        let bin = files.path().join("usr/local/bin");
        fs::create_dir_all(&bin).expect("the folder is writable");
        let envoy = Tools::open().executable(Tool::Envoy);
        copy(
            &envoy.expect("Envoy was fetched: `cargo xtask fetch`"),
            &bin.join("envoy"),
        );
        self.derive(&image, files.path(), "true", &[]);
        image
    }

    fn make_prometheus(&self) -> String {
        let image = name("prometheus", RELEASE);
        let script = format!(
            "{}\ninstall -d -o 65534 -g 65534 /prometheus\nln -s /usr/bin/prometheus /bin/prometheus || true",
            install("prometheus wget")
        );
        self.derive_without_files(
            &image,
            &script,
            &[
                "USER nobody",
                "ENTRYPOINT [\"prometheus\"]",
                "VOLUME [\"/prometheus\"]",
            ],
        );
        image
    }

    fn make_redis(&self) -> String {
        let image = name("redis", RELEASE);
        self.derive_without_files(&image, &install("redis-server"), &[]);
        image
    }

    fn derive_without_files(&self, image: &str, script: &str, changes: &[&str]) {
        if !self.has(image) {
            let files = TempDir::new().expect("the temporary folder is writable");
            self.commit(image, files.path(), script, changes);
        }
    }

    fn derive(&self, image: &str, files: &Path, script: &str, environment: &[&str]) {
        let changes: Vec<_> = environment
            .iter()
            .map(|pair| format!("ENV {pair}"))
            .collect();
        let borrowed: Vec<_> = changes.iter().map(String::as_str).collect();
        self.commit(image, files, script, &borrowed);
    }

    /// Runs a script in a container of Debian with further files, and makes an image of it.
    fn commit(&self, image: &str, files: &Path, script: &str, changes: &[&str]) {
        let create = [
            "create",
            "--network=host",
            "--env=DEBIAN_FRONTEND=noninteractive",
            &self.debian,
            "sh",
            "-exc",
            script,
        ];
        let created = self.engine.docker(&create);
        let id = created.trim();
        let mut copy = self.engine.command("docker");
        copy.args(["cp", "-", &format!("{id}:/")]);
        feed(files, &mut copy);
        self.engine.docker(&["start", "--attach", id]);
        let mut commit = vec![
            "commit".to_owned(),
            "--change".into(),
            "CMD [\"bash\"]".into(),
        ];
        for change in changes {
            commit.extend(["--change".into(), (*change).to_owned()]);
        }
        commit.extend([id.to_owned(), image.to_owned()]);
        self.engine.docker(&commit);
        self.engine.docker(&["rm", id]);
    }
}

/// Variables with which the programs of an image trust the certificates of this machine.
const TRUST: [&str; 3] = [
    "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
    "CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt",
    "NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt",
];

fn add_certificates(root: &Path) {
    let target = root.join(CERTIFICATES.trim_start_matches('/'));
    fs::create_dir_all(target.parent().expect("a folder")).expect("the folder is writable");
    fs::copy(CERTIFICATES, target).expect("apt-get install ca-certificates");
}

/// A script that installs Debian packages.
fn install(packages: &str) -> String {
    format!(
        "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; apt-get update -q; apt-get install -yq --no-install-recommends {packages}; rm -rf /var/lib/apt/lists/*"
    )
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
        .expect("the file is this test's own");
}

/// Writes a folder as a tar archive to the stdin of a command.
fn feed(folder: &Path, command: &mut Command) {
    let mut tar = Command::new("tar");
    tar.arg("--directory")
        .arg(folder)
        .args(["--create", "."])
        .stdout(Stdio::piped());
    let mut writer = tar.spawn().expect("tar is installed");
    let archive = writer.stdout.take().expect("stdout is piped");
    let fed = command.stdin(archive).stdout(Stdio::null()).status();
    assert!(fed.expect("docker is installed").success(), "{command:?}");
    assert!(writer.wait().expect("tar is a child").success());
}
