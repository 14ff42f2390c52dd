//! Selection of the protocol by Codex's version.
//! Tried: 0.36 and 0.42 speak `proto`; 0.44 has neither `proto` nor app-server protocol v2; 0.169 and 0.171 have the
//! latter. The tests run 0.42, 0.169 and 0.171.

use std::path::Path;

use super::error::LaunchError;
use crate::config::ProtocolChoice;

/// The last release that speaks `proto`.
const LAST_PROTO: (u64, u64) = (0, 42);

/// The first release with an app-server that is known to speak protocol v2 as the sidecar does.
const FIRST_APP_SERVER: (u64, u64) = (0, 169);

/// The first release that can cap the tokens of a thread without a message about it to the model.
const FIRST_SILENT_CAP: (u64, u64) = (0, 171);

/// The newest release that the tests run, which `xtask/src/tools/pins.rs` pins. A newer one must pass the self-test.
pub(super) const NEWEST_TESTED: (u64, u64, u64) = (0, 171, 0);

/// The protocol of a Codex child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `codex app-server`: one child serves many turns.
    AppServer,
    /// `codex proto`: one child serves one turn.
    Proto,
}

impl Protocol {
    /// Returns the name of Codex's subcommand.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AppServer => "app-server",
            Self::Proto => "proto",
        }
    }
}

/// The version of the binary, and the protocol that its children speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SelectedVersion {
    /// Such as `0.171.0`.
    pub(super) text: String,
    pub(super) protocol: Protocol,
    /// `false` for an app-server that is newer than the newest tested release, or older than the first supported one.
    pub(super) is_tested: bool,
    /// Whether a thread can have a cap on its tokens.
    pub(super) caps_tokens: bool,
}

/// A version that `codex --version` printed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    text: String,
    number: (u64, u64),
    patch: u64,
}

