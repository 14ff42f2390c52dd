//! The script, and the arguments of a call.

use redis::{Script, ScriptInvocation};

use crate::store::ledger::budget::{Budget, Tokens};
use crate::store::ledger::clock::Clock;
use crate::store::redis::LEASE;
#[cfg(test)]
use crate::turn::Period;
use crate::turn::{LimitName, Scope};

/// The script of the ledger.
#[derive(Debug)]
pub(super) struct LedgerScript(Script);

/// A call of the script.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) operation: &'static str,
    pub(super) client: &'a str,
    pub(super) owner: &'a str,
    /// 0 where the operation has none.
    pub(super) id: i64,
    pub(super) tokens: Tokens,
    pub(super) budget: &'a Budget,
}

impl LedgerScript {
    pub(super) fn new() -> Self {
        Self(Script::new(include_str!("ledger.lua")))
    }

    /// Returns the call with its arguments. A clock that a test sets takes the place of the server's.
    pub(super) fn invocation(&self, call: &Call<'_>, clock: &Clock) -> ScriptInvocation<'_> {
        let mut invocation = self.0.prepare_invoke();
        invocation
            .key(format!("codex-edge:ledger:{{{}}}", call.client))
            .arg(call.operation)
            .arg(
                clock
                    .set_ms()
                    .map(|now| now.to_string())
                    .unwrap_or_default(),
            )
            .arg(call.owner)
            .arg(LEASE.as_millis())
            .arg(call.id)
            .arg(call.tokens.input)
            .arg(call.tokens.output)
            .arg(limits(call.budget));
        invocation
    }

    /// Returns the call that computes the window of a period.
    #[cfg(test)]
    pub(super) fn window(&self, period: Period, now: u64) -> ScriptInvocation<'_> {
        let mut invocation = self.0.prepare_invoke();
        invocation
            .key("")
            .arg("window")
            .arg(now)
            .arg("")
            .arg(0)
            .arg(0);
        invocation.arg(period.number()).arg(0).arg("[]");
        invocation
    }
}

/// Returns the limits as the script reads them: period, scope and tokens of each.
fn limits(budget: &Budget) -> String {
    let limit = |(name, tokens): &(LimitName, u64)| {
        let scope = match name.scope {
            Scope::All => "a",
            Scope::Input => "i",
            Scope::Output => "o",
        };
        format!("[{},\"{scope}\",{tokens}]", name.period.number())
    };
    let limits: Vec<_> = budget.limits().iter().map(limit).collect();
    format!("[{}]", limits.join(","))
}
