//! Command line of the benchmarks; `cargo xtask bench` builds the peers and starts this program.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bench::report::{Section, markdown, replace_section};
use bench::{Settings, Suite};
use clap::{Parser, ValueEnum};

/// Measure the chain and its parts, compared with alternatives
#[derive(Debug, Parser)]
struct Flags {
    /// Suites to run [default: all]
    #[arg(long)]
    only: Vec<Suite>,
    /// Smoke test with little load; the numbers are meaningless
    #[arg(long)]
    quick: bool,
    /// Number of rounds; tables have the medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Count Envoy's instructions too; needs Valgrind
    #[arg(long)]
    instructions: bool,
    /// Python interpreter with the packages of `bench/peers/requirements.txt`; without it, the peers are skipped
    #[arg(long, value_name = "PROGRAM")]
    peers: Option<PathBuf>,
    /// Release build of the sidecar
    #[arg(long, value_name = "PROGRAM")]
    sidecar: Option<PathBuf>,
    /// Directory for tables, numbers and plots
    #[arg(long, value_name = "DIR", default_value = "bench-results")]
    out: PathBuf,
    /// Update docs/performance.md and its plots
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
        // Written after each suite, so that a failure of a later suite does not lose the results.
        writeln!(io::stdout(), "{}", markdown(&section, "."))?;
        write(&section, &flags.out)?;
        if flags.docs {
            update_docs(&section)?;
        }
    }
    Ok(())
}

/// Writes the section as Markdown and JSON, and its figures as SVG.
fn write(section: &Section, out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out)?;
    let file = |extension: &str| out.join(section.name).with_extension(extension);
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

/// Replaces the section in the published page, and its plots.
fn update_docs(section: &Section) -> anyhow::Result<()> {
    let docs = xtask::workspace::root().join("docs");
    let file = docs.join("performance.md");
    let page = fs::read_to_string(&file).context("cannot read docs/performance.md")?;
    fs::write(file, replace_section(&page, section, "plots")?)?;
    let plots = docs.join("plots");
    fs::create_dir_all(&plots)?;
    plot(section, &plots)
}