impl Version {
    /// Parses a line such as `codex-cli 0.171.0`.
    fn parse(line: &str) -> Option<Self> {
        let text = line.strip_prefix("codex-cli ")?.trim();
        // A pre-release such as `0.172.0-alpha.4` counts as its release.
        let (release, _) = text.split_once('-').unwrap_or((text, ""));
        let mut numbers = release.split('.').map(str::parse::<u64>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        Some(Self {
            text: text.to_owned(),
            number: (major, minor),
            patch: numbers.next().and_then(Result::ok).unwrap_or(0),
        })
    }

    /// Whether children with `protocol` need no self-test. Releases that are older than those under test and speak
    /// `proto` need none, since `proto` does not change any more.
    fn is_tested(&self, protocol: Protocol) -> bool {
        let (major, minor) = self.number;
        match protocol {
            Protocol::Proto => true,
            Protocol::AppServer => {
                self.number >= FIRST_APP_SERVER && (major, minor, self.patch) <= NEWEST_TESTED
            }
        }
    }

    /// Returns the protocol for this version. The operator's choice wins unless it is known not to work; the handshake
    /// then shows whether it does.
    fn protocol(&self, choice: ProtocolChoice) -> Option<Protocol> {
        let has_proto = self.number <= LAST_PROTO;
        let has_app_server = self.number >= FIRST_APP_SERVER;
        match choice {
            ProtocolChoice::Auto if has_proto => Some(Protocol::Proto),
            ProtocolChoice::Auto => has_app_server.then_some(Protocol::AppServer),
            ProtocolChoice::Proto => has_proto.then_some(Protocol::Proto),
            // Includes the untested releases between `proto` and app-server protocol v2.
            ProtocolChoice::AppServer => (!has_proto).then_some(Protocol::AppServer),
        }
    }
}

/// Returns the version and the protocol, from the first line of `codex --version`.
///
/// # Errors
/// The program is not Codex, or this version of Codex does not speak the chosen protocol.
pub(super) fn select_protocol(
    choice: ProtocolChoice,
    path: &Path,
    line: &str,
) -> Result<SelectedVersion, LaunchError> {
    Version::parse(line)
        .and_then(|version| {
            let protocol = version.protocol(choice)?;
            Some(SelectedVersion {
                is_tested: version.is_tested(protocol),
                caps_tokens: version.number >= FIRST_SILENT_CAP && version.is_tested(protocol),
                text: version.text,
                protocol,
            })
        })
        .ok_or_else(|| LaunchError::Version {
            path: path.to_owned(),
            found: line.to_owned(),
            needed: supported_versions(choice),
        })
}

fn supported_versions(choice: ProtocolChoice) -> String {
    let proto = format!("{}.{} or older", LAST_PROTO.0, LAST_PROTO.1);
    let app_server = format!("{}.{} or newer", FIRST_APP_SERVER.0, FIRST_APP_SERVER.1);
    match choice {
        ProtocolChoice::Auto => format!("codex-cli {app_server}, or {proto},"),
        ProtocolChoice::Proto => format!("codex-cli {proto} for CODEX_PROTOCOL=proto"),
        ProtocolChoice::AppServer => {
            format!("codex-cli {app_server} for CODEX_PROTOCOL=app-server")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_follows_the_version_unless_the_operator_chooses() {
        use Protocol::{AppServer, Proto};
        use ProtocolChoice as Choice;
        for (line, choice, expected) in [
            ("codex-cli 0.36.0", Choice::Auto, Some(("0.36.0", Proto))),
            ("codex-cli 0.42.0", Choice::Auto, Some(("0.42.0", Proto))),
            ("codex-cli 0.43.0", Choice::Auto, None),
            ("codex-cli 0.168.9", Choice::Auto, None),
            (
                "codex-cli 0.169.0",
                Choice::Auto,
                Some(("0.169.0", AppServer)),
            ),
            (
                "codex-cli 1.2.3-alpha.4",
                Choice::Auto,
                Some(("1.2.3-alpha.4", AppServer)),
            ),
            (
                "codex-cli 0.100.0",
                Choice::AppServer,
                Some(("0.100.0", AppServer)),
            ),
            ("codex-cli 0.42.0", Choice::AppServer, None),
            ("codex-cli 0.42.1", Choice::Proto, Some(("0.42.1", Proto))),
            ("codex-cli 0.169.0", Choice::Proto, None),
            ("codex-cli", Choice::Auto, None),
            ("node v20", Choice::Proto, None),
            ("", Choice::Auto, None),
        ] {
            let selected = select_protocol(choice, Path::new("codex"), line).ok();
            let found = selected
                .as_ref()
                .map(|selected| (selected.text.as_str(), selected.protocol));
            assert_eq!(found, expected, "{line} {choice:?}");
        }
    }

    #[test]
    fn app_server_outside_the_tested_releases_needs_a_self_test() {
        for (line, is_tested) in [
            ("codex-cli 0.42.0", true),
            ("codex-cli 0.36.0", true),
            ("codex-cli 0.169.0", true),
            ("codex-cli 0.171.0", true),
            ("codex-cli 0.171.1", false),
            ("codex-cli 0.172.0-alpha.4", false),
            ("codex-cli 1.0.0", false),
        ] {
            let selected = select_protocol(ProtocolChoice::Auto, Path::new("codex"), line).unwrap();
            assert_eq!(selected.is_tested, is_tested, "{line}");
        }
        let chosen = ProtocolChoice::AppServer;
        let old = select_protocol(chosen, Path::new("codex"), "codex-cli 0.168.0").unwrap();
        assert!(!old.is_tested);
    }

    #[test]
    fn unsupported_version_is_reported_with_the_supported_ones() {
        let found = "codex-cli 0.44.0";
        let error = select_protocol(ProtocolChoice::Auto, Path::new("/bin/codex"), found)
            .unwrap_err()
            .to_string();
        for part in ["/bin/codex", "0.44.0", "0.169", "0.42"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
