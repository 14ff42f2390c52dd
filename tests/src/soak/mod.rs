//! Mixed traffic with faults for a configurable time, and a check of every request, record and counter afterwards.
//! The invariants are the contract's sections 7 and 8; `crate::chaos` has the chain and the checks for leaks.
//!
//! During the first third of the time the sidecar is replaced repeatedly. Then the clients pause until the chain is idle;
//! from there on the last sidecar and its oldest worker run until the end, so that a leak has time to show and counters
//! can be compared with the clients' own log. The seed decides the clients' requests and the faults; the state in which
//! a fault meets a request depends on the machine.

mod client;
mod codex_home;
mod idle;
mod injector;
mod keys;
mod memory;
mod records;
mod request_log;
mod run;
mod samples;
mod workload;

pub use run::run;
