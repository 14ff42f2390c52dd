//! Random deaths under load: real clients through the whole chain, while sidecar, workers and clients are killed.
//! The promises that must hold are the contract's section 7: an honest end for every turn, and nothing left behind.
//!
//! The seed decides what is killed, in which order and after which pause, and what each client asks and how it reads;
//! what that meets is up to the machine.

pub(crate) mod aftermath;
pub(crate) mod answer;
pub(crate) mod chain;
mod load;
mod plan;
mod report;
mod run;
mod storm;
pub(crate) mod verdict;
mod visit;

pub use report::Report;
pub use run::run;
