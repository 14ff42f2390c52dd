//! The metrics listener for Prometheus on loopback: the metrics of Envoy and the sidecar, and no other admin path.
//! Follows Envoy's `/stats/prometheus` and the sidecar's `/metrics`.

use http::{Method, Request, StatusCode};
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Body, Client, Version, empty, get, with};
use tests::upstream::{Behavior, Upstream};

use crate::stack::{GUARDED, KEY, start};

/// `GET path` with a host name of this machine.
fn local(path: &str) -> Request<Body> {
    with(get(path), "host", "localhost")
}

#[tokio::test]
async fn envoy_metrics_are_served_on_the_metrics_listener() {
    let (_upstream, envoy) = start().await;
    let mut client = envoy.connect(Version::H1).await;
    client.send(get(GUARDED)).await.unwrap();
    let address = envoy.metrics_address().await;
    let mut client = Client::connect(address, Version::H1).await;
    let response = client.send(local("/stats/prometheus")).await.unwrap();
    let text = String::from_utf8_lossy(&response.body);
    let line = "codex_edge_requests_total{verdict=\"invalid_api_key\"} 1\n";
    assert!(text.contains(line), "{line} is missing in {text}");
}

#[tokio::test]
async fn sidecar_metrics_are_fetched_from_its_admin_socket() {
    let (public, admin) = (
        Upstream::start(Behavior::Echo),
        Upstream::start(Behavior::Echo),
    );
    let options = EnvoyOptions::new(public.socket()).sidecar_admin(admin.socket());
    let envoy = Envoy::start(options.env("PROXY_API_KEY", KEY)).await;
    let address = envoy.metrics_address().await;
    let mut client = Client::connect(address, Version::H1).await;
    let response = client.send(local("/metrics")).await.unwrap();
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(admin.requests().remove(0).head.uri, "/metrics");
    assert_eq!(public.requests().len(), 0);
}

#[tokio::test]
async fn other_admin_paths_are_404_on_the_metrics_listener() {
    let (upstream, admin) = (
        Upstream::start(Behavior::Echo),
        Upstream::start(Behavior::Echo),
    );
    let options = EnvoyOptions::new(upstream.socket()).sidecar_admin(admin.socket());
    let envoy = Envoy::start(options.env("PROXY_API_KEY", KEY)).await;
    let address = envoy.metrics_address().await;
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/status"),
        (Method::GET, "/config_dump"),
        (Method::GET, "/stats"),
        (Method::GET, "/stats/prometheus/../../config_dump"),
        (Method::GET, "/metrics/../status"),
        (Method::GET, "/metrics/"),
        (Method::GET, "/metrics%2F..%2Fstatus"),
        (Method::POST, "/quitquitquit"),
        (Method::POST, "/stats/prometheus"),
        (Method::POST, "/metrics"),
    ] {
        let mut client = Client::connect(address, Version::H1).await;
        let request = with(empty(method.clone(), path), "host", "localhost");
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status, StatusCode::NOT_FOUND, "{method} {path}");
    }
    assert_eq!(admin.requests().len(), 0);
}

/// A page that resolves its own name to 127.0.0.1 sends its own name as the host.
#[tokio::test]
async fn metrics_listener_answers_loopback_host_names_only() {
    let admin = Upstream::start(Behavior::Echo);
    let upstream = Upstream::start(Behavior::Echo);
    let options = EnvoyOptions::new(upstream.socket()).sidecar_admin(admin.socket());
    let envoy = Envoy::start(options.env("PROXY_API_KEY", KEY)).await;
    let address = envoy.metrics_address().await;
    for (host, status) in [
        ("evil.example", 404),
        ("evil.example:9464", 404),
        ("127.0.0.1.evil.example", 404),
        ("localhost.evil.example", 404),
        ("localhost", 200),
        ("LOCALHOST:9464", 200),
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("[::1]", 200),
    ] {
        for path in ["/stats/prometheus", "/metrics"] {
            let mut client = Client::connect(address, Version::H1).await;
            let response = client.send(with(get(path), "host", host)).await.unwrap();
            assert_eq!(response.status, status, "{host} {path}");
        }
    }
}
