//! Instruction counts of the hot paths of the filter and the sidecar, taken by callgrind through gungraun.
//!
//! `cargo xtask counts` runs the benchmarks and compares their counts with the baseline of the processor architecture,
//! `x86_64.txt` in this folder. `README.md` in this folder explains under which conditions two counts are comparable.

#![expect(
    clippy::disallowed_methods,
    reason = "gungraun's `main!` exits with the status of its runner"
)]

mod chat_bodies;
mod child_lines;
mod filter_policy;
mod requests;
mod response_streams;
mod work;

use gungraun::{Callgrind, LibraryBenchmarkConfig, main};

use child_lines::reading;
use filter_policy::policy;
use requests::parsing;
use response_streams::writing;

main!(
    // The comparison needs instructions only, and callgrind is slower with simulated caches.
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [policy, parsing, writing, reading]
);
