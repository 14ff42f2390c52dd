//! Confinement of a child with Landlock (landlock(7)) to its program, its home and common system files. A confined
//! child cannot start other programs. Codex 0.42 runs `exec_command` without a sandbox when a model calls it, even if
//! it was not offered.

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

/// The newest access rights that are removed. A kernel without some of them removes the others.
const RIGHTS: ABI = ABI::V5;

/// Readable system paths: certificates, host names and time zones, as OpenSSL's probe, musl's resolver and Rust's std
/// look them up.
const SYSTEM_PATHS: [&str; 17] = [
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
const CERTIFICATE_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The paths that a child may access beside the common system files.
#[derive(Debug)]
pub(super) struct AllowedPaths {
    /// The child's own folder.
    pub(super) folder: PathBuf,
    /// A file that the child reads and rewrites in place.
    pub(super) rewritten: PathBuf,
}

/// Checks that this kernel can confine a child.
///
/// # Errors
/// The kernel is older than Landlock, or Landlock is switched off.
pub(in crate::codex) fn is_supported() -> Result<(), RulesetError> {
    ruleset().map(drop)
}

/// Keeps the thread alive that started a child, because the parent-death signal follows that thread.
#[derive(Debug)]
pub(super) struct ParentThread(
    #[expect(dead_code, reason = "dropping it is its use")] mpsc::SyncSender<()>,
);

/// Starts `program` confined to `paths`, in a thread that confines itself first: Landlock applies to a thread and
/// to the processes that it starts.
///
/// # Errors
/// The thread cannot be confined, or the program cannot be started.
pub(super) async fn spawn(
    program: Program,
    paths: AllowedPaths,
) -> io::Result<(ChildProcess, Pipes, ParentThread)> {
    let (sender, spawned) = oneshot::channel();
    let (parent, dropped) = mpsc::sync_channel(0);
    let runtime = Handle::current();
    let start = move || {
        let _runtime = runtime.enter(); // Held while the child's pipes are registered with the runtime.
        let confined = restrict(&program, &paths).map_err(io::Error::other);
        let child = confined.and_then(|()| ChildProcess::spawn(&program));
        if sender.send(child).is_ok() {
            // Blocks until the child's task drops its `ParentThread`: the child dies with this thread.
            dropped.recv().ok();
        }
    };
    thread::Builder::new()
        .name("codex-parent".into())
        .spawn(start)?;
    let result = spawned.await.map_err(io::Error::other)?;
    result.map(|(child, pipes)| (child, pipes, ParentThread(parent)))
}

/// Removes every access right that is not listed here from this thread and the processes that it will start.
fn restrict(program: &Program, paths: &AllowedPaths) -> Result<(), RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let certificates = program
        .environment
        .iter()
        .filter(|(name, _)| CERTIFICATE_VARIABLES.iter().any(|known| name == known))
        .map(|(_, path)| PathBuf::from(path));
    let start = AccessFs::Execute | AccessFs::ReadFile;
    let own = AccessFs::from_all(RIGHTS) & !BitFlags::from(AccessFs::Execute);
    let rewrite = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    ruleset()?
        .add_rules(path_beneath_rules(SYSTEM_PATHS, read))?
        .add_rules(path_beneath_rules(certificates, read))?
        .add_rules(path_beneath_rules([&program.path], start))?
        .add_rules(path_beneath_rules([&paths.folder], own))?
        .add_rules(path_beneath_rules([&paths.rewritten], rewrite))?
        .add_rules(path_beneath_rules(["/dev/null"], rewrite))?
        .restrict_self()
        .map(drop)
}

/// Returns a ruleset of all access rights over files. The right to execute is a hard requirement.
fn ruleset() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        // ABI 1 includes the right to execute. The later rights are taken where the kernel has them.
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RIGHTS))?
        .create()
}
