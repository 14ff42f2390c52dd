//! A request head with any headers: only open routes pass without a key, and internal headers of the client are removed.
//! The list of open routes is an independent copy of the contract's.

use std::time::{SystemTime, UNIX_EPOCH};

use filter::config::{Config, Environment};
use filter::head::{INTERNAL_PREFIX, RequestHead};
use filter::policy::{Decision, PolicyHost, Verdict, on_request_head};
use filter::rate_limit::{SharedData, SharedValue};

const KEY: &str = "sk-fuzz";

thread_local! {
    static CONFIG: Config = {
        let environment = Environment::from([("PROXY_API_KEY".to_owned(), KEY.to_owned())]);
        Config::load(b"{}", &environment, UNIX_EPOCH).expect("a key is enough")
    };
}

pub(crate) fn check(data: &[u8]) {
    let sent = SentHeaders::read(data);
    let map = sent.header_map();
    let head = RequestHead::new(&map);
    CONFIG.with(|config| {
        let decision = on_request_head(config, &head, &SingleWorkerHost);
        sent.check_access(&decision);
        sent.check_identity(&decision);
    });
}

/// The headers that the client sent: names and values.
struct SentHeaders<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> SentHeaders<'a> {
    /// Reads one header a line: a name up to a colon that is not its first character, and a value.
    fn read(data: &'a [u8]) -> Self {
        let lines = data.split(|byte| *byte == b'\n');
        let field = |line: &'a [u8]| {
            let end = line.iter().skip(1).position(|byte| *byte == b':')? + 1;
            // Envoy rejects other names before the filter sees them.
            std::str::from_utf8(&line[..end]).ok()?;
            Some((&line[..end], line[end + 1..].trim_ascii()))
        };
        Self(lines.filter_map(field).collect())
    }

    /// The header map as the proxy-wasm SDK returns it.
    fn header_map(&self) -> Vec<(String, Vec<u8>)> {
        let owned = |(name, value): &(&[u8], &[u8])| {
            let name = String::from_utf8(name.to_vec()).expect("checked in `read`");
            (name, value.to_vec())
        };
        self.0.iter().map(owned).collect()
    }

    fn values(&self, name: &str) -> Vec<&'a [u8]> {
        let fields = self.0.iter();
        let named = fields.filter(|(sent, _)| sent.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| *value).collect()
    }

    /// The value of a pseudo-header, which a host passes once.
    fn last(&self, name: &str) -> &'a [u8] {
        self.values(name).pop().unwrap_or_default()
    }

    /// Whether the client sent the key, and no other credentials.
    fn has_key(&self) -> bool {
        let [value] = self.values("authorization")[..] else {
            return false;
        };
        let value = String::from_utf8_lossy(value);
        let (scheme, token) = value
            .split_once(|c: char| c.is_ascii_whitespace())
            .unwrap_or_default();
        scheme.eq_ignore_ascii_case("bearer") && token.trim_ascii() == KEY
    }

    fn check_access(&self, decision: &Decision) {
        let (method, path) = (self.last(":method"), self.last(":path"));
        let is_open = match &decision.verdict {
            Verdict::Forward(_) => is_open(method, path),
            Verdict::Reply(reply) | Verdict::ReplyAfterBody(reply) if reply.status == 200 => {
                let mut forwarded = self
                    .values("x-forwarded-method")
                    .into_iter()
                    .zip(self.values("x-forwarded-uri"));
                path.starts_with(b"/verify")
                    && (is_open(method, &path[b"/verify".len()..])
                        || forwarded.any(|(method, path)| is_open(method, path)))
            }
            Verdict::Reply(_) | Verdict::ReplyAfterBody(_) => true,
        };
        assert!(
            is_open || self.has_key(),
            "{:?} without a key",
            decision.verdict
        );
        if let Verdict::Forward(_) = decision.verdict {
            let is_sent = !self.values("authorization").is_empty();
            assert_eq!(
                decision.remove.contains(&"authorization"),
                is_sent,
                "the key is removed from the request"
            );
        }
    }

    fn check_identity(&self, decision: &Decision) {
        for (name, _) in &self.0 {
            let Ok(name) = std::str::from_utf8(name) else {
                continue;
            };
            let spelled = name.to_ascii_lowercase().replace('_', "-");
            assert!(
                !spelled.starts_with(INTERNAL_PREFIX) || decision.remove.contains(&name),
                "{name} is not removed"
            );
        }
        let identified = decision
            .added_headers()
            .any(|(name, value)| (name, value) == ("x-codex-edge-client", "default"));
        assert!(!identified || self.has_key(), "a client id without a key");
        let reply = match &decision.verdict {
            Verdict::Reply(reply) | Verdict::ReplyAfterBody(reply) => &reply.headers[..],
            Verdict::Forward(_) => &[],
        };
        for (name, value) in decision.added_headers() {
            assert!(is_safe(value) && !value.contains(KEY), "{name}: {value:?}");
        }
        for (name, value) in reply {
            assert!(is_safe(value), "{name}: {value:?}");
        }
    }
}

/// Whether a value consists of visible ASCII and spaces, so that it cannot inject another header.
fn is_safe(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// Whether the contract allows this request without a key.
fn is_open(method: &[u8], target: &[u8]) -> bool {
    let target = String::from_utf8_lossy(target);
    let with_slash = target.split('?').next().unwrap_or_default();
    let path = with_slash.strip_suffix('/').unwrap_or(with_slash);
    let reads = matches!(method, b"GET" | b"HEAD");
    match path {
        "/healthz" | "/livez" | "/readyz" | "/v1/models" => reads,
        "/v1/chat/completions" | "/v1/completions" | "/v1/responses" => method == b"HEAD",
        _ => {
            let id = path.strip_prefix("/v1/models/").unwrap_or_default();
            let is_path = id.contains(['/', '%', '\\']) || id.bytes().all(|byte| byte == b'.');
            reads && !is_path
        }
    }
}

/// A host with one worker and empty shared data.
struct SingleWorkerHost;

impl SharedData for SingleWorkerHost {
    fn read(&self, _: &str) -> SharedValue {
        SharedValue::Missing
    }

    fn replace(&self, _: &str, _: &[u8], _: Option<u32>) -> bool {
        true
    }
}

impl PolicyHost for SingleWorkerHost {
    fn now(&self) -> Option<SystemTime> {
        Some(UNIX_EPOCH)
    }

    fn is_http1(&self) -> bool {
        true
    }

    fn client_address(&self) -> Option<Vec<u8>> {
        Some(b"192.0.2.1:1".to_vec())
    }

    fn fresh_request_id(&self) -> String {
        "fresh".to_owned()
    }
}
