//! The benchmarks as a program: `cargo xtask bench` starts it.
//! What is measured is described in the docs of the library.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bench::report::{Section, markdown, write_into};
use bench::{Settings, Suite};
use clap::{Parser, ValueEnum};

/// Measures the chain and its parts, side by side with what they are compared with.
#[derive(Debug, Parser)]
struct Flags {
    /// Suites to run; all by default.
    #[arg(long)]
    only: Vec<Suite>,
    /// A smoke run: the numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// Rounds of which medians are taken.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Whether Envoy's instructions are counted too; needs valgrind.
    #[arg(long)]
    instructions: bool,
    /// The Python whose environment has the peers of `bench/peers/requirements.txt`; without it they are left out.
    #[arg(long, value_name = "PROGRAM")]
    peers: Option<PathBuf>,
    /// A release build of the sidecar.
    #[arg(long, value_name = "PROGRAM")]
    sidecar: Option<PathBuf>,
    /// Where tables, numbers and plots are written.
    #[arg(long, value_name = "FOLDER", default_value = "bench-results")]
    out: PathBuf,
    /// Whether docs/performance.md and its plots are brought up to date too.
    #[arg(long)]
    docs: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let program = std::env::current_exe()?;
    let settings = Settings {
        quick: flags.quick,
        rounds: flags.rounds,
        instructions: flags.instructions,
        sidecar: flags.sidecar.clone(),
        instant_codex: program.with_file_name("instant-codex"),
        peers: flags.peers.clone(),
    };
    let suites = match flags.only.as_slice() {
        [] => Suite::value_variants(),
        only => only,
    };
    for &suite in suites {
        let section = bench::run(suite, &settings).await?;
        writeln!(io::stdout(), "{}", markdown(&section, "."))?;
        write(&section, &flags.out)?;
        if flags.docs {
            document(&section)?;
        }
    }
    Ok(())
}

/// A file of each kind for the section.
fn write(section: &Section, out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out)?;
    let file = |ending: &str| out.join(section.name).with_extension(ending);
    fs::write(file("md"), markdown(section, "."))?;
    fs::write(file("json"), serde_json::to_string_pretty(section)?)?;
    plot(section, out)
}

fn plot(section: &Section, out: &Path) -> anyhow::Result<()> {
    for figure in &section.figures {
        fs::write(out.join(figure.file).with_extension("svg"), figure.svg()?)?;
    }
    Ok(())
}

/// Puts the section into the page that is published.
fn document(section: &Section) -> anyhow::Result<()> {
    let docs = xtask::workspace::root().join("docs");
    let file = docs.join("performance.md");
    let page = fs::read_to_string(&file).context("docs/performance.md")?;
    fs::write(file, write_into(&page, section, "plots")?)?;
    let plots = docs.join("plots");
    fs::create_dir_all(&plots)?;
    plot(section, &plots)
}
