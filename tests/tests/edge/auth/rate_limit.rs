//! The rate limit of a process across Envoy's worker threads and client connections.
//! Follows the filter's token bucket in Envoy's shared data.

use http::StatusCode;
use serde_json::json;
use tests::http::{Client, Version};
use tests::upstream::Behavior;
use tokio::task::JoinSet;

use crate::stack::{assert_error, chat, start_with};

const LIMIT: usize = 50;
const CLIENTS: usize = 32;
const REQUESTS_EACH: usize = 10;

#[tokio::test]
async fn rate_limit_is_exact_across_workers_and_connections() {
    let limit = json!({"enabled": true, "requests": LIMIT, "window_ms": 24 * 60 * 60 * 1000});
    let (upstream, envoy) = start_with(Behavior::Echo, |options| {
        options.concurrency(2).filter("rate_limit", limit)
    })
    .await;
    let mut clients = JoinSet::new();
    for index in 0..CLIENTS {
        let version = if index % 2 == 0 {
            Version::H1
        } else {
            Version::H2
        };
        let address = envoy.address();
        clients.spawn(async move {
            let mut responses = Vec::new();
            for _ in 0..REQUESTS_EACH {
                // Envoy closes an HTTP/1.1 connection when it rejects a request before the end of the body.
                responses.push(
                    Client::connect(address, version)
                        .await
                        .send(chat())
                        .await
                        .unwrap(),
                );
            }
            responses
        });
    }
    let (accepted, rejected): (Vec<_>, Vec<_>) = clients
        .join_all()
        .await
        .into_iter()
        .flatten()
        .partition(|response| response.status == StatusCode::OK);
    assert_eq!(accepted.len(), LIMIT);
    assert_eq!(upstream.requests().len(), LIMIT);
    for response in rejected {
        assert_error(&response, 429, "rate_limit_error", "rate_limited");
        assert!(response.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    let mut remaining: Vec<usize> = accepted
        .iter()
        .map(|response| {
            response
                .header("x-ratelimit-remaining-requests")
                .parse()
                .unwrap()
        })
        .collect();
    remaining.sort_unstable();
    assert_eq!(
        remaining,
        (0..LIMIT).collect::<Vec<_>>(),
        "every token was taken exactly once"
    );
}
