//! Runs other programs to their end; a program does not outlive the process that started it.
//! Parent-death signals are specific to Linux: prctl(2), `PR_SET_PDEATHSIG`.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd;

/// Runs `command` with the stdout and stderr of this process.
///
/// # Errors
/// When the command cannot be started or fails; the message has the command line.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = bound_to_parent(command, Signal::SIGTERM)
        .stdin(Stdio::null())
        .status()
        .with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs `command` and returns its stdout.
///
/// # Errors
/// As for [`run`]; the message also has the output of the command.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let Output {
        status,
        stdout,
        stderr,
    } = bound_to_parent(command, Signal::SIGTERM)
        .stdin(Stdio::null())
        .output()
        .with_context(|| cannot_start(command))?;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    if !status.success() {
        let stderr = String::from_utf8_lossy(&stderr);
        bail!("`{line}` failed: {status}\n{stdout}{stderr}");
    }
    Ok(stdout)
}

/// Makes the kernel send `signal` to the command when the thread that starts the command ends, for any reason.
/// The command starts with an empty signal mask; it does not inherit the signals that the thread has blocked.
pub fn bound_to_parent(command: &mut Command, signal: Signal) -> &mut Command {
    let parent = unistd::getpid();
    let bind = move || {
        SigSet::empty().thread_set_mask()?;
        prctl::set_pdeathsig(signal)?;
        // If the parent died before the call above, the kernel will never send the signal.
        if unistd::getppid() != parent {
            return Err(io::Error::from(Errno::ESRCH));
        }
        Ok(())
    };
    #[expect(
        unsafe_code,
        reason = "between fork and exec only system calls are made, which allocate nothing and take no lock"
    )]
    // SAFETY: as the reason says; `bind` owns two plain values.
    unsafe {
        command.pre_exec(bind)
    }
}

/// Writes a script and makes the file executable.
///
/// A child process writes the file. If this process held the file open for writing, a child forked by another thread would
/// inherit the descriptor, and executing the file would fail with ETXTBSY (execve(2)) until that child calls exec.
///
/// # Errors
/// When the file cannot be written.
pub fn write_program(file: &Path, script: &str) -> Result<()> {
    let write = "printf '%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
    output(Command::new("sh").args(["-c", write]).arg(file).arg(script)).map(drop)
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn cannot_start(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let fix = match &*program {
        "python3" => ": install Python 3.11 or newer",
        "npm" => ": install Node.js 20 or newer, which brings it",
        "rustup" => ": install it, or add the compiler's target wasm32-wasip1 in another way",
        "tar" | "valgrind" => ": install it",
        _ => "",
    };
    format!("cannot start `{program}`{fix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_reported_with_its_fix() {
        assert!(cannot_start(&Command::new("npm")).contains("install Node.js"));
        let error = run(&mut Command::new("/nonexistent/tool")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("cannot start `/nonexistent/tool`")
        );
    }

    #[test]
    fn a_command_starts_with_no_signal_blocked() {
        let mask = SigSet::from(Signal::SIGTERM);
        mask.thread_block().unwrap();
        let status = output(Command::new("cat").arg("/proc/self/status")).unwrap();
        mask.thread_unblock().unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        assert_eq!(blocked.map(str::trim), Some("0000000000000000"));
    }

    #[test]
    fn a_failed_command_is_reported_with_its_line_and_output() {
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("sh -c") && text.contains("exit status: 3") && text.contains("why"),
            "{text}"
        );
    }
}
