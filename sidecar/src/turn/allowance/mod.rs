//! The limits of a key's budget, and the output that they allow a turn.

mod limit;
mod output_allowance;

pub use limit::{LimitName, Period, Scope, SpentLimit};
pub use output_allowance::{AllowanceEnd, Grant, OutputAllowance, OutputBudget};
