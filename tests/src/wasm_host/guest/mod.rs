//! The host's side of one VM: its store and its streams.

mod stream_view;
mod vm_state;

pub(super) use stream_view::{LocalReply, StreamView};
pub(super) use vm_state::{CallbackUsage, VmState};
pub use vm_state::{Calls, LogLine};
