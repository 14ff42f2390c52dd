//! The systemd units, checked by systemd itself: systemd.exec(5), systemd-analyze(1), sysusers.d(5).
//! The units are not started, since that requires the system manager of the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tests::filter_wasm::filter_wasm;
use tests::sidecar::sidecar_binary;
use xtask::command::output;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

use crate::files::{path, text};

const SIDECAR: &str = "codex-edge-sidecar.service";
const ENVOY: &str = "codex-edge-envoy.service";

/// Highest accepted exposure level of `systemd-analyze security`, in tenths; a unit without hardening has 96.
const EXPOSURE: &str = "20";

/// Writes the units to a temporary folder, with the programs of this machine, after `change`.
fn units(change: impl Fn(String) -> String) -> TempDir {
    let dir = TempDir::new().expect("the temporary folder can be written");
    let envoy = Tools::open()
        .executable(Tool::Envoy)
        .expect("Envoy was fetched: `cargo xtask fetch`");
    let programs = [
        ("/usr/local/bin/sidecar", sidecar_binary().to_owned()),
        ("/usr/local/bin/envoy", envoy),
        (
            "/usr/local/lib/codex-edge/drain.sh",
            path("systemd/drain.sh"),
        ),
    ];
    for name in [SIDECAR, ENVOY] {
        let unit = programs.iter().fold(
            text(&format!("systemd/{name}")),
            |unit, (program, local)| unit.replace(program, &local.display().to_string()),
        );
        fs::write(dir.path().join(name), change(unit)).expect("the folder is writable");
    }
    dir
}

/// Runs `systemd-analyze` on the units in `dir`. Returns its findings, which are empty for a valid unit.
fn analyze(dir: &Path, arguments: &[&str], units: &[&str]) -> String {
    let mut analyze = Command::new("systemd-analyze");
    analyze
        .args(arguments)
        .args(units.iter().map(|unit| dir.join(unit)))
        // The units of this folder and their drop-ins take precedence over those of the system.
        .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display()));
    let output = analyze.output().expect(
        "systemd-analyze is installed: `apt-get install systemd`, as `cargo xtask test` does",
    );
    let findings = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => findings.into_owned(),
        false => format!("{}\n{findings}", output.status),
    }
}

fn verify(dir: &Path) -> String {
    analyze(dir, &["verify", "--man=no"], &[SIDECAR, ENVOY])
}

#[test]
fn systemd_verifies_the_units() {
    let dir = units(|unit| unit);
    assert_eq!(verify(dir.path()), "");
    let drop_in = dir.path().join(format!("{SIDECAR}.d"));
    fs::create_dir(&drop_in).unwrap();
    fs::write(drop_in.join("agent.conf"), text("systemd/agent.conf")).unwrap();
    assert_eq!(verify(dir.path()), "");
}

#[test]
fn systemd_rejects_unknown_directives() {
    for (directive, typo) in [
        ("ProtectSystem=", "ProtectTheSystem="),
        ("@system-service", "@system-services"),
        ("Type=exec", "Type=program"),
    ] {
        let findings = verify(units(|unit| unit.replace(directive, typo)).path());
        assert!(!findings.is_empty(), "{typo} is accepted");
    }
}

#[test]
fn exposure_stays_below_the_threshold() {
    let threshold = format!("--threshold={EXPOSURE}");
    let arguments = ["security", "--offline=true", &threshold];
    let dir = units(|unit| unit);
    for unit in [SIDECAR, ENVOY] {
        assert_eq!(analyze(dir.path(), &arguments, &[unit]), "", "{unit}");
    }
    let open = units(|unit| {
        unit.replace("SystemCallFilter=", "#")
            .replace("CapabilityBoundingSet=", "#")
    });
    for unit in [SIDECAR, ENVOY] {
        assert_ne!(analyze(open.path(), &arguments, &[unit]), "", "{unit}");
    }
}

/// Runs the installation commands of the page, up to the start of the units, with an empty folder as the root and with
/// the programs that were built for the tests.
fn installed() -> TempDir {
    let root = TempDir::new().expect("the temporary folder can be written");
    fs::create_dir(root.path().join("etc")).expect("the folder is writable");
    let page = text("systemd/README.md");
    let (_, rest) = page.split_once("```sh\n").expect("the page has commands");
    let (lines, _) = rest
        .split_once("systemctl")
        .expect("the page starts the units");
    let at_root = root.path().display();
    let mut script = format!("set -eu\n{lines}");
    for folder in ["usr", "opt", "etc"] {
        for before in [" ", ">"] {
            let below_root = format!("{before}{at_root}/{folder}/");
            script = script.replace(&format!("{before}/{folder}/"), &below_root);
        }
    }
    let sysusers = format!("systemd-sysusers --root={at_root} codex-edge.conf");
    let built = [
        ("\nsystemd-sysusers", format!("\n{sysusers}")),
        (
            "target/release/sidecar",
            sidecar_binary().display().to_string(),
        ),
        (
            "target/shipped/filter.wasm",
            filter_wasm().display().to_string(),
        ),
        (".tools/", format!("{}/", Tools::open().dir().display())),
    ];
    for (shipped, local) in built {
        assert!(script.contains(shipped), "{shipped}");
        script = script.replace(shipped, &local);
    }
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(workspace::root());
    output(&mut bash).unwrap_or_else(|error| panic!("{error}"));
    root
}

#[test]
fn installation_page_provides_everything_the_units_name() {
    let root = installed();
    let read = |file: &str| fs::read_to_string(root.path().join(file)).expect(file);
    let (users, groups) = (read("etc/passwd"), read("etc/group"));
    let exists = |path: &str| root.path().join(path.trim_start_matches('/')).exists();
    for name in [SIDECAR, ENVOY] {
        for line in read(&format!("etc/systemd/system/{name}")).lines() {
            let known = match line.split_once('=') {
                Some(("User", name)) => users.contains(&format!("{name}:")),
                Some(("Group" | "SupplementaryGroups", name)) => {
                    groups.contains(&format!("{name}:"))
                }
                Some(("ExecStart" | "ExecStop" | "EnvironmentFile", path)) => {
                    // systemd ignores a missing file whose path begins with `-`.
                    let is_optional = path.starts_with('-');
                    let mut words = path.split(' ').filter(|word| word.starts_with('/'));
                    is_optional || words.all(exists)
                }
                _ => true,
            };
            assert!(known, "{name}: {line}");
        }
    }
    let key = root.path().join("etc/codex-edge/envoy.env");
    let mode = fs::metadata(key)
        .expect("the key file exists")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let link = fs::read_link(root.path().join("usr/local/bin/codex")).expect("a symbolic link");
    assert!(link.is_file(), "{}", link.display());
}
