//! Token budgets of keys: the turn that crosses one is ended, later ones are rejected, and neither SIGKILL nor a full disk
//! gives tokens away.

mod fixture;
mod state;
mod turns;
