//! Child processes: start, stop and reap; pipes as lines of text. This module knows lines but no JSON.
//! Signals, process groups and pipes are POSIX's; the parent-death signal is Linux's prctl(2).

mod agent_processes;
mod child;
mod child_end;
mod folder;
pub mod orphans;
mod owner;
mod pipes;
mod process_table;
mod registry;

pub use agent_processes::{AgentProcessLimits, AgentProcesses, ExceededLimit, TURN_ENV};
pub use child::{ChildProcess, ProcessLimits, Program, set_cloexec_on_inherited_descriptors};
pub use child_end::ChildEnd;
pub use folder::{OwnedFolder, folder_bytes, remove_folder};
pub use owner::{LockOwner, is_owner_running};
pub use pipes::{Lines, Pipes, Stderr, Stdin};
pub use registry::{ChildRegistry, Registration, RunningChild, open_descriptors, rss_bytes};
