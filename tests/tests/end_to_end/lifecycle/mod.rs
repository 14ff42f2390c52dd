//! Start, restart, drain and failure of the parts of the chain.

mod chain;
mod drain;
mod restart;
mod up;
