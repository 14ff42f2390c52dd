//! Made-up keys by the thousand: they are slowed down by address, and leave nothing behind in Envoy.
//! Follows the filter's fixed table of buckets for callers without a key; what is in shared data can never be removed.

use http::StatusCode;
use serde_json::json;
use tests::envoy::Envoy;
use tests::http::{Version, bearer, get};
use tests::upstream::Script;
use tokio::task::JoinSet;

use crate::stack::{GUARDED, KEY, chat, keyed_get, start_with};

const STRANGERS: usize = 20_000;
const CONNECTIONS: usize = 8;
/// As many as an address may guess in a day here.
const GUESSES: usize = 100;
/// Long, so that anything kept of each would show: 20,000 of them are 10 MB.
const TOKEN_OCTETS: usize = 512;
/// What the allocator of a process under load does by itself.
const NOISE_OCTETS: usize = 1 << 20;

const BUCKETS: &str = "wasmcustom.codex_edge_rate_limit_buckets";

/// Sends `count` requests, each with a key of its own, and returns how many got each of 401 and 429.
async fn guess(envoy: &Envoy, name: &'static str, count: usize) -> (usize, usize) {
    let mut guessers = JoinSet::new();
    for guesser in 0..CONNECTIONS {
        let mut client = envoy.connect(Version::H2).await;
        guessers.spawn(async move {
            let (mut refused, mut slowed) = (0, 0);
            for number in 0..count / CONNECTIONS {
                let key = format!("{name}-{guesser}-{number}-{}", "x".repeat(TOKEN_OCTETS));
                let answer = client.send(bearer(get(GUARDED), &key)).await;
                let answer = answer.expect("Envoy answers");
                refused += usize::from(answer.status == StatusCode::UNAUTHORIZED);
                slowed += usize::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
            }
            (refused, slowed)
        });
    }
    let counts = guessers.join_all().await.into_iter();
    counts.fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1))
}

#[tokio::test]
async fn invalid_keys_are_rate_limited_and_do_not_grow_memory() {
    let limit = json!({"requests": GUESSES, "window_ms": 86_400_000});
    let (upstream, envoy) = start_with(Script::Echo, |options| {
        options
            .concurrency(2)
            .filter("unauthenticated_rate_limit", limit)
    })
    .await;
    let (refused, slowed) = guess(&envoy, "warm-up", 4000).await;
    assert!(
        (GUESSES..GUESSES + 3).contains(&refused),
        "{refused} of {slowed}"
    );
    let (buckets, resident) = (envoy.stat(BUCKETS).await, envoy.resident_octets());
    let (refused, slowed) = guess(&envoy, "stranger", STRANGERS).await;
    assert!(
        refused < 3 && refused + slowed == STRANGERS,
        "{refused} of {slowed}"
    );
    let grown = envoy.resident_octets().saturating_sub(resident);
    assert!(
        grown < NOISE_OCTETS,
        "{grown} octets for {STRANGERS} strangers"
    );
    assert_eq!(envoy.stat(BUCKETS).await, buckets);
    assert!(upstream.seen().is_empty());
    for request in [keyed_get(GUARDED), chat(), bearer(get(GUARDED), KEY)] {
        let answer = envoy.connect(Version::H1).await.send(request).await;
        assert_eq!(
            answer.unwrap().status,
            StatusCode::OK,
            "a key is not slowed down"
        );
    }
}
