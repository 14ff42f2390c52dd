//! Envoy's admin interface: a Unix socket that only its owner can open, and a configuration dump without the keys from
//! the environment. Follows Envoy's `/config_dump`.

use std::os::unix::fs::PermissionsExt;

use http::StatusCode;
use serde_json::json;
use tests::http::{Version, get};

use crate::stack::{GUARDED, KEY, keyed_get, start};

#[tokio::test]
async fn admin_socket_has_mode_0600() {
    let (_upstream, envoy) = start().await;
    let socket = std::fs::metadata(envoy.dir().join("envoy-admin.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn config_dump_shows_the_filter_configuration_without_environment_keys() {
    let (_upstream, envoy) = start().await;
    let dump = envoy.admin("/config_dump").await;
    let text = String::from_utf8_lossy(&dump.body);
    assert!(text.contains("PROXY_API_KEY") && text.contains("hold_headers"));
    assert!(!text.contains(KEY));
}

#[tokio::test]
async fn failure_policy_is_fail_reload() {
    let (_upstream, envoy) = start().await;
    let dump = envoy
        .admin("/config_dump?resource=ecds_filters")
        .await
        .json();
    let config = &dump["configs"][0]["ecds_filter"]["typed_config"]["config"];
    assert_eq!(config["failure_policy"], json!("FAIL_RELOAD"));
}

#[tokio::test]
async fn verdicts_are_a_prometheus_label() {
    let (_upstream, envoy) = start().await;
    let mut client = envoy.connect(Version::H1).await;
    client.send(keyed_get(GUARDED)).await.unwrap();
    client.send(get(GUARDED)).await.unwrap();
    let response = envoy.admin("/stats/prometheus").await;
    let exposition = String::from_utf8_lossy(&response.body);
    for verdict in ["forwarded", "invalid_api_key"] {
        let line = format!("codex_edge_requests_total{{verdict=\"{verdict}\"}} 1\n");
        assert!(exposition.contains(&line), "missing: {line}");
    }
}

#[tokio::test]
async fn admin_paths_on_the_public_listener_go_to_the_sidecar() {
    let (upstream, envoy) = start().await;
    for path in ["/stats", "/config_dump", "/quitquitquit"] {
        let response = envoy
            .connect(Version::H1)
            .await
            .send(keyed_get(path))
            .await
            .unwrap();
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(
            upstream.requests().last().unwrap().head.uri,
            path,
            "the request is forwarded to the sidecar"
        );
    }
}
