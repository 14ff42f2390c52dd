//! The Python wheel: the bundle, and a module that starts `codex-edge` with the Envoy of another package.
//! PyPA binary distribution format 1.0, core metadata 2.4, PEP 600 (platform tags), PEP 770 (SBOMs). maturin builds one
//! Rust program into a wheel; this one has three, a WebAssembly module and configurations.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::Path;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use codex_edge::installed::{ENVOY_PACKAGE, ENVOY_VERSION};
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::bundle::Bundle;
use super::file::{VERSION, read, write as write_file};
use crate::workspace;

/// The Python files, below `launcher/python`.
const MODULES: [&str; 2] = ["codex_edge/__init__.py", "codex_edge/_main.py"];

/// The files of a wheel, with the sums for its record.
struct WheelWriter {
    zip: ZipWriter<Cursor<Vec<u8>>>,
    record: String,
}

/// Writes the wheel into `out`.
pub(super) fn write(out: &Path, arch: &str, bundle: &Bundle) -> Result<()> {
    let mut wheel = WheelWriter {
        zip: ZipWriter::new(Cursor::default()),
        record: String::new(),
    };
    let python = workspace::root().join("launcher/python");
    for module in MODULES {
        wheel.add(module, &read(&python.join(module))?, 0o644)?;
    }
    for file in &bundle.files {
        let name = format!("codex_edge/_bin/{}", file.name);
        wheel.add(&name, &file.content, file.mode)?;
    }
    let info = format!("codex_edge-{VERSION}.dist-info");
    let description = String::from_utf8(read(&python.join("README.md"))?)?;
    let metadata = metadata(&description);
    let entry_points = "[console_scripts]\ncodex-edge = codex_edge._main:main\n";
    for (name, content) in [
        ("METADATA", metadata.as_bytes()),
        ("WHEEL", wheel_file(arch).as_bytes()),
        ("entry_points.txt", entry_points.as_bytes()),
        ("licenses/LICENSE", &bundle.license),
        ("sboms/codex-edge.cdx.json", &bundle.bill),
    ] {
        wheel.add(&format!("{info}/{name}"), content, 0o644)?;
    }
    let content = wheel.finish(&format!("{info}/RECORD"))?;
    let tags = platforms(arch).join(".");
    let name = format!("codex_edge-{VERSION}-py3-none-{tags}.whl");
    write_file(&out.join(name), &content)
}

impl WheelWriter {
    fn add(&mut self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(mode);
        self.zip.start_file(name, options)?;
        self.zip.write_all(content)?;
        let sum = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
        writeln!(self.record, "{name},sha256={sum},{}", content.len())?;
        Ok(())
    }

    /// Adds the record, which has no sum of itself, and returns the wheel.
    fn finish(mut self, name: &str) -> Result<Vec<u8>> {
        let record = format!("{}{name},,\n", self.record);
        self.add(name, record.as_bytes(), 0o644)?;
        Ok(self.zip.finish()?.into_inner())
    }
}

/// The platforms. A static program has no requirement of its own; pip and uv accept the oldest glibc of each name.
fn platforms(arch: &str) -> [String; 2] {
    [
        format!("manylinux_2_17_{arch}"),
        format!("manylinux2014_{arch}"),
    ]
}

fn wheel_file(arch: &str) -> String {
    let mut text =
        format!("Wheel-Version: 1.0\nGenerator: codex-edge ({VERSION})\nRoot-Is-Purelib: false\n");
    for platform in platforms(arch) {
        text = text + "Tag: py3-none-" + &platform + "\n";
    }
    text
}

fn metadata(description: &str) -> String {
    // `~=` admits the fixes of Envoy's release series, whose configuration is the same.
    format!(
        "Metadata-Version: 2.4\nName: codex-edge\nVersion: {VERSION}\n\
         Summary: The Codex CLI as an OpenAI-compatible API behind Envoy\n\
         License-Expression: {license}\nLicense-File: LICENSE\n\
         Requires-Python: >=3.10\nRequires-Dist: {ENVOY_PACKAGE}~={ENVOY_VERSION}\n\
         Description-Content-Type: text/markdown\n\n{description}",
        license = env!("CARGO_PKG_LICENSE"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::Tool;

    #[test]
    fn wheel_requires_the_envoy_of_the_tests() {
        let tested = format!("{ENVOY_PACKAGE}=={ENVOY_VERSION}");
        for arch in ["x86_64", "aarch64"] {
            let (spec, _) = Tool::Envoy.archive(arch).expect("Envoy is pinned");
            assert_eq!(spec, tested);
        }
    }
}
