//! `sidecar key`: a key that the command adds, and one that it disables, in an Envoy that runs.

use std::process::{Command, Output};

use tests::envoy::Envoy;
use tests::http::{Version, bearer, get};
use tests::sidecar::sidecar_binary;

use crate::stack::{GUARDED, start};

/// Counts the configurations that Envoy has taken.
const RELOADED: &str = "extension_config_discovery.http_filter.codex_edge.config_reload";

/// Runs `sidecar key` with these words; `FILE` stands for Envoy's filter.yaml.
fn run(envoy: &Envoy, words: &str) -> Output {
    let file = envoy.filter_yaml_path().display().to_string();
    let words = words.split(' ').map(|word| word.replace("FILE", &file));
    let mut command = Command::new(sidecar_binary());
    command.arg("key").args(words);
    command.output().expect("the sidecar is executable")
}

/// Runs a command that changes the file, and waits until Envoy has taken it. Returns the printed text.
async fn change(envoy: &Envoy, words: &str) -> String {
    let reloads = envoy.stat(RELOADED).await;
    let output = run(envoy, words);
    assert!(output.status.success(), "{output:?}");
    envoy.wait_for_stat(RELOADED, reloads + 1).await;
    String::from_utf8(output.stdout).expect("a text")
}

async fn status(envoy: &Envoy, key: &str) -> u16 {
    let mut client = envoy.connect(Version::H1).await;
    let response = client.send(bearer(get(GUARDED), key)).await;
    response.expect("a response").status.as_u16()
}

#[tokio::test]
async fn envoy_takes_a_new_key_and_a_disabled_one_without_a_restart() {
    let (_upstream, envoy) = start().await;
    let pid = envoy.pid();
    let printed = change(
        &envoy,
        "new --id ann --budget day=200000 --models *-low --into FILE",
    )
    .await;
    let key = printed
        .lines()
        .find_map(|line| line.strip_prefix("key     "))
        .expect("the key is printed");
    assert_eq!(status(&envoy, key).await, 200);
    let refused = run(&envoy, "new --id ann --into FILE");
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(error.contains("another key has this id"), "{error}");
    assert_eq!(status(&envoy, key).await, 200);
    change(&envoy, "disable --id ann --into FILE").await;
    assert_eq!(status(&envoy, key).await, 401);
    let listed = run(&envoy, "list FILE").stdout;
    let expected = "ann  budget=day=200000  models=*-low  disabled\n";
    assert_eq!(String::from_utf8_lossy(&listed), expected);
    assert_eq!(envoy.pid(), pid);
}
