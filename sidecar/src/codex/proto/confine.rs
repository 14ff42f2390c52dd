//! What a child may reach on this machine: its program, its home, and what every program reads. It can start nothing.
//! Linux's Landlock (landlock(7)); Codex 0.42 runs `exec_command` when a model calls it, offered or not, unsandboxed.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, path_beneath_rules,
};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::process::{ChildProcess, Pipes, Program};

/// The newest rights that are taken away; a kernel that does not know some of them takes the others.
const RIGHTS: ABI = ABI::V5;

/// Certificates, names of hosts, time zones: what OpenSSL's probe, musl's resolver and Rust's std look for.
const SYSTEM: [&str; 17] = [
    "/usr",
    "/nix/store",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/certs",
    "/etc/openssl",
    "/opt/etc/ssl",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/os-release",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/dev/urandom",
];

/// Variables that name further certificates.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What a child may reach beside what every program reads.
#[derive(Debug)]
pub(super) struct Reach {
    /// The folder that is its own.
    pub(super) folder: PathBuf,
    /// A file that it reads and writes anew.
    pub(super) rewritten: PathBuf,
    /// A file that it reads.
    pub(super) read: PathBuf,
}

/// Whether this kernel can confine a child.
///
/// # Errors
/// It cannot: Landlock is older than the kernel, or switched off.
pub(in crate::codex) fn is_supported() -> Result<(), RulesetError> {
    ruleset().map(drop)
}

/// Keeps the thread alive from which a child was started: the parent-death signal follows that thread.
#[derive(Debug)]
pub(super) struct Parent(
    #[expect(dead_code, reason = "dropping it is its use")] mpsc::SyncSender<()>,
);

/// Starts `program` within `reach`, from a thread that gives everything else up first: confinement is a thread's, and
/// its children's.
///
/// # Errors
/// The system's, when the thread cannot be confined or the program not be started.
pub(super) async fn spawn(
    program: Program,
    reach: Reach,
) -> io::Result<(ChildProcess, Pipes, Parent)> {
    let (told, spawned) = oneshot::channel();
    let (parent, gone) = mpsc::sync_channel(0);
    let runtime = Handle::current();
    let start = move || {
        let _runtime = runtime.enter();
        let confined = restrict(&program, &reach).map_err(io::Error::other);
        let child = confined.and_then(|()| ChildProcess::spawn(&program));
        if told.send(child).is_ok() {
            let _parent_dropped = gone.recv();
        }
    };
    thread::Builder::new()
        .name("codex-parent".into())
        .spawn(start)?;
    let spawned = spawned.await.map_err(io::Error::other)?;
    spawned.map(|(child, pipes)| (child, pipes, Parent(parent)))
}

/// Takes from this thread, and all that it will start, whatever is not listed.
fn restrict(program: &Program, reach: &Reach) -> Result<(), RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let certificates = program
        .environment
        .iter()
        .filter(|(name, _)| CERTIFICATES.iter().any(|known| name == known))
        .map(|(_, path)| PathBuf::from(path));
    let start = AccessFs::Execute | AccessFs::ReadFile;
    let own = AccessFs::from_all(RIGHTS) & !BitFlags::from(AccessFs::Execute);
    let rewrite = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    ruleset()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(certificates, read))?
        .add_rules(path_beneath_rules([&program.path], start))?
        .add_rules(path_beneath_rules([&reach.folder], own))?
        .add_rules(path_beneath_rules([&reach.read], read))?
        .add_rules(path_beneath_rules([&reach.rewritten], rewrite))?
        .add_rules(path_beneath_rules(["/dev/null"], rewrite))?
        .restrict_self()
        .map(drop)
}

/// Every right over files, that of starting them included; a kernel without it will not do.
fn ruleset() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RIGHTS))?
        .create()
}
