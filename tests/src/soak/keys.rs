//! The clients' API keys, which are rotated while requests use them.
//! Envoy discovers the filter's configuration from a watched folder (ECDS by path); stored responses belong to the client
//! id and survive a rotation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

use crate::chaos::chain::{AGENT_KEY, KEY};
use crate::envoy::Envoy;
use crate::http::{DEADLINE, Version, bearer, get};

/// Time between two reads of a counter.
const POLL: Duration = Duration::from_millis(20);

const RELOADED: &str = "extension_config_discovery.http_filter.codex_edge.config_reload";
const REJECTED: &str = "extension_config_discovery.http_filter.codex_edge.config_fail";

/// The keys of all clients.
#[derive(Debug)]
pub(super) struct KeyRing {
    clients: usize,
    /// Twice the number of rotations, plus one during a rotation.
    epoch: AtomicUsize,
}

impl KeyRing {
    /// Creates keys that Envoy does not have yet.
    pub(super) fn new(clients: usize) -> Self {
        Self {
            clients,
            epoch: AtomicUsize::new(0),
        }
    }

    /// The current key of a client.
    pub(super) fn key(&self, client: usize) -> String {
        key(client, self.epoch() / 2)
    }

    /// The rotation counter. A 401 is a violation if the counter is even and has not changed during the request.
    pub(super) fn epoch(&self) -> usize {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Gives every client a new key; returns a violation if a new key is rejected or an old one is still accepted.
    pub(super) async fn rotate(&self, envoy: &Envoy) -> Option<String> {
        let old = self.epoch.fetch_add(1, Ordering::SeqCst) / 2;
        let reloads = envoy.stat(RELOADED).await;
        let agent = json!({"id": "agent", "key": AGENT_KEY, "profile": "agent"});
        let keys: Vec<_> = (0..self.clients)
            .map(|client| json!({"id": format!("client-{client}"), "key": key(client, old + 1)}))
            .chain([agent])
            .collect();
        envoy.write_filter_yaml(&envoy.filter_yaml(&with_keys(keys.into())));
        if !reaches(envoy, RELOADED, reloads + 1).await {
            return Some("Envoy does not load the new configuration".to_owned());
        }
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let (new, old) = (key(0, old + 1), key(0, old));
        let statuses = (status(envoy, &new).await, status(envoy, &old).await);
        (statuses != (200, 401)).then(|| format!("status {statuses:?} for the new and the old key"))
    }

    /// Writes an invalid filter configuration; returns a violation if it has an effect.
    pub(super) async fn check_rejection(envoy: &Envoy) -> Option<String> {
        let rejected = envoy.stat(REJECTED).await;
        // Different each time, because Envoy does not read the same invalid text again.
        let invalid = json!(format!("not a list, attempt {rejected}"));
        envoy.write_filter_yaml(&envoy.filter_yaml(&with_keys(invalid)));
        if !reaches(envoy, REJECTED, rejected + 1).await {
            return Some("Envoy does not reject the configuration".to_owned());
        }
        let status = status(envoy, KEY).await;
        (status != 200).then(|| format!("status {status} after an invalid configuration"))
    }
}

/// Whether a counter reaches `value` within the deadline.
async fn reaches(envoy: &Envoy, name: &str, value: u64) -> bool {
    let reached = async {
        while envoy.stat(name).await < value {
            sleep(POLL).await;
        }
    };
    timeout(DEADLINE, reached).await.is_ok()
}

fn with_keys(keys: Value) -> Map<String, Value> {
    Map::from_iter([("keys".to_owned(), keys)])
}

fn key(client: usize, generation: usize) -> String {
    format!("sk-soak-{client}-{generation}")
}

/// The status for a key on a route that starts no turn; 0 without a response.
async fn status(envoy: &Envoy, key: &str) -> u16 {
    let mut client = envoy.connect(Version::H1).await;
    let response = client.send(bearer(get("/v1/usage"), key)).await;
    response.map_or(0, |response| response.status.as_u16())
}
