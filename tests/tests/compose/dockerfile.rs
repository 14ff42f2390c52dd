//! The Dockerfile: what it takes from where, in the versions that the tests run with.
//! Follows the Dockerfile reference, by way of a parser.

use std::fs;

use parse_dockerfile::{Command, Instruction, Source};
use xtask::command::output;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

use crate::image::is_sent;

/// The text, which is parsed anew for each question.
pub(crate) struct Dockerfile(String);

impl Dockerfile {
    pub(crate) fn read() -> Self {
        let path = workspace::root().join("Dockerfile");
        Self(fs::read_to_string(path).expect("there is a Dockerfile"))
    }

    /// Calls `look` with each instruction of the stage `name`.
    pub(crate) fn in_stage(&self, name: &str, mut look: impl FnMut(&Instruction<'_>)) {
        let parsed = parse_dockerfile::parse(&self.0).expect("the Dockerfile is one");
        let stage = parsed
            .stage(name)
            .unwrap_or_else(|| panic!("no stage {name}"));
        stage.instructions.iter().for_each(&mut look);
    }

    pub(crate) fn has_stage(&self, name: &str) -> bool {
        let parsed = parse_dockerfile::parse(&self.0).expect("the Dockerfile is one");
        parsed.stage(name).is_some()
    }

    /// What each `RUN` of a stage has the shell do.
    pub(crate) fn scripts(&self, stage: &str) -> Vec<String> {
        let mut scripts = Vec::new();
        self.in_stage(stage, |instruction| {
            if let Instruction::Run(run) = instruction {
                let Command::Shell(script) = &run.arguments else {
                    panic!("{run:?} has no shell");
                };
                scripts.push(script.value.to_owned());
            }
        });
        scripts
    }

    /// What a container of a stage runs: its entry point with the arguments that it has by default.
    pub(crate) fn command(&self, stage: &str) -> Vec<String> {
        let mut words = Vec::new();
        self.in_stage(stage, |instruction| {
            let command = match instruction {
                Instruction::Entrypoint(entrypoint) => &entrypoint.arguments,
                Instruction::Cmd(cmd) => &cmd.arguments,
                _ => return,
            };
            let Command::Exec(command) = command else {
                panic!("{command:?} would run in a shell");
            };
            words.extend(command.value.iter().map(|word| word.value.to_string()));
        });
        words
    }

    /// What each stage is made from.
    fn bases(&self) -> Vec<(String, String)> {
        let parsed = parse_dockerfile::parse(&self.0).expect("the Dockerfile is one");
        let stages = parsed.stages().map(|stage| {
            let name = stage
                .from
                .as_
                .as_ref()
                .map(|(_, name)| name.value.to_string());
            (
                name.expect("every stage has a name"),
                stage.from.image.value.to_string(),
            )
        });
        stages.collect()
    }
}

/// Whether an image is named with its digest.
pub(crate) fn has_digest(image: &str) -> bool {
    let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
    digest.is_some_and(|digest| digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()))
}

#[test]
fn base_images_are_pinned_by_digest_or_version() {
    let dockerfile = Dockerfile::read();
    let envoy = format!("envoyproxy/envoy:v{}", Tool::Envoy.version().unwrap());
    for (stage, base) in dockerfile.bases() {
        let exact = if stage == "envoy" {
            base == envoy
        } else {
            has_digest(&base)
        };
        assert!(
            exact || dockerfile.has_stage(&base),
            "{stage} is made from {base}"
        );
    }
}

#[test]
fn build_image_matches_the_rust_toolchain_file() {
    let toolchain = fs::read_to_string(workspace::root().join("rust-toolchain.toml")).unwrap();
    let (_, channel) = toolchain.split_once("channel = \"").unwrap();
    let (channel, _) = channel.split_once('"').unwrap();
    let bases = Dockerfile::read().bases();
    let (_, image) = bases.iter().find(|(stage, _)| stage == "build").unwrap();
    assert!(image.starts_with(&format!("rust:{channel}-")), "{image}");
}

#[test]
fn codex_archive_matches_the_tests_on_both_architectures() {
    let scripts = Dockerfile::read().scripts("codex").concat();
    for (arch, theirs) in [("x86_64", "amd64"), ("aarch64", "arm64")] {
        let (spec, sha256) = Tool::Codex.archive(arch).unwrap();
        let platform = spec.rsplit("linux-").next().unwrap();
        let line = format!("{theirs}) platform=linux-{platform} sum={sha256} ;;");
        assert!(scripts.contains(&line), "no `{line}`");
        let name = spec.replace(&format!("linux-{platform}"), "$platform");
        assert!(
            scripts.contains(&format!("npm pack --loglevel=error \"{name}\"")),
            "{name}"
        );
    }
}

#[test]
fn copied_paths_exist_and_are_in_the_build_context() {
    let dockerfile = Dockerfile::read();
    let mut copied = 0;
    for (stage, _) in dockerfile.bases() {
        dockerfile.in_stage(&stage, |instruction| {
            let Instruction::Copy(copy) = instruction else {
                return;
            };
            if let Some(from) = copy.options.iter().find(|flag| flag.name.value == "from") {
                let from = from.value.as_ref().expect("--from has a value");
                assert!(dockerfile.has_stage(&from.value), "{stage}: {from:?}");
                return;
            }
            for source in &copy.src {
                let Source::Path(path) = source else {
                    panic!("{stage}: {source:?}");
                };
                let found = workspace::root().join(&*path.value).exists();
                assert!(
                    found && (path.value == "." || is_sent(&path.value)),
                    "{stage}: {path:?}"
                );
                copied += 1;
            }
        });
    }
    assert_eq!(copied, 5);
}

#[test]
fn runtime_stages_run_as_user_10001() {
    let dockerfile = Dockerfile::read();
    for stage in ["envoy", "sidecar", "model"] {
        let mut user = String::new();
        dockerfile.in_stage(stage, |instruction| match instruction {
            Instruction::User(to) => user = to.arguments.value.to_string(),
            Instruction::Run(_) | Instruction::Copy(_) => {
                assert_eq!(user, "", "{stage}: what the user may change");
            }
            _ => {}
        });
        assert_eq!(user, "10001:10001", "{stage}");
    }
}

#[test]
fn hadolint_reports_no_findings() {
    let hadolint = Tools::open()
        .executable(Tool::Hadolint)
        .expect("hadolint was fetched");
    let mut hadolint = std::process::Command::new(hadolint);
    let found = output(
        hadolint
            .args(["--no-color", "Dockerfile"])
            .current_dir(workspace::root()),
    );
    assert_eq!(found.expect("the Dockerfile is clean"), "");
}
