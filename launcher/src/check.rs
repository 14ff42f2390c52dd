//! `codex-edge check`: whether `up` would start with this environment, one line per check, without a start.
//! The lines have the form of `sidecar --check`; its report follows them.

use std::convert::Infallible;
use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::{self, ExitCode, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::command::bound_to_parent;
use crate::envoy_check;
use crate::program::Program;
use crate::up::{self, Mode, RunDir, Services, Source, StackFiles, UpArgs};

/// The line of a scripted model that does not run: the sidecar's check reads the configuration and asks no provider.
const NO_MODEL: &str = "listening on http://127.0.0.1:9/v1";

/// Checks the needs of `up`, prints the results, and fails if `up` would not start.
///
/// # Errors
/// When a check cannot be made at all, as in a temporary folder that cannot be written.
pub fn check(args: &UpArgs, source: &dyn Source) -> Result<ExitCode> {
    let mut report = Report::default();
    report.add("address", address(args));
    let key = up::api_key(args.host);
    report.add("key", key.as_ref().map(|_| key_source()));
    let envoy = report.program("envoy", source.envoy());
    let codex = report.program("codex", source.codex());
    if let (Some(envoy), Some(codex), Ok(key)) = (envoy, codex, key) {
        let mode = args.mode(&codex.path, source)?;
        report.add::<Infallible>("mode", Ok(mode.to_string()));
        let files = source.files(&mode);
        report.add("package", files.as_ref().map(package_text));
        if let Ok(files) = files {
            let name = format!("codex-edge-check-{}", process::id());
            let run_dir = RunDir::claim(&env::temp_dir().join(name))?;
            let services = Services {
                run_dir: run_dir.path(),
                listen: args.listen(),
                admin_listen: String::new(),
                concurrency: None,
                key,
                envoy: envoy.path,
                codex: codex.path,
                mode,
                files,
            };
            check_services(&services, run_dir.path(), &mut report)?;
        }
    }
    Ok(match report.failures {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Validates the configurations that `up` would write, and has the sidecar check its own.
fn check_services(services: &Services<'_>, dir: &Path, report: &mut Report) -> Result<()> {
    services.envoy()?;
    let valid = |result: Result<()>| result.map(|()| "Envoy accepts it".to_owned());
    let bootstrap = envoy_check::bootstrap(&services.envoy, &services.bootstrap(), &[]);
    report.add("envoy.yaml", valid(bootstrap));
    let filter_yaml = services.placement().filter_yaml;
    let filter = envoy_check::filter(
        &services.envoy,
        &filter_yaml,
        &dir.join("filter-check.yaml"),
    );
    report.add("filter.yaml", valid(filter));
    if let Mode::Demo = services.mode {
        services.write_demo_home(NO_MODEL)?;
    }
    let mut sidecar = services.sidecar();
    let status = bound_to_parent(sidecar.arg("--check"), Signal::SIGTERM)
        .stdin(Stdio::null())
        .status()
        .context("cannot start the sidecar")?;
    report.failures += usize::from(!status.success());
    Ok(())
}

fn address(args: &UpArgs) -> Result<String> {
    up::bind_public(args.listen())?;
    Ok(format!("{} is free", args.listen()))
}

fn key_source() -> String {
    match env::var_os("PROXY_API_KEY").is_some_and(|key| !key.is_empty()) {
        true => "PROXY_API_KEY is the key of the client default".to_owned(),
        false => {
            "PROXY_API_KEY is not set: `up` makes and prints a new key at each start".to_owned()
        }
    }
}

fn package_text(files: &StackFiles) -> String {
    let folder = files.configuration.display();
    format!("complete, in {folder}")
}

/// The results that are printed so far.
#[derive(Debug, Default)]
struct Report {
    failures: usize,
}

impl Report {
    /// Prints a result as one line.
    fn add<E: Display>(&mut self, subject: &str, result: Result<String, E>) {
        let (severity, text) = match result {
            Ok(text) => ("ok", text),
            Err(error) => {
                self.failures += 1;
                ("fail", format!("{error:#}"))
            }
        };
        // Envoy's reasons have several lines.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // A closed pipe, such as `| head`, changes nothing about the result.
        let _ = writeln!(io::stdout(), "{severity:<5} {subject:<12} {text}");
    }

    fn program(&mut self, subject: &str, found: Result<Program>) -> Option<Program> {
        self.add(subject, found.as_ref().map(|program| program.why.clone()));
        found.ok()
    }
}
