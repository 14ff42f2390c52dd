//! Rotation of keys while Envoy runs: a new `filter.yaml` is renamed over the old one.
//! Follows Envoy's extension config discovery from a watched folder (ECDS by path).

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};
use tests::envoy::Envoy;
use tests::http::{Version, bearer, get};
use tests::upstream::{Behavior, Upstream};

use crate::stack::{GUARDED, KEY, chat, options, start, start_with};

/// The counter of configurations that Envoy applied.
const RELOADED: &str = "extension_config_discovery.http_filter.codex_edge.config_reload";
/// The counter of configurations that Envoy rejected.
const REJECTED: &str = "extension_config_discovery.http_filter.codex_edge.config_fail";

/// Returns filter configuration fields with `key` enabled and the key of the environment disabled.
fn with_key(key: &str) -> Map<String, Value> {
    let keys =
        json!([{"id": "default", "key": KEY, "disabled": true}, {"id": "rotated", "key": key}]);
    Map::from_iter([("keys".to_owned(), keys)])
}

async fn status(envoy: &Envoy, key: &str) -> StatusCode {
    let request = bearer(get(GUARDED), key);
    let mut client = envoy.connect(Version::H1).await;
    client.send(request).await.expect("Envoy answers").status
}

#[tokio::test]
async fn reload_accepts_the_new_key_and_rejects_the_old_one() {
    let (upstream, envoy) = start().await;
    let reloads = envoy.stat(RELOADED).await;
    for (count, (new, old)) in [("first", "second"), ("second", "first")]
        .into_iter()
        .enumerate()
    {
        envoy.write_filter_yaml(&envoy.filter_yaml(&with_key(new)));
        envoy
            .wait_for_stat(RELOADED, reloads + count as u64 + 1)
            .await;
        assert_eq!(status(&envoy, new).await, StatusCode::OK);
        assert_eq!(status(&envoy, old).await, StatusCode::UNAUTHORIZED);
    }
    assert!(
        upstream
            .requests()
            .iter()
            .all(|received| received.header("x-codex-edge-client") == "rotated")
    );
}

#[tokio::test]
async fn stream_continues_across_a_key_rotation() {
    let events = Behavior::Events {
        count: 30,
        every: Duration::from_millis(50),
    };
    for version in [Version::H1, Version::H2] {
        let (_upstream, envoy) = start_with(events.clone(), |options| options).await;
        let mut stream = envoy.connect(version).await.stream(chat()).await.unwrap();
        stream.next().await.unwrap().unwrap();
        let reloads = envoy.stat(RELOADED).await;
        envoy.write_filter_yaml(&envoy.filter_yaml(&with_key("next")));
        envoy.wait_for_stat(RELOADED, reloads + 1).await;
        let rest = stream.collect().await.unwrap();
        assert!(
            rest.body.starts_with(b"data: 1\n\n") && rest.body.ends_with(b"data: 29\n\n"),
            "{rest:?}"
        );
    }
}

#[tokio::test]
async fn rejected_configuration_keeps_the_previous_one_active() {
    let (_upstream, envoy) = start().await;
    let valid = envoy.filter_yaml(&with_key("next"));
    let rejected = [
        "no yaml: [".to_owned(),
        valid.replace("FAIL_RELOAD", "FAIL_SOMEHOW"),
        valid.replace("\"keys\"", "\"kyes\""),
        valid.replace("filter.wasm", "absent.wasm"),
        envoy.filter_yaml(&Map::from_iter([("keys".to_owned(), json!("none"))])),
    ];
    for (count, text) in rejected.iter().enumerate() {
        envoy.write_filter_yaml(text);
        envoy.wait_for_stat(REJECTED, count as u64 + 1).await;
        assert_eq!(status(&envoy, KEY).await, StatusCode::OK, "{text}");
        assert_eq!(
            status(&envoy, "next").await,
            StatusCode::UNAUTHORIZED,
            "{text}"
        );
    }
    let reloads = envoy.stat(RELOADED).await;
    envoy.write_filter_yaml(&valid);
    envoy.wait_for_stat(RELOADED, reloads + 1).await;
    assert_eq!(status(&envoy, "next").await, StatusCode::OK);
}

#[tokio::test]
async fn corrected_file_recovers_an_edge_that_started_with_an_invalid_one() {
    let upstream = Upstream::start(Behavior::Echo);
    let envoy = Envoy::start(options(&upstream).filter("keys", json!("none"))).await;
    assert_eq!(status(&envoy, KEY).await, StatusCode::SERVICE_UNAVAILABLE);
    envoy.write_filter_yaml(&envoy.filter_yaml(&with_key("next")));
    envoy.wait_for_stat(RELOADED, 1).await;
    assert_eq!(status(&envoy, "next").await, StatusCode::OK);
}

/// Kubernetes updates a mounted ConfigMap by renaming a symbolic link to the folder that holds the file.
#[tokio::test]
async fn swapped_config_map_symlink_triggers_a_reload() {
    let (_upstream, envoy) = start().await;
    let dir = envoy.dir();
    let file = dir.join("filter.yaml");
    for (version, key) in [("v1", "first"), ("v2", "second")] {
        fs::create_dir(dir.join(version)).unwrap();
        fs::write(
            dir.join(version).join("filter.yaml"),
            envoy.filter_yaml(&with_key(key)),
        )
        .unwrap();
    }
    let swap = |version: &str| {
        symlink(version, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    };
    symlink("..data/filter.yaml", dir.join("filter.link")).unwrap();
    let reloads = envoy.stat(RELOADED).await;
    swap("v1");
    fs::rename(dir.join("filter.link"), &file).unwrap();
    envoy.wait_for_stat(RELOADED, reloads + 1).await;
    assert_eq!(status(&envoy, "first").await, StatusCode::OK);
    swap("v2");
    envoy.wait_for_stat(RELOADED, reloads + 2).await;
    assert_eq!(status(&envoy, "first").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&envoy, "second").await, StatusCode::OK);
}
