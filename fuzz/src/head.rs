//! A request head of any fields: what passes without the key is open, and nothing that a client says of itself is left.
//! The list of open routes is the contract's, written down a second time.

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
    let sent = Sent::read(data);
    let map = sent.header_map();
    let head = RequestHead::new(&map);
    CONFIG.with(|config| {
        let decision = on_request_head(config, &head, &Lonely);
        sent.check_passage(&decision);
        sent.check_identity(&decision);
    });
}

/// What the client sent: names and values.
struct Sent<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Sent<'a> {
    /// One field a line: a name up to a colon that is not its first letter, and a value.
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

    /// The value of a pseudo field, which a host has once.
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

    fn check_passage(&self, decision: &Decision) {
        let (method, path) = (self.last(":method"), self.last(":path"));
        let is_open = match &decision.verdict {
            Verdict::Forward(_) => is_open(method, path),
            Verdict::Reply(reply) | Verdict::ReplyAfterBody(reply) if reply.status == 200 => {
                let forwarded = self.values("x-forwarded-method").into_iter();
                let mut forwarded = forwarded.zip(self.values("x-forwarded-uri"));
                path.starts_with(b"/verify")
                    && (is_open(method, &path[b"/verify".len()..])
                        || forwarded.any(|(method, path)| is_open(method, path)))
            }
            Verdict::Reply(_) | Verdict::ReplyAfterBody(_) => true,
        };
        assert!(
            is_open || self.has_key(),
            "{:?} for a stranger",
            decision.verdict
        );
        if let Verdict::Forward(_) = decision.verdict {
            let is_sent = !self.values("authorization").is_empty();
            assert_eq!(
                decision.remove.contains(&"authorization"),
                is_sent,
                "no key leaves Envoy"
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
                "{name} stays"
            );
        }
        let told = decision
            .added_headers()
            .any(|(name, value)| (name, value) == ("x-codex-edge-client", "default"));
        assert!(!told || self.has_key(), "a stranger is taken for a client");
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

/// Whether a value can stand in a field and be nothing else.
fn is_safe(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// Whether the contract lets anybody in here.
fn is_open(method: &[u8], target: &[u8]) -> bool {
    let target = String::from_utf8_lossy(target);
    let path = target.split('?').next().unwrap_or_default();
    let path = path.strip_suffix('/').unwrap_or(path);
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

/// A host without other workers.
struct Lonely;

impl SharedData for Lonely {
    fn read(&self, _: &str) -> SharedValue {
        SharedValue::Missing
    }

    fn replace(&self, _: &str, _: &[u8], _: Option<u32>) -> bool {
        true
    }
}

impl PolicyHost for Lonely {
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
