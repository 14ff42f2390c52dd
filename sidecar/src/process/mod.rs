//! A child process: how it is started and ended, and what passes through its pipes. Knows lines but no JSON.
//! Signals, process groups and pipes are POSIX's; the parent-death signal is Linux's prctl(2).

mod child;
mod holder;
mod pipes;
mod roster;

pub use child::{Child, Program, keep_descriptors_to_ourselves};
pub use holder::Holder;
pub use pipes::{Lines, Pipes, Stderr, Stdin};
pub use roster::{Entered, LivingChild, Roster, open_descriptors, rss_bytes};
