//! A child process: how it is started and ended, and what passes through its pipes. Knows lines but no JSON.
//! Signals, process groups and pipes are POSIX's; the parent-death signal is Linux's prctl(2).

mod child;
pub mod orphans;
mod owner;
mod pipes;
mod registry;

pub use child::{Child, Program, keep_descriptors_to_ourselves};
pub use owner::LockOwner;
pub use pipes::{Lines, Pipes, Stderr, Stdin};
pub use registry::{ChildRegistry, Registration, RunningChild, open_descriptors, rss_bytes};
