//! The workers of app-server children, in groups by profile.
//! An agent reads the whole of the operator's home, and a chat must not, so that no child serves both.

mod group;
mod worker;

pub(super) use group::{GroupStart, WorkerGroup, WorkerSettings};
