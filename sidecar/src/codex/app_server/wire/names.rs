//! Mapping of the names of a client's tools to names that Codex accepts.
//! Codex 0.169 reserves two names for its own shell, and silently drops a client's tool with such a name, even where
//! that shell is turned off. Of 273 offered names, these two did not reach the model. Agents that are clients of the
//! sidecar have tools with exactly these names.

use std::borrow::Cow;

const RESERVED: [&str; 2] = ["exec_command", "shell_command"];

/// Returns the name under which the model knows a tool. A reserved name gets an underscore at its end, and so does
/// every name that would then be ambiguous.
pub(crate) fn to_codex(name: &str) -> Cow<'_, str> {
    if RESERVED.contains(&name.trim_end_matches('_')) {
        format!("{name}_").into()
    } else {
        name.into()
    }
}

/// Returns the client's name of a tool that the model called.
pub(crate) fn from_codex(mut name: String) -> String {
    if name.ends_with('_') && RESERVED.contains(&name.trim_end_matches('_')) {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_avoid_reserved_names() {
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
    fn reserved_name_called_by_the_model_means_the_clients_tool() {
        assert_eq!(from_codex("exec_command".to_owned()), "exec_command");
    }
}
