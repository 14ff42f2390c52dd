//! The memory limit of a child, `CODEX_CHILD_MAX_MIB`.

use std::fs;
use std::io::Cursor;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{GrayImage, ImageFormat};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tests::http::{BufferedResponse, get, post};
use tests::sidecar::Sidecar;
use tests::sse;
use tokio::time::{sleep, timeout};
use xtask::tools::Tool;

use crate::stack::{SOON, ask, assert_error, start_codex, stream};

/// Sends a chat with an image of this size.
async fn look(sidecar: &Sidecar, width: u32, height: u32) -> BufferedResponse {
    let mut bytes = Cursor::new(Vec::new());
    let picture = GrayImage::new(width, height);
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .expect("PNG can be written");
    let url = format!(
        "data:image/png;base64,{}",
        STANDARD.encode(bytes.into_inner())
    );
    let content = json!([
        {"type": "text", "text": "[[model:{\"text\":\"Seen.\"}]]"},
        {"type": "image_url", "image_url": {"url": url}},
    ]);
    let body = json!({"model": "codex-5", "messages": [{"role": "user", "content": content}]});
    let mut client = sidecar.connect().await;
    let response = client
        .send(post("/v1/chat/completions", body.to_string()))
        .await;
    response.expect("a response arrives")
}

/// Waits until this number of turns runs.
async fn wait_for_turns(sidecar: &Sidecar, turns: u64) {
    let running = async || {
        let mut client = sidecar.connect().await;
        let response = client.send(get("/__test/conc")).await;
        response.expect("a response arrives").json()["conc"].as_u64()
    };
    let wait = async {
        while running().await != Some(turns) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, wait).await.expect("the turns are admitted");
}

/// Attempts to end a child with an image. At its memory limit the child may fail to start a thread instead.
const ATTEMPTS: usize = 5;

#[tokio::test]
async fn child_over_its_memory_limit_fails_the_turn_that_took_it() {
    for codex in [Tool::Codex, Tool::CodexOldest] {
        let mut attempts = 1;
        while !child_ends_of_an_image(codex).await {
            assert!(attempts < ATTEMPTS, "no image ended a child of {codex:?}");
            attempts += 1;
        }
    }
}

/// Sends two images to a child that can hold one. Returns false if the child has not ended of the larger one.
async fn child_ends_of_an_image(codex: Tool) -> bool {
    let (model, mut sidecar) = start_codex(codex, |options| {
        options
            .env("CODEX_CHILD_MAX_MIB", "460")
            .env("PROXY_IDLE_TIMEOUT_MS", "60000")
            .env("PROXY_TEST_ENDPOINTS", "true")
    })
    .await;
    let held = json!([{"text": "old", "open": true}, {"hold": "end"}, {"text": "est"}]);
    let mut running = stream(&sidecar, held).await;
    running.next_json().await;
    // Stopped, so that the child has both turns before it decodes an image, in either order.
    let child = Pid::from_raw(sidecar.children()[0]);
    kill(child, Signal::SIGSTOP).expect("the child runs");
    let (over, under, ()) = tokio::join!(
        look(&sidecar, 8_160, 6_144),
        async {
            wait_for_turns(&sidecar, 2).await;
            look(&sidecar, 3_000, 3_000).await
        },
        async {
            wait_for_turns(&sidecar, 3).await;
            kill(child, Signal::SIGCONT).expect("the child runs");
        },
    );
    // The limit holds for the stacks of new threads too. A thread that cannot start fails the turn, and the child lives on.
    if over.status == 502 && sidecar.log().contains("Resource temporarily unavailable") {
        return false;
    }
    assert_error(&over, 413, "out_of_memory");
    assert_eq!(over.headers["x-should-retry"], "false");
    let message: Value = over.json()["error"]["message"].take();
    assert!(
        message
            .as_str()
            .expect("a text")
            .contains("CODEX_CHILD_MAX_MIB"),
        "{message}"
    );
    // A turn that waited for the larger image begins again on the next child. Codex decides on the order of the two; a
    // turn that came first was told to ask the model, which cannot be asked for a second time, and the child may have
    // ended before it did. Or the child ended between the two images, and the sidecar still took this one for the cause.
    if under.status == 413 {
        assert_error(&under, 413, "out_of_memory");
    } else if under.status != 200 {
        assert_error(&under, 502, "codex_failed");
        let asked = model.requests().len();
        assert!(
            (1..=2).contains(&asked),
            "the held turn, and this one: {asked}"
        );
    }
    // The model has begun its answer, which cannot be asked for a second time.
    let events = running.rest().await.expect("the stream ends");
    let last = sse::json(events.last().expect("the stream has an error event"));
    assert_eq!(last["error"]["code"], "codex_failed");
    sidecar.wait_until_ready().await;
    let after = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
    assert_eq!(after.status, 200, "{after:?}");
    assert!(
        sidecar
            .log()
            .contains("codex child exceeded its memory limit"),
        "{}",
        sidecar.log()
    );
    true
}

#[tokio::test]
async fn memory_of_each_kind_of_child_is_limited_unless_switched_off() {
    for codex in [Tool::Codex, Tool::CodexProto] {
        for (mib, bytes) in [("", "2147483648"), ("300", "314572800"), ("0", "unlimited")] {
            let (_model, sidecar) =
                start_codex(codex, |options| options.env("CODEX_CHILD_MAX_MIB", mib)).await;
            let pid = sidecar.children()[0];
            let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
            let line = limits
                .lines()
                .find(|line| line.starts_with("Max data size"));
            let fields: Vec<_> = line.unwrap().split_whitespace().collect();
            assert_eq!(fields[3..5], [bytes, bytes], "{limits}");
        }
    }
}
