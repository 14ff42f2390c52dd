//! Mapping of the names of a client's tools to names that Codex accepts.
//!
//! Codex 0.169.0 and 0.171.0 keep names for tools of their own. `thread/start` rejects `mcp` and every name that begins
//! with `mcp__`; `exec_command` and `shell_command` are dropped without an error, even where Codex's shell is turned off;
//! and of namespaces, those of MCP servers and a list of OpenAI's are rejected. A later Codex may keep more. The rule here
//! is therefore wider than what these versions keep: a name of the family of MCP servers gets a prefix, a name of the family
//! of shells an underscore at its end, and a namespace always gets the prefix. No tool of Codex has a name of these forms.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::turn::{ToolCall, ToolNamespace};

/// Prefix of the names that are mapped.
const PREFIX: &str = "client_";

/// Characters of a name; the limit of the provider.
const MAX_NAME_CHARS: usize = 64;

/// Bytes of a name's hash that stand in for the end of a name that is too long with the prefix.
const HASH_BYTES: usize = 8;

/// The namespace of functions without a namespace, in OpenAI's format for models. Codex sends the tools of a model with
/// `use_responses_lite` in it, and the provider may add it to a call.
const TOP_LEVEL: &str = "functions";

/// Returns the name under which the model knows a tool.
pub(crate) fn to_codex(name: &str) -> Cow<'_, str> {
    if is_of_mcp(name) {
        prefixed(name).into()
    } else if !is_of_shell(name) {
        name.into()
    } else if name.len() < MAX_NAME_CHARS {
        format!("{name}_").into()
    } else {
        shortened(name).into()
    }
}

/// Returns the namespace under which the model knows a client's namespace; `None` at the top level.
pub(crate) fn namespace_to_codex(namespace: Option<&str>) -> Option<String> {
    namespace.filter(|name| *name != TOP_LEVEL).map(prefixed)
}

/// Whether the model's `call` names the tool `name` in `namespace`.
pub(crate) fn is_call_of(call: &ToolCall, name: &str, namespace: Option<&ToolNamespace>) -> bool {
    let called = call.namespace.as_deref().filter(|name| *name != TOP_LEVEL);
    let namespace = namespace.map(|namespace| namespace.name.as_str());
    // The name first: it differs for most tools, and comparing it copies nothing.
    to_codex(name) == call.name && namespace_to_codex(namespace).as_deref() == called
}

/// Restores the client's names in a call of a tool that was not offered, as the model may call one of an earlier request.
pub(crate) fn restore(call: &mut ToolCall) {
    call.name = from_codex(std::mem::take(&mut call.name));
    let namespace = call.namespace.take().filter(|name| name != TOP_LEVEL);
    call.namespace = namespace.map(|name| match name.strip_prefix(PREFIX) {
        Some(client) => client.to_owned(),
        None => name,
    });
}

fn from_codex(mut name: String) -> String {
    if name.starts_with(PREFIX) && is_of_mcp(&name) {
        name.drain(..PREFIX.len());
    } else if name.ends_with('_') && is_of_shell(&name) {
        name.pop();
    }
    name
}

/// Whether a name without its prefixes is one of an MCP server. A client's own name may have the prefix.
fn is_of_mcp(name: &str) -> bool {
    let name = unprefixed(name);
    let start = name.get(..3);
    start.is_some_and(|start| start.eq_ignore_ascii_case("mcp"))
}

/// Whether a name is one of a program that runs commands.
fn is_of_shell(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(['_', '-']);
    words.any(|word| word.starts_with("command") || word == "shell")
}

/// Returns a name without the prefix. A client's own name may begin with it, even several times.
fn unprefixed(mut name: &str) -> &str {
    while let Some(rest) = name.strip_prefix(PREFIX) {
        name = rest;
    }
    name
}

/// Returns a name with the prefix. A shortened name has the full length, which no other name with the prefix has.
fn prefixed(name: &str) -> String {
    if PREFIX.len() + name.len() < MAX_NAME_CHARS {
        format!("{PREFIX}{name}")
    } else {
        shortened(name)
    }
}

