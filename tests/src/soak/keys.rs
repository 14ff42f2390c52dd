//! The clients' keys, which change while they are used.
//! Envoy's extension discovery from a watched folder (ECDS by path); an id keeps what was stored for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

use crate::chaos::chain::{AGENT_KEY, KEY};
use crate::envoy::Envoy;
use crate::http::{DEADLINE, Version, bearer, get};

/// Time between two looks at a counter.
const POLL: Duration = Duration::from_millis(20);

const RELOADED: &str = "extension_config_discovery.http_filter.codex_edge.config_reload";
const REFUSED: &str = "extension_config_discovery.http_filter.codex_edge.config_fail";

/// A key for each client.
#[derive(Debug)]
pub(super) struct KeyRing {
    clients: usize,
    /// Twice the number of changes, and one more while keys change.
    epoch: AtomicUsize,
}

impl KeyRing {
    /// Keys that Envoy does not know yet.
    pub(super) fn of(clients: usize) -> Self {
        Self {
            clients,
            epoch: AtomicUsize::new(0),
        }
    }

    /// The key that a client has now.
    pub(super) fn key(&self, client: usize) -> String {
        key(client, self.epoch() / 2)
    }

    /// Who gets a 401 although this has not changed meanwhile, and is even, was wronged.
    pub(super) fn epoch(&self) -> usize {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Gives every client another key. Says what is wrong when the new ones do not work, or the old ones still do.
    pub(super) async fn rotate(&self, envoy: &Envoy) -> Option<String> {
        let old = self.epoch.fetch_add(1, Ordering::SeqCst) / 2;
        let reloads = envoy.stat(RELOADED).await;
        let keys = (0..self.clients)
            .map(|client| json!({"id": format!("client-{client}"), "key": key(client, old + 1)}));
        let agent = json!({"id": "agent", "key": AGENT_KEY, "profile": "agent"});
        let keys: Vec<_> = keys.chain([agent]).collect();
        envoy.write_filter_yaml(&envoy.filter_yaml(&with_keys(keys.into())));
        if !reaches(envoy, RELOADED, reloads + 1).await {
            return Some("Envoy does not take it".to_owned());
        }
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let (new, old) = (key(0, old + 1), key(0, old));
        let statuses = (status(envoy, &new).await, status(envoy, &old).await);
        (statuses != (200, 401)).then(|| format!("the new and the old key get {statuses:?}"))
    }

    /// Puts a configuration in the filter's place that it must not take. Says what is wrong when it changes anything.
    pub(super) async fn refuse(envoy: &Envoy) -> Option<String> {
        let refused = envoy.stat(REFUSED).await;
        // Envoy does not look again at what it has just refused.
        let wrong = json!(format!("no list, for the {refused}. time"));
        envoy.write_filter_yaml(&envoy.filter_yaml(&with_keys(wrong)));
        if !reaches(envoy, REFUSED, refused + 1).await {
            return Some("Envoy does not refuse it".to_owned());
        }
        let status = status(envoy, KEY).await;
        (status != 200).then(|| format!("after a wrong configuration a key gets {status}"))
    }
}

/// Whether a counter comes to `value` in time.
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

/// What a key gets where no turn is begun. 0 is no answer.
async fn status(envoy: &Envoy, key: &str) -> u16 {
    let mut client = envoy.connect(Version::H1).await;
    let answer = client.send(bearer(get("/v1/usage"), key)).await;
    answer.map_or(0, |answer| answer.status.as_u16())
}
