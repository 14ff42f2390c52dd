//! The ledger's file: under SIGKILL, and on a full disk.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::sidecar::{Sidecar, sidecar_binary};
use tests::sse::{self, Events};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::fixture::{limits, of_ann, send};
use crate::stack::{assert_error, chat, content, start, start_with};

/// Moments at which the sidecar is killed, from the first text of a round on.
const KILLS: u64 = 20;

#[tokio::test]
async fn sigkill_under_load_forgets_no_token_that_a_client_has_received() {
    const STREAMS: usize = 8;
    const BUDGET: &str = "day.output=1000000";
    let (_model, mut sidecar) = start().await;
    let script = json!([{"text": "0123456789".repeat(2000), "delta_chars": 20}]);
    let mut delivered = 0;
    for round in 0..KILLS {
        let first_text = Notify::new();
        let streams = (0..STREAMS).map(|_| received(&sidecar, &script, BUDGET, &first_text));
        // Spread over the first 400 ms, in no order.
        let moment = Duration::from_millis(round * 7919 % 400);
        let killed = async {
            first_text.notified().await;
            sleep(moment).await;
            sidecar.signal(Signal::SIGKILL);
        };
        let (received, ()) = tokio::join!(join_all(streams), killed);
        delivered += received.into_iter().sum::<usize>();
        sidecar.wait().await;
        sidecar.restart();
        sidecar.wait_until_ready().await;
        let spent = limits(&sidecar, BUDGET).await[0].take();
        let tokens = spent["spent"].as_u64().expect("a number");
        assert!(tokens >= (delivered / 4) as u64, "{delivered} {spent}");
        assert_eq!(spent["reserved"], 0, "{spent}");
        // At most the slices that were granted ahead are lost for the key.
        let most = (delivered / 4) as u64 + (round + 1) * STREAMS as u64 * 2 * 256;
        assert!(tokens <= most, "{delivered} {spent}");
    }
    let spent = limits(&sidecar, BUDGET).await[0]["spent"].take();
    let raised = format!("day.output={}", spent.as_u64().expect("a number") + 500);
    let last = received(&sidecar, &script, &raised, &Notify::new()).await;
    assert_eq!(last, 500 * 4);
}

/// Returns the characters of a stream that arrive before it ends or breaks.
async fn received(sidecar: &Sidecar, script: &Value, budget: &str, first_text: &Notify) -> usize {
    let mut client = sidecar.connect().await;
    let request = of_ann(chat(script, &json!({"stream": true})), budget);
    let Ok(stream) = client.stream(request).await else {
        return 0;
    };
    if stream.status != 200 {
        return 0;
    }
    let (mut events, mut characters) = (Events::new(stream), 0);
    while let Ok(Some(event)) = events.next().await {
        if event.contains("\"delta\"") {
            characters += content(&sse::json(&event)).len();
            first_text.notify_one();
        }
    }
    characters
}

#[tokio::test]
async fn full_disk_rejects_keys_with_a_budget_until_there_is_room() {
    const BUDGET: &str = "day.output=100000";
    let folder = TempDir::new().expect("the temporary folder is writable");
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("the folder is writable");
    let program = folder.path().join("sidecar-on-a-small-disk");
    // A disk of its own, which only this sidecar sees.
    let script = format!(
        "#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c 'mount -t tmpfs -o size=1m tmpfs {disk} && exec {sidecar} \"$@\"' sh \"$@\"\n",
        disk = disk.display(),
        sidecar = sidecar_binary().display(),
    );
    fs::write(&program, script).expect("the folder is writable");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("the file is ours");
    let state = format!("sqlite:{}", disk.join("state.sqlite3").display());
    let (_model, sidecar) =
        start_with(|options| options.program(program).env("PROXY_STATE", &state)).await;
    let ask = async |budget: Option<&str>| {
        let request = chat(&json!([{"text": "Hi."}]), &json!({}));
        let request = match budget {
            Some(budget) => of_ann(request, budget),
            None => request,
        };
        send(&sidecar, request).await
    };
    assert_eq!(ask(Some(BUDGET)).await.status, 200);
    let filler = PathBuf::from(format!("/proc/{}/root", sidecar.pid()))
        .join(disk.strip_prefix("/").expect("an absolute path"))
        .join("filler");
    let mut file = File::create(&filler).expect("the disk of the sidecar is seen here");
    while file.write_all(&[0; 4096]).is_ok() {}
    // The write-ahead log may have room left for a few changes.
    let rejected = async {
        loop {
            let response = ask(Some(BUDGET)).await;
            if response.status != 200 {
                return response;
            }
        }
    };
    let rejected = timeout(Duration::from_secs(60), rejected)
        .await
        .expect("the disk is full");
    assert_error(&rejected, 503, "budget_unavailable");
    assert_eq!(rejected.header("retry-after"), "5");
    assert_eq!(ask(None).await.status, 200, "no budget, no ledger");
    let spent = async || limits(&sidecar, BUDGET).await[0]["spent"].take();
    let before = spent().await;
    drop(file);
    fs::remove_file(filler).expect("the file is ours");
    assert_eq!(ask(Some(BUDGET)).await.status, 200);
    let after = spent().await;
    assert!(after.as_u64() > before.as_u64(), "{before} {after}");
}

#[tokio::test]
async fn characters_of_a_token_are_remembered_over_sigkill() {
    const ROUNDS: u64 = 40;
    let (_model, mut sidecar) = start().await;
    // Two characters a token, unlike the four of a sidecar that has learned nothing.
    let text = "0123456789".repeat(100);
    let script = json!([{"text": text}, {"usage": {"input_tokens": 10, "output_tokens": 500}}]);
    for _ in 0..ROUNDS {
        let request = of_ann(chat(&script, &json!({})), "day.output=1000000");
        assert_eq!(send(&sidecar, request).await.status, 200);
    }
    sleep(Duration::from_secs(1)).await; // The last second may be lost.
    sidecar.signal(Signal::SIGKILL);
    sidecar.wait().await;
    sidecar.restart();
    sidecar.wait_until_ready().await;
    let long = json!([{"text": "0123456789".repeat(2000), "delta_chars": 10}]);
    let budget = format!("day.output={}", ROUNDS * 500 + 1000);
    let delivered = received(&sidecar, &long, &budget, &Notify::new()).await;
    assert!((1900..2300).contains(&delivered), "{delivered}");
}
