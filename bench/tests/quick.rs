//! A smoke test of the harness: a quick run of every suite that needs only the pinned tools.
//!
//! The numbers are meaningless. The suites themselves check that every response is the expected one.

use std::path::PathBuf;

use bench::report::{Cell, markdown};
use bench::{Settings, Suite};

#[tokio::test(flavor = "multi_thread")]
async fn quick_runs_fill_the_tables_and_figures_of_every_suite() {
    let settings = Settings {
        quick: true,
        rounds: 1,
        instructions: false,
        sidecar: None,
        instant_codex: PathBuf::from(env!("CARGO_BIN_EXE_instant-codex")),
        peers: None,
    };
    for suite in [
        Suite::Envoy,
        Suite::Sidecar,
        Suite::Tracing,
        Suite::Codex,
        Suite::Chain,
        Suite::Conversations,
        Suite::Overload,
        Suite::Abuse,
        Suite::Budgets,
        Suite::Peers,
    ] {
        let section = bench::run(suite, &settings).await.unwrap();
        assert!(!section.tables.is_empty(), "{suite:?}");
        for table in &section.tables {
            assert!(!table.rows.is_empty(), "{}", table.title);
            for row in &table.rows {
                // A row can be the difference of two measurements, which noise makes negative.
                let first = row.cells.first();
                let measured = matches!(first, Some(Cell::Number(number)) if number.is_finite());
                assert!(measured, "{}: {row:?}", table.title);
            }
        }
        for figure in &section.figures {
            let svg = figure.svg().unwrap();
            assert!(
                svg.contains("<rect") || svg.contains("<polyline"),
                "{}",
                figure.file
            );
        }
        println!("{}", markdown(&section, "."));
    }
}
