//! The Dockerfile: base images, copied files and versions, which are those that the tests run with.
//! Follows the Dockerfile reference, through the crate `parse-dockerfile`.

use std::fs;

use parse_dockerfile::{Command, Instruction, Source};
use xtask::command::output;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

use crate::image::is_in_context;

/// The text of the Dockerfile. Each method parses it anew, since the parsed form borrows from the text.
pub(crate) struct Dockerfile(String);

impl Dockerfile {
    pub(crate) fn read() -> Self {
        let path = workspace::root().join("Dockerfile");
        Self(fs::read_to_string(path).expect("the Dockerfile is in the tree"))
    }

    /// Calls `look` with each instruction of the stage `name`.
    pub(crate) fn in_stage(&self, name: &str, mut look: impl FnMut(&Instruction<'_>)) {
        let parsed = parse_dockerfile::parse(&self.0).expect("the Dockerfile is valid");
        let stage = parsed
            .stage(name)
            .unwrap_or_else(|| panic!("missing stage {name}"));
        stage.instructions.iter().for_each(&mut look);
    }

    pub(crate) fn has_stage(&self, name: &str) -> bool {
        let parsed = parse_dockerfile::parse(&self.0).expect("the Dockerfile is valid");
        parsed.stage(name).is_some()
    }

    /// Returns the shell script of each `RUN` instruction of a stage.
    pub(crate) fn scripts(&self, stage: &str) -> Vec<String> {
        let mut scripts = Vec::new();
        self.in_stage(stage, |instruction| {
            if let Instruction::Run(run) = instruction {
                let Command::Shell(script) = &run.arguments else {
                    panic!("{run:?} is not in shell form");
                };
                scripts.push(script.value.to_owned());
            }
        });
        scripts
    }

    /// Returns the command of a container of a stage: the entry point and the default arguments.
    pub(crate) fn command(&self, stage: &str) -> Vec<String> {
        let mut words = Vec::new();
        self.in_stage(stage, |instruction| {
            let command = match instruction {
                Instruction::Entrypoint(entrypoint) => &entrypoint.arguments,
                Instruction::Cmd(cmd) => &cmd.arguments,
                _ => return,
            };
            let Command::Exec(command) = command else {
                panic!("{command:?} is not in exec form");
            };
            words.extend(command.value.iter().map(|word| word.value.to_string()));
        });
        words
    }

    /// Returns the build arguments before the first stage, which are the base images, with their defaults.
    pub(crate) fn base_images(&self) -> Vec<(String, String)> {
        let parsed = parse_dockerfile::parse(&self.0).expect("the Dockerfile is valid");
        let mut images = Vec::new();
        for arg in parsed.global_args() {
            let (name, image) = arg.arguments.value.split_once('=').expect("a default");
            images.push((name.to_owned(), image.to_owned()));
        }
        images
    }

    /// Returns the name and the base image of each stage, a build argument as its default.
    fn bases(&self) -> Vec<(String, String)> {
        let parsed = parse_dockerfile::parse(&self.0).expect("the Dockerfile is valid");
        let images = self.base_images();
        parsed
            .stages()
            .map(|stage| {
                let (_, name) = stage.from.as_.as_ref().expect("every stage has a name");
                let base = stage.from.image.value.to_string();
                let argument = base
                    .strip_prefix("${")
                    .and_then(|base| base.strip_suffix('}'));
                let image = argument.and_then(|argument| {
                    let mut images = images.iter();
                    images.find_map(|(name, image)| (name == argument).then(|| image.clone()))
                });
                (name.value.to_string(), image.unwrap_or(base))
            })
            .collect()
    }
}

/// Whether an image reference has a digest.
pub(crate) fn has_digest(image: &str) -> bool {
    image.split_once("@sha256:").is_some_and(|(_, digest)| {
        digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit())
    })
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
            "the base of {stage} is {base}"
        );
    }
}

#[test]
fn build_image_matches_the_rust_toolchain_file() {
    let toolchain = fs::read_to_string(workspace::root().join("rust-toolchain.toml")).unwrap();
    let (_, rest) = toolchain.split_once("channel = \"").unwrap();
    let (channel, _) = rest.split_once('"').unwrap();
    let bases = Dockerfile::read().bases();
    let (_, image) = bases.iter().find(|(stage, _)| stage == "build").unwrap();
    assert!(image.starts_with(&format!("rust:{channel}-")), "{image}");
}

#[test]
fn codex_archive_matches_the_tests_on_both_architectures() {
    let scripts = Dockerfile::read().scripts("codex").concat();
    for (arch, docker_arch) in [("x86_64", "amd64"), ("aarch64", "arm64")] {
        let (spec, sha256) = Tool::Codex.archive(arch).unwrap();
        let platform = spec.rsplit("linux-").next().unwrap();
        let line = format!("{docker_arch}) platform=linux-{platform} sum={sha256} ;;");
        assert!(scripts.contains(&line), "missing `{line}`");
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
            if let Some(flag) = copy.options.iter().find(|flag| flag.name.value == "from") {
                let from = flag.value.as_ref().expect("--from has a value");
                assert!(dockerfile.has_stage(&from.value), "{stage}: {from:?}");
                return;
            }
            for source in &copy.src {
                let Source::Path(path) = source else {
                    panic!("{stage}: {source:?}");
                };
                let exists = workspace::root().join(&*path.value).exists();
                assert!(
                    exists && (path.value == "." || is_in_context(&path.value)),
                    "{stage}: {path:?}"
                );
                copied += 1;
            }
        });
    }
    assert_eq!(copied, 8);
}

#[test]
fn runtime_stages_run_as_user_10001() {
    let dockerfile = Dockerfile::read();
    for stage in ["envoy", "sidecar", "model"] {
        let mut user = String::new();
        dockerfile.in_stage(stage, |instruction| match instruction {
            Instruction::User(to) => user = to.arguments.value.to_string(),
            Instruction::Run(_) | Instruction::Copy(_) => {
                // Files that are created after `USER` would be writable by that user.
                assert_eq!(user, "", "{stage}");
            }
            _ => {}
        });
        assert_eq!(user, "10001:10001", "{stage}");
    }
}

#[test]
fn hadolint_reports_no_findings() {
    let program = Tools::open()
        .executable(Tool::Hadolint)
        .expect("hadolint was fetched: `cargo xtask fetch`");
    let mut hadolint = std::process::Command::new(program);
    let findings = output(
        hadolint
            .args(["--no-color", "Dockerfile"])
            .current_dir(workspace::root()),
    );
    assert_eq!(findings.expect("the Dockerfile has no findings"), "");
}
