//! A new Debian with the needs of the README, and commands in it. Each command has namespaces of its own for mounts and
//! processes: when it ends, the kernel ends what it started, and this machine sees none of its mounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use tempfile::TempDir;
use tests::debian::{DPKG_FORCE, debootstrap, program};
use xtask::command::{bound_to_parent, output};
use xtask::tools::Tools;
use xtask::workspace;

/// Python with pip, and what Node and the package clients of all three need.
const PACKAGES: &[&str] = &["ca-certificates", "libstdc++6", "python3", "python3-pip"];

/// Mounts the folders of the later arguments, up to `--`, at their own places in the folder of the first one, and runs the rest
/// there.
const ENTER: &str = r#"set -eu
root="$1"; shift
mount --make-rprivate /
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "$root$1"; else mkdir -p "$root${1%/*}"; touch "$root$1"; fi
    mount --bind "$1" "$root$1"
    shift
done
shift
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec chroot "$root" "$@""#;

/// The folder of the Debian.
pub(crate) struct NewDebian {
    folder: TempDir,
}

impl NewDebian {
    /// Makes the folder.
    pub(crate) fn new() -> Self {
        assert!(
            geteuid().is_root(),
            "a Debian of its own needs root: run this test as root, or leave it out by `--without setup`"
        );
        let target = workspace::target_dir();
        fs::create_dir_all(&target).expect("the target folder is writable");
        let folder = TempDir::new_in(&target).expect("the target folder is writable");
        let debian = Self { folder };
        debootstrap(&debian.root(), PACKAGES);
        let certificates = "etc/ssl/certs/ca-certificates.crt";
        // Package registries may be reached through a proxy that has its own certificate.
        fs::copy(
            Path::new("/").join(certificates),
            debian.root().join(certificates),
        )
        .expect("apt-get install ca-certificates");
        debian
    }

    /// The root folder, as this machine sees it.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// A command in this Debian, with the environment of a login and no variable of this machine.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let cargo = home("CARGO_HOME", ".cargo");
        let store = Tools::open();
        let tools = fs::canonicalize(store.dir()).expect("the tools were fetched");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--"])
            .args(["sh", "-c", ENTER, "sh"])
            .arg(self.root())
            .args([&cargo, &home("RUSTUP_HOME", ".rustup"), &tools])
            .args([workspace::root(), &workspace::target_dir()])
            .args([program("node"), modules()])
            .args(["--", "env", "--ignore-environment", "HOME=/root"])
            .arg(format!("{}={}", DPKG_FORCE.0, DPKG_FORCE.1))
            .arg(assignment("CARGO_HOME", &cargo))
            .arg(assignment("RUSTUP_HOME", &home("RUSTUP_HOME", ".rustup")))
            .arg(assignment("CARGO_TARGET_DIR", &workspace::target_dir()))
            .arg(assignment("CODEX_EDGE_TOOLS", &tools))
            .arg(format!(
                "PATH={}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                cargo.join("bin").display()
            ))
            .args(["sh", "-c", &self.script(), "sh"])
            .args(arguments)
            .stdin(Stdio::null());
        bound_to_parent(&mut command, Signal::SIGKILL);
        command
    }

    /// Links Node and npm into PATH, and runs the arguments in the workspace.
    fn script(&self) -> String {
        format!(
            "ln -sf {} /usr/local/bin/node; ln -sf {}/npm/bin/npm-cli.js /usr/local/bin/npm; cd {}; exec \"$@\"",
            program("node").display(),
            modules().display(),
            workspace::root().display()
        )
    }
}

fn assignment(variable: &str, value: &Path) -> String {
    format!("{variable}={}", value.display())
}

fn home(variable: &str, default: &str) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from);
    named.unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("HOME is set");
        PathBuf::from(home).join(default)
    })
}

/// The folder of npm.
fn modules() -> PathBuf {
    let modules = output(Command::new("npm").args(["root", "--global"])).expect("npm is installed");
    PathBuf::from(modules.trim())
}
