//! Patterns for origins.
//! Follows the serialization of origins by browsers (RFC 6454, section 6.1) and RFC 3986, section 3.2, for hosts and ports.

/// An origin, exact or with `*` for the whole host, its leading labels, or the whole port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: String,
    host: HostPattern,
    port: PortPattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    /// Any host that ends with this text, which starts with a dot.
    Subdomain(String),
    Exact(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PortPattern {
    Any,
    Exact(Option<String>),
}

impl OriginPattern {
    /// Parses `https://app.example`, `http://localhost:*`, `https://*.example`, `vscode-webview://*`.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let (scheme, host, port) = split_origin(&lower)?;
        let host = match host.strip_prefix('*') {
            Some("") => HostPattern::Any,
            Some(suffix) if suffix.starts_with('.') && is_host(suffix) => {
                HostPattern::Subdomain(suffix.to_owned())
            }
            None if is_host(host) => HostPattern::Exact(host.to_owned()),
            _ => return None,
        };
        let port = match port {
            Some("*") => PortPattern::Any,
            port if port.is_none_or(is_port) => PortPattern::Exact(port.map(str::to_owned)),
            _ => return None,
        };
        Some(Self {
            scheme: scheme.to_owned(),
            host,
            port,
        })
    }

    /// Whether an origin matches. A pattern without a port means the scheme's default, which browsers omit.
    pub fn matches(&self, origin: &str) -> bool {
        let lower = origin.to_ascii_lowercase();
        let Some((scheme, host, port)) = split_origin(&lower) else {
            return false;
        };
        let is_host = is_host(host)
            && match &self.host {
                HostPattern::Any => true,
                HostPattern::Subdomain(suffix) => {
                    host.len() > suffix.len() && host.ends_with(suffix.as_str())
                }
                HostPattern::Exact(exact) => host == exact,
            };
        let is_port = match &self.port {
            PortPattern::Any => port.is_none_or(is_port),
            PortPattern::Exact(exact) => port == exact.as_deref(),
        };
        scheme == self.scheme && is_host && is_port
    }
}

/// Splits an origin into scheme, host and port; the brackets of an IPv6 address belong to the host.
fn split_origin(origin: &str) -> Option<(&str, &str, Option<&str>)> {
    let (scheme, authority) = origin.split_once("://")?;
    let is_scheme = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    // Colons inside the brackets of an IPv6 address do not start a port.
    let after_address = authority.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match authority.get(after_address..)?.find(':') {
        Some(colon) => {
            let (host, port) = authority.split_at_checked(after_address + colon)?;
            (host, port.get(1..))
        }
        None => (authority, None),
    };
    is_scheme.then_some((scheme, host, port))
}

fn is_host(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

fn is_port(port: &str) -> bool {
    // `parse` alone would accept `+80`.
    port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pattern_matches_whole_parts_of_an_origin() {
        let cases = [
            ("https://app.example", "https://app.example", true),
            ("https://app.example", "HTTPS://APP.example", true),
            ("https://app.example", "https://app.example:8443", false),
            ("https://app.example", "http://app.example", false),
            ("https://app.example", "https://app.example.evil", false),
            ("https://app.example", "https://app.example/", false),
            ("http://localhost:*", "http://localhost", true),
            ("http://localhost:*", "http://localhost:3000", true),
            ("http://localhost:*", "http://localhost:x", false),
            ("http://localhost:*", "http://localhost:", false),
            ("http://localhost:*", "http://localhost.evil:3000", false),
            (
                "http://localhost:*",
                "http://localhost:3000.evil.example",
                false,
            ),
            ("http://localhost:*", "http://evil@localhost:3000", false),
            ("https://*.example", "https://a.b.example", true),
            ("https://*.example", "https://example", false),
            ("https://*.example", "https://.example", false),
            ("https://*.example", "https://evil.test/.example", false),
            ("https://*.example", "https://evil.test?.example", false),
            ("app://obsidian.md", "app://obsidian.md", true),
            ("vscode-webview://*", "vscode-webview://1k2j3-x", true),
            ("vscode-webview://*", "vscode-webview://", false),
            ("vscode-webview://*", "https://1k2j3-x", false),
            ("http://[::1]:*", "http://[::1]:3000", true),
            ("http://[::1]:*", "http://[::2]:3000", false),
            ("https://app.example", "null", false),
            ("https://app.example", "", false),
        ];
        for (pattern, origin, expected) in cases {
            assert_eq!(
                OriginPattern::parse(pattern).unwrap().matches(origin),
                expected,
                "{pattern} {origin}"
            );
        }
    }

    #[test]
    fn ambiguous_pattern_is_invalid() {
        for text in [
            "",
            "app.example",
            "https://",
            "https://a*",
            "https://app.*",
            "https://*example",
            "https://a.example/",
            "https://a.example:x",
            "https://a.example:80*",
            "*://a.example",
            "https://a b",
            "https://é.example",
            "http://[::g]",
        ] {
            assert_eq!(OriginPattern::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in any::<String>(), origin in any::<String>()) {
            if let Some(pattern) = OriginPattern::parse(&text) {
                let _ = pattern.matches(&origin);
            }
        }

        #[test]
        fn exact_pattern_matches_itself(scheme in "[a-z]{1,8}", host in "[a-z0-9.-]{1,20}", port in prop::option::of(any::<u16>())) {
            let origin = format!("{scheme}://{host}{}", port.map_or(String::new(), |port| format!(":{port}")));
            prop_assert!(OriginPattern::parse(&origin).unwrap().matches(&origin));
        }
    }
}
