//! The names of a client's tools as Codex takes them.
//! Codex 0.169 keeps two names for its own shell: it drops a client's tool of such a name without a word, even where
//! that shell is turned off; of 273 names that were offered, these two were missing at the model. Agents that are our
//! clients have tools of just these names.

use std::borrow::Cow;

const RESERVED: [&str; 2] = ["exec_command", "shell_command"];

/// The name that the model knows a tool by: a reserved one gets an underscore at its end, and so does whatever would
/// then be taken for it.
pub(super) fn to_codex(name: &str) -> Cow<'_, str> {
    if RESERVED.contains(&name.trim_end_matches('_')) {
        format!("{name}_").into()
    } else {
        name.into()
    }
}

/// The client's name of a tool that the model called.
pub(super) fn from_codex(mut name: String) -> String {
    if name.ends_with('_') && RESERVED.contains(&name.trim_end_matches('_')) {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_and_none_is_reserved_on_the_way() {
        for name in [
            "look",
            "look_",
            "exec_command",
            "exec_command_",
            "exec_command__",
            "shell_command",
            "exec_commands",
        ] {
            let sent = to_codex(name);
            assert!(!RESERVED.contains(&sent.as_ref()), "{sent}");
            assert_eq!(from_codex(sent.into_owned()), name);
        }
    }

    #[test]
    fn a_model_that_calls_a_reserved_name_by_habit_means_the_clients_tool() {
        assert_eq!(from_codex("exec_command".to_owned()), "exec_command");
    }
}
