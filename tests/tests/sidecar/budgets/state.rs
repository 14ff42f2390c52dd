//! The ledger's file: under SIGKILL, and on a full disk.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::http::{Client, get};
use tests::redis::Redis;
use tests::sidecar::{Sidecar, sidecar_binary};
use tests::sse::{self, Events};
use tokio::time::{sleep, timeout};

use super::fixture::{limits, of_ann, send};
use crate::stack::{assert_error, chat, content, start, start_with};

/// Number of times that the sidecar is killed.
const KILLS: u64 = 100;

/// The last kills happen while the budget runs out.
const LAST_KILLS: u64 = 10;

/// Number of kills with Redis as the store, which `end_to_end` kills too.
const REDIS_KILLS: u64 = 15;

/// The variable with the seed of the moments; random by default.
const SEED: &str = "CODEX_EDGE_TEST_SEED";

const STREAMS: usize = 8;

/// Characters of a token, until a turn has taught otherwise. No turn of these tests ends by itself, and teaches.
const CHARS: u64 = 4;

/// Returns the seed of the variable, or a random one.
fn seed() -> u64 {
    match std::env::var(SEED) {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => fastrand::u64(..1 << 32),
    }
}

#[tokio::test]
async fn sigkill_at_random_moments_forgets_no_token_and_grants_no_more_than_the_budget() {
    const TOKENS: u64 = 4000;
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    // A new sidecar is ready sooner without threads that wait for requests.
    let (_model, mut sidecar) = start_with(|options| options.env("PROXY_WARM_THREADS", "0")).await;
    let (mut delivered, mut budget) = (0, "day.output=10000000".to_owned());
    let mut last = None;
    for round in 0..KILLS {
        if round == KILLS - LAST_KILLS {
            let spent = spent(&sidecar, &budget).await;
            budget = format!("day.output={}", spent + TOKENS);
            last = Some(delivered);
        }
        delivered += killed_under_load(&mut sidecar, &budget, &mut rng).await;
        sidecar.restart();
        sidecar.wait_until_ready().await;
        let at = format!("{SEED}={seed}, kill {round}");
        let limit = limits(&sidecar, &budget).await[0].take();
        let spent = limit["spent"].as_u64().expect("a number");
        assert!(spent >= delivered / CHARS, "{at}: {delivered} {limit}");
        assert_eq!(limit["reserved"], 0, "{at}: {limit}");
        // At most the slices that were granted ahead are lost for the key, and the room of its allocation; the slices of a
        // fast stream grow with what it writes.
        let ahead = delivered / CHARS * 5 / 2 + (round + 1) * (STREAMS as u64 * 2 * 256 + 2 * 8192);
        let most = delivered / CHARS + ahead;
        assert!(spent <= most, "{at}: {delivered} {limit}");
    }
    delivered += Reading::All.read(&sidecar, &script(), &budget).await;
    let granted = (delivered - last.expect("there were kills")) / CHARS;
    assert!(granted <= TOKENS * 102 / 100, "{SEED}={seed}: {granted}");
    let request = of_ann(chat(&script(), &json!({})), &budget);
    assert_eq!(send(&sidecar, request).await.status, 429, "{SEED}={seed}");
}

#[tokio::test]
async fn sigkill_with_redis_as_the_store_grants_no_more_than_the_budget() {
    const TOKENS: u64 = 20_000;
    const BUDGET: &str = "day.output=20000";
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let redis = Redis::start().await;
    let (_model, mut sidecar) = start_with(|options| {
        let options = options.env("PROXY_STATE", &redis.address());
        options.env("PROXY_CONVERSATION_SECRET", "one for all")
    })
    .await;
    let mut delivered = 0;
    for round in 0..REDIS_KILLS {
        delivered += killed_under_load(&mut sidecar, BUDGET, &mut rng).await;
        sidecar.restart();
        sidecar.wait_until_ready().await;
        let limit = limits(&sidecar, BUDGET).await[0].take();
        // The reservations of the killed process are spent when its lease ends.
        let counted = limit["spent"].as_u64().zip(limit["reserved"].as_u64());
        let counted = counted.map(|(spent, reserved)| spent + reserved);
        let at = format!("{SEED}={seed}, kill {round}");
        assert!(
            counted >= Some(delivered / CHARS),
            "{at}: {delivered} {limit}"
        );
    }
    delivered += Reading::All.read(&sidecar, &script(), BUDGET).await;
    let granted = delivered / CHARS;
    assert!(granted <= TOKENS * 102 / 100, "{SEED}={seed}: {granted}");
}

/// Returns the tokens that the key has spent.
async fn spent(sidecar: &Sidecar, budget: &str) -> u64 {
    let limit = limits(sidecar, budget).await[0].take();
    limit["spent"].as_u64().expect("a number")
}

/// Kills the sidecar at a random moment after the start of some streams, of which some end before: their clients leave.
/// Returns the characters that the clients have received.
async fn killed_under_load(sidecar: &mut Sidecar, budget: &str, rng: &mut Rng) -> u64 {
    let moment = Duration::from_millis(rng.u64(..800));
    let readings: Vec<_> = (0..STREAMS).map(|_| Reading::random(rng)).collect();
    let running = &*sidecar;
    let script = script();
    let streams = readings
        .iter()
        .map(|reading| reading.read(running, &script, budget));
    let killed = async {
        sleep(moment).await;
        running.signal(Signal::SIGKILL);
    };
    let (received, ()) = tokio::join!(join_all(streams), killed);
    sidecar.wait().await;
    received.into_iter().sum()
}

/// A text that is longer than a round.
fn script() -> Value {
    json!([{"text": "0123456789".repeat(2000), "delta_chars": 20, "delay_ms": 1}])
}

/// The part of a stream that its client reads before it leaves.
enum Reading {
    All,
    Characters(u64),
}

impl Reading {
    fn random(rng: &mut Rng) -> Self {
        match rng.bool() {
            true => Self::All,
            false => Self::Characters(rng.u64(1..2000)),
        }
    }

    /// Returns the characters that arrive before the client leaves, or the stream ends or breaks.
    async fn read(&self, sidecar: &Sidecar, script: &Value, budget: &str) -> u64 {
        let Ok(mut client) = Client::connect_unix(&sidecar.socket()).await else {
            return 0;
        };
        let request = of_ann(chat(script, &json!({"stream": true})), budget);
        let stream = match client.stream(request).await {
            Ok(stream) if stream.status == 200 => stream,
            Ok(_) | Err(_) => return 0,
        };
        let (mut events, mut characters) = (Events::new(stream), 0);
        while let Ok(Some(event)) = events.next().await {
            if event.contains("\"delta\"") {
                characters += content(&sse::json(&event)).len() as u64;
            }
            if matches!(self, Self::Characters(most) if characters >= *most) {
                break;
            }
        }
        characters
    }
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
    // Nothing waits for a write any more.
    sleep(Duration::from_millis(500)).await;
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
    let reachable = async || {
        let health = send(&sidecar, get("/healthz")).await.json();
        health["state"]["reachable"].clone()
    };
    sleep(Duration::from_secs(3)).await;
    assert_eq!(reachable().await, false, "also after further attempts");
    let spent = async || limits(&sidecar, BUDGET).await[0]["spent"].take();
    let before = spent().await;
    drop(file);
    fs::remove_file(filler).expect("the file is ours");
    assert_eq!(ask(Some(BUDGET)).await.status, 200);
    assert_eq!(reachable().await, true);
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
    let delivered = Reading::All.read(&sidecar, &long, &budget).await;
    assert!((1900..2300).contains(&delivered), "{delivered}");
}
