//! One key that leans on the service, and another client's small chats beside it.
//!
//! Idle and attack alternate in one run, so that both meet the same machine. Memory is sampled during the attack, and
//! once more 30 s after it.

mod attack;
mod memory;
mod run;

pub(super) use run::run;
