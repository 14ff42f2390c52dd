//! Keys with a budget: the time in which a stream ends after it has crossed the budget, and the processor time of a delta.

mod cost;
mod crossing;
mod suite;

pub(super) use suite::run;
