//! Warm threads: threads of app-server children that stay loaded after their turn, for the next request of the same
//! conversation. The provider keeps its prompt cache by the thread's id, so that such a request pays for its new items only.

mod child;
mod counts;
#[cfg(test)]
mod tests;
mod threads;

pub(super) use child::{ContinuingTurns, WarmChild};
pub use counts::WarmStatus;
pub(super) use threads::WarmThreads;
