//! Random faults under load: clients send requests through the whole chain while sidecar, workers and clients are killed.
//! The invariants are the contract's section 7: every turn ends in a complete response or an error, and no process, file
//! or permit leaks.
//!
//! The seed decides the faults, their order and the pauses between them, and the clients' requests and reading speed; the
//! state in which a fault meets a request depends on the machine.

pub(crate) mod chain;
mod client_request;
mod injector;
pub(crate) mod invariants;
mod load;
pub(crate) mod outcome;
pub(crate) mod parsed_response;
mod plan;
mod report;
mod run;

pub use report::Report;
pub use run::run;
