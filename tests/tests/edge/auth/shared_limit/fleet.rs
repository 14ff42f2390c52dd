//! Two Envoys that share one limit, the service that both ask, and what the tests ask of them.
//! Follows `deploy/ratelimit/`; its day is long, so that a test counts within one window.

use std::fs;
use std::net::SocketAddr;

use http::Request;
use serde_json::json;
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Body, BufferedResponse, Client, Version, bearer, post};
use tests::upstream::{Behavior, Upstream};
use xtask::workspace;

use super::service::RateLimitService;
use crate::stack::{CHAT, start_with};

/// The key of the client `ann`.
pub(super) const ANN: &str = "the-key-of-ann";
/// The key of the client `ben`.
pub(super) const BEN: &str = "the-key-of-ben";
/// What every client has for a day, unless a test says otherwise.
pub(super) const LIMIT: usize = 20;

/// Two Envoys, each with its upstream, and the service that both ask.
pub(super) struct Fleet {
    pub(super) service: RateLimitService,
    pub(super) edges: [(Upstream, Envoy); 2],
}

impl Fleet {
    /// Gives every client `LIMIT` requests for a day.
    pub(super) async fn start() -> Self {
        Self::start_with(str::to_owned, |options| options).await
    }

    /// The same, with what `limits` changes in the service's configuration and `change` in Envoy's.
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
                change(sharing(options, service.address()))
            })
        };
        let edges = [edge().await, edge().await];
        Self { service, edges }
    }

    /// Each Envoy's answer to what `request` makes, on a connection of its own.
    pub(super) async fn send(&self, request: impl Fn() -> Request<Body>) -> Vec<BufferedResponse> {
        let mut answers = Vec::new();
        for (_, envoy) in &self.edges {
            answers.push(send(envoy.address(), Version::H1, request()).await);
        }
        answers
    }

    /// How many requests reached an upstream.
    pub(super) fn forwarded(&self) -> usize {
        let seen = self
            .edges
            .iter()
            .map(|(upstream, _)| upstream.requests().len());
        seen.sum()
    }
}

/// Has nobody pass, by the service's configuration.
pub(super) fn none(config: &str) -> String {
    replace(
        config,
        &format!("requests_per_unit: {LIMIT} }}"),
        "requests_per_unit: 0 }",
    )
}

/// The shipped configuration with the overlay, two keys, and patience with a service that shares a busy machine.
fn sharing(options: EnvoyOptions, service: SocketAddr) -> EnvoyOptions {
    overlaid(options, service).replace("              timeout: 0.25s", "              timeout: 10s")
}

/// The shipped configuration with the overlay, and two keys.
pub(super) fn overlaid(options: EnvoyOptions, service: SocketAddr) -> EnvoyOptions {
    let place = format!("address: {}, port_value: {}", service.ip(), service.port());
    let overlay = replace(
        &shipped("envoy.yaml"),
        "{ address: ratelimit, port_value: 8081 }",
        &format!("{{ {place} }}"),
    );
    let keys = json!([{"id": "ann", "key": ANN}, {"id": "ben", "key": BEN}]);
    options.config_yaml(overlay).filter("keys", keys)
}

/// A file of `deploy/ratelimit`.
pub(super) fn shipped(name: &str) -> String {
    let path = workspace::root().join("deploy/ratelimit").join(name);
    fs::read_to_string(path).expect("the file is in the tree")
}

/// `text` with `to` in the place of `from`, which is in it once.
pub(super) fn replace(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "`{from}` is in it once");
    text.replace(from, to)
}

/// A request that starts a turn.
pub(super) fn turn(key: &str) -> Request<Body> {
    let body = json!({"model": "codex-5", "messages": []});
    bearer(post(CHAT, body.to_string()), key)
}

/// The answer to `request`, on a connection of its own.
pub(super) async fn send(
    address: SocketAddr,
    version: Version,
    request: Request<Body>,
) -> BufferedResponse {
    let mut client = Client::connect(address, version).await;
    client.send(request).await.expect("Envoy answers")
}