/// Returns the beginning of a name that is too long to be mapped, with the prefix and a hash of the whole name.
fn shortened(name: &str) -> String {
    let kept = MAX_NAME_CHARS - PREFIX.len() - "_".len() - 2 * HASH_BYTES;
    // A model may have made up a name with other characters than a client's.
    let kept = name.floor_char_boundary(kept);
    let mut short = format!("{PREFIX}{}_", &name[..kept]);
    for byte in Sha256::digest(name).iter().take(HASH_BYTES) {
        let _ = write!(short, "{byte:02x}"); // Writing to a `String` cannot fail.
    }
    short
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::turn::ToolKind;

    fn call(name: &str, namespace: Option<&str>) -> ToolCall {
        ToolCall {
            call_id: "c".to_owned(),
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            kind: ToolKind::Function,
            arguments: String::new(),
        }
    }

    /// Names of every length with every beginning that the rule looks at, alone, prefixed, and in a sentence.
    fn names() -> HashSet<String> {
        let families = [
            "look",
            "mcp",
            "MCP",
            "mcp__x__y",
            "exec_command",
            "shell_command",
            "shell",
            "Command",
            "commander",
            "exec",
        ];
        let mut names = HashSet::new();
        for family in families {
            for before in ["", "client_", "client_client_", "x_", "-"] {
                for after in ["", "_", "__y", "-z", "x"] {
                    let name = format!("{before}{family}{after}");
                    names.extend((name.len()..=64).map(|length| format!("{name:a<length$}")));
                    names.insert(name);
                }
            }
        }
        names
    }

    #[test]
    fn names_round_trip_avoid_what_codex_keeps_and_stay_apart() {
        let names = names();
        let mut sent = HashSet::new();
        for name in &names {
            let mapped = to_codex(name).into_owned();
            assert!(mapped.len() <= MAX_NAME_CHARS, "{mapped}");
            let lower = mapped.to_ascii_lowercase();
            let kept = ["mcp", "exec_command", "shell_command"];
            assert!(!kept.contains(&lower.as_str()), "{mapped}");
            assert!(!lower.starts_with("mcp__"), "{mapped}");
            assert!(is_call_of(&call(&mapped, None), name, None), "{name}");
            if mapped.len() < MAX_NAME_CHARS {
                assert_eq!(from_codex(mapped.clone()), *name);
            }
            assert!(sent.insert(mapped), "{name} meets another name");
        }
        assert_eq!(sent.len(), names.len());
    }

    #[test]
    fn ordinary_names_reach_the_model_unchanged() {
        for name in [
            "look",
            "client_look",
            "exec",
            "bash",
            "apply_patch",
            "xmcp",
            "seashell",
            "x".repeat(64).as_str(),
        ] {
            assert_eq!(to_codex(name), name);
            assert_eq!(from_codex(name.to_owned()), name);
        }
    }

    #[test]
    fn namespaces_are_mapped_except_the_top_level() {
        let namespace = |name: &str| ToolNamespace {
            name: name.to_owned(),
            description: String::new(),
        };
        assert_eq!(
            namespace_to_codex(Some("mcp__srv")).as_deref(),
            Some("client_mcp__srv")
        );
        assert_eq!(namespace_to_codex(Some("functions")), None);
        let mapped = call("look", Some("client_mcp__srv"));
        assert!(is_call_of(&mapped, "look", Some(&namespace("mcp__srv"))));
        assert!(!is_call_of(&mapped, "look", None));
        for top_level in [None, Some("functions")] {
            let called = call("look", top_level);
            assert!(is_call_of(&called, "look", None));
            assert!(is_call_of(&called, "look", Some(&namespace("functions"))));
        }
    }

    #[test]
    fn reserved_name_called_by_the_model_means_the_clients_tool() {
        assert_eq!(from_codex("exec_command".to_owned()), "exec_command");
    }
}
