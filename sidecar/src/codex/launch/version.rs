//! Selection of the protocol by Codex's version.
//! Tested: 0.36 and 0.42 speak `proto`; 0.44 has neither `proto` nor app-server protocol v2; 0.169 has the latter.

use std::path::Path;

use super::error::LaunchError;
use crate::config::ProtocolChoice;

/// The last release that speaks `proto`.
const LAST_PROTO: (u64, u64) = (0, 42);

/// The first release with an app-server that is known to speak protocol v2 as the sidecar does.
const FIRST_APP_SERVER: (u64, u64) = (0, 169);

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

/// A version that `codex --version` printed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    text: String,
    number: (u64, u64),
}

impl Version {
    /// Parses a line such as `codex-cli 0.169.0`.
    fn parse(line: &str) -> Option<Self> {
        let text = line.strip_prefix("codex-cli ")?.trim();
        let mut numbers = text.split('.').map(str::parse::<u64>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        Some(Self {
            text: text.to_owned(),
            number: (major, minor),
        })
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

/// Returns the version, such as `0.169.0`, and the protocol, from the first line of `codex --version`.
///
/// # Errors
/// The program is not Codex, or this version of Codex does not speak the chosen protocol.
pub(super) fn select_protocol(
    choice: ProtocolChoice,
    path: &Path,
    line: &str,
) -> Result<(String, Protocol), LaunchError> {
    Version::parse(line)
        .and_then(|version| {
            let protocol = version.protocol(choice)?;
            Some((version.text, protocol))
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
            let expected = expected.map(|(version, protocol)| (version.to_owned(), protocol));
            assert_eq!(selected, expected, "{line} {choice:?}");
        }
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
