//! Mixed traffic with faults for as long as one likes, and an account of everything afterwards.
//! The promises are the contract's sections 7 and 8; `crate::chaos` has the chain and the count of what is left behind.
//!
//! In the first third of the time sidecars are replaced too. Then all is quiet for a moment, and the last sidecar and
//! its oldest worker are spared until the end, so that a leak has time to show and counters can be held against what
//! clients saw. The seed decides what clients ask and which faults they meet; what that meets is up to the machine.

mod client;
mod faults;
mod footprint;
mod home;
mod keys;
mod ledger;
mod records;
mod run;
mod samples;
mod settled;
mod talk;

pub use run::run;
