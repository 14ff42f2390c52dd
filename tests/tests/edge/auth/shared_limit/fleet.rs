//! Two Envoys that share one rate limit, the rate limit service that both call, and the requests of the tests.
//! Follows `deploy/ratelimit/`. The limit is per day, so that a test does not cross the end of a window.

use std::fs;
use std::net::SocketAddr;

use http::Request;
use serde_json::json;
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Body, BufferedResponse, Client, Version, bearer, post};
use tests::rate_limit::RateLimitService;
use tests::upstream::{Behavior, Upstream};
use xtask::workspace;

use crate::stack::{CHAT, start_with};

/// The key of the client `ann`.
pub(super) const ANN: &str = "the-key-of-ann";
/// The key of the client `ben`.
pub(super) const BEN: &str = "the-key-of-ben";
/// Requests per day of each client, unless a test configures another limit.
pub(super) const LIMIT: usize = 20;

/// Two Envoys, each with an upstream, and the rate limit service that both call.
pub(super) struct Fleet {
    pub(super) service: RateLimitService,
    pub(super) edges: [(Upstream, Envoy); 2],
}

impl Fleet {
    /// Starts a fleet in which each client has `LIMIT` requests per day.
    pub(super) async fn start() -> Self {
        Self::start_with(str::to_owned, |options| options).await
    }

    /// Starts a fleet after `limits` has changed the configuration of the service and `change` the options of each
    /// Envoy.
    pub(super) async fn start_with(
        limits: impl Fn(&str) -> String,
        change: impl Fn(EnvoyOptions) -> EnvoyOptions,
    ) -> Self {
        let config = replace(
            &shipped("config.yaml"),
            "unit: minute, requests_per_unit: 60 }",
            &format!("unit: day, requests_per_unit: {LIMIT} }}"),
        );
        let service = RateLimitService::start(&limits(&config));
        let edge = || {
            start_with(Behavior::Echo, |options| {
                change(with_shared_limit(options, service.address()))
            })
        };
        let edges = [edge().await, edge().await];
        Self { service, edges }
    }

    /// Sends `request` to each Envoy on a new connection and returns the responses.
    pub(super) async fn send(&self, request: impl Fn() -> Request<Body>) -> Vec<BufferedResponse> {
        let mut responses = Vec::new();
        for (_, envoy) in &self.edges {
            responses.push(send(envoy.address(), Version::H1, request()).await);
        }
        responses
    }

    /// Returns the number of requests that reached either upstream.
    pub(super) fn forwarded(&self) -> usize {
        self.edges
            .iter()
            .map(|(upstream, _)| upstream.requests().len())
            .sum()
    }
}

/// Lowers the limit in the configuration of the service to zero.
pub(super) fn zero_limit(config: &str) -> String {
    replace(
        config,
        &format!("requests_per_unit: {LIMIT} }}"),
        "requests_per_unit: 0 }",
    )
}

/// Adds the overlay and two keys, and a long timeout, since the service shares a busy machine with the tests.
fn with_shared_limit(options: EnvoyOptions, service: SocketAddr) -> EnvoyOptions {
    overlaid(options, service).replace("              timeout: 0.25s", "              timeout: 10s")
}

/// Adds the overlay, which names `service`, and two keys.
pub(super) fn overlaid(options: EnvoyOptions, service: SocketAddr) -> EnvoyOptions {
    let address = format!("address: {}, port_value: {}", service.ip(), service.port());
    let overlay = replace(
        &shipped("envoy.yaml"),
        "{ address: ratelimit, port_value: 8081 }",
        &format!("{{ {address} }}"),
    );
    let keys = json!([{"id": "ann", "key": ANN}, {"id": "ben", "key": BEN}]);
    options.config_yaml(overlay).filter("keys", keys)
}

/// Returns the text of a file in `deploy/ratelimit`.
pub(super) fn shipped(name: &str) -> String {
    let path = workspace::root().join("deploy/ratelimit").join(name);
    fs::read_to_string(path).expect("the file is in the tree")
}

/// Replaces the only occurrence of `from` in `text` with `to`.
pub(super) fn replace(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "`{from}` occurs once");
    text.replace(from, to)
}

/// Returns a request that starts a turn.
pub(super) fn turn_request(key: &str) -> Request<Body> {
    let body = json!({"model": "codex-5", "messages": []});
    bearer(post(CHAT, body.to_string()), key)
}

/// Sends `request` on a new connection and returns the response.
pub(super) async fn send(
    address: SocketAddr,
    version: Version,
    request: Request<Body>,
) -> BufferedResponse {
    let mut client = Client::connect(address, version).await;
    client.send(request).await.expect("Envoy answers")
}
