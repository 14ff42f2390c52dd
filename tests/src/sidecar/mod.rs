//! The real sidecar with a real Codex that talks to the scripted model, started and stopped for a test.
//! Follows the sidecar's `--help`; the only thing made up is the model provider in Codex's `config.toml`.

mod process;

pub use process::{
    Options, Predecessor, Sidecar, children_of, runs, sidecar_binary, wait_until_gone,
};
