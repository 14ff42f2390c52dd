//! Start, restart and drain of the whole chain.

mod chain;
mod drain;
mod restart;
mod up;
