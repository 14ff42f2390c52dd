//! Thousands of requests with invalid keys: the filter limits them by client address, and Envoy's memory does not grow.
//! Follows the filter's fixed table of buckets for unauthenticated addresses: an entry in Envoy's shared data can never
//! be removed, so a bucket per invalid key would be a memory leak.

use http::StatusCode;
use serde_json::json;
use tests::envoy::Envoy;
use tests::http::{Version, bearer, get};
use tests::upstream::Behavior;
use tokio::task::JoinSet;

use crate::stack::{GUARDED, KEY, chat, keyed_get, start_with};

const REQUESTS: usize = 20_000;
const CONNECTIONS: usize = 8;
/// Unauthenticated requests that one address may send in a day in this test.
const UNAUTHENTICATED_LIMIT: usize = 100;
/// Length of an invalid key. Long enough that memory kept for each key would show: 20,000 keys are 10 MB.
const KEY_BYTES: usize = 512;
/// Growth that the allocator of a process under load shows without a leak.
const ALLOCATOR_NOISE_BYTES: usize = 1 << 20;

/// The gauge of rate limit buckets in Envoy's shared data.
const BUCKETS: &str = "wasmcustom.codex_edge_rate_limit_buckets";

/// Sends `count` requests, each with a different invalid key. Returns the number of 401 and of 429 responses.
async fn send_invalid_keys(envoy: &Envoy, prefix: &'static str, count: usize) -> (usize, usize) {
    let mut clients = JoinSet::new();
    for index in 0..CONNECTIONS {
        let mut client = envoy.connect(Version::H2).await;
        clients.spawn(async move {
            let (mut rejected, mut limited) = (0, 0);
            for number in 0..count / CONNECTIONS {
                let key = format!("{prefix}-{index}-{number}-{}", "x".repeat(KEY_BYTES));
                let request = bearer(get(GUARDED), &key);
                let response = client.send(request).await.expect("Envoy answers");
                rejected += usize::from(response.status == StatusCode::UNAUTHORIZED);
                limited += usize::from(response.status == StatusCode::TOO_MANY_REQUESTS);
            }
            (rejected, limited)
        });
    }
    let counts = clients.join_all().await.into_iter();
    counts.fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1))
}

#[tokio::test]
async fn invalid_keys_are_rate_limited_and_do_not_grow_memory() {
    let limit = json!({"requests": UNAUTHENTICATED_LIMIT, "window_ms": 86_400_000});
    let (upstream, envoy) = start_with(Behavior::Echo, |options| {
        options
            .concurrency(2)
            .filter("unauthenticated_rate_limit", limit)
    })
    .await;
    let (rejected, limited) = send_invalid_keys(&envoy, "warm-up", 4000).await;
    assert!(
        (UNAUTHENTICATED_LIMIT..UNAUTHENTICATED_LIMIT + 3).contains(&rejected),
        "{rejected} of {limited}"
    );
    let (buckets, resident) = (envoy.stat(BUCKETS).await, envoy.resident_octets());
    let (rejected, limited) = send_invalid_keys(&envoy, "measured", REQUESTS).await;
    assert!(
        rejected < 3 && rejected + limited == REQUESTS,
        "{rejected} of {limited}"
    );
    let grown = envoy.resident_octets().saturating_sub(resident);
    assert!(
        grown < ALLOCATOR_NOISE_BYTES,
        "{grown} bytes for {REQUESTS} invalid keys"
    );
    assert_eq!(envoy.stat(BUCKETS).await, buckets);
    assert!(upstream.requests().is_empty());
    for request in [keyed_get(GUARDED), chat(), bearer(get(GUARDED), KEY)] {
        let response = envoy.connect(Version::H1).await.send(request).await;
        assert_eq!(
            response.unwrap().status,
            StatusCode::OK,
            "a valid key is not affected by the limit"
        );
    }
}
