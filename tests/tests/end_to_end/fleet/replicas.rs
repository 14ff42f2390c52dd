//! One budget, and responses that every replica knows; with a Redis that is killed or hangs.

use std::sync::Arc;

use http::Method;
use nix::sys::signal::Signal;
use serde_json::json;
use tests::http::{Version, empty, get};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};

use super::fixture::{
    CHARS, DEADLINE, Fleet, TOKENS, chat, create, delivered, keyed, retrieve, scripted,
};

#[tokio::test(flavor = "multi_thread")]
async fn parallel_streams_over_two_replicas_deliver_no_more_than_one_budget() {
    let fleet = Arc::new(Fleet::start().await);
    let mut streams = JoinSet::new();
    for stream in 0..64 {
        let fleet = Arc::clone(&fleet);
        streams.spawn(async move { fleet.send(stream % 2, chat("ann", 2000)).await });
    }
    let mut chars = 0;
    for response in streams.join_all().await {
        match response.status.as_u16() {
            200 => chars += delivered(&response).0,
            // Nothing was left, or all of it was promised.
            429 => {}
            _ => panic!("{response:?}"),
        }
    }
    let tokens = chars / CHARS;
    assert!(
        tokens <= TOKENS + TOKENS / 50,
        "{tokens} tokens of {TOKENS}"
    );
    assert!(tokens >= TOKENS / 2, "{tokens} tokens of {TOKENS}");
    // One more on each replica, whatever was left, ends or is refused; then both Envoys refuse.
    for replica in [0, 1] {
        let refused = async {
            while fleet
                .send(replica, chat("ann", TOKENS * CHARS))
                .await
                .status
                != 429
            {}
        };
        timeout(DEADLINE, refused)
            .await
            .expect("the budget is spent");
        let limit = fleet.limit(replica).await;
        assert_eq!(limit["remaining"], 0, "{limit}");
    }
    let other = fleet.send(0, chat("bob", 10)).await;
    assert_eq!(delivered(&other), (10, "stop".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn response_of_one_replica_is_continued_on_another_and_deleted_for_both() {
    let fleet = Fleet::start().await;
    let first = fleet.send(0, create("bob", "One.", None)).await.json();
    let id = first["id"].as_str().expect("an id").to_owned();
    let continued = fleet.send(1, create("bob", "Two.", Some(&id))).await;
    assert_eq!(continued.status, 200, "{continued:?}");
    let second = continued.json();
    assert_eq!(second["previous_response_id"], first["id"]);
    let later = second["id"].as_str().expect("an id").to_owned();
    for replica in [0, 1] {
        for id in [&id, &later] {
            let found = fleet.send(replica, retrieve("bob", id)).await;
            assert_eq!(found.status, 200, "{found:?}");
            let other = fleet.send(replica, retrieve("eve", id)).await;
            assert_eq!(other.status, 404, "a client sees only its own");
        }
    }
    let refused = fleet.send(1, create("eve", "Mine.", Some(&id))).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    // Each replica has served one of the two turns; a third was rejected for its body.
    for replica in [0, 1] {
        let usage = fleet
            .send(replica, keyed(get("/v1/usage?group=day"), "bob"))
            .await
            .json();
        assert_eq!(usage["requests"], 2, "{usage}");
        assert_eq!(usage["buckets"][0]["requests"], 2, "{usage}");
    }
    let delete = empty(Method::DELETE, &format!("/v1/responses/{id}"));
    assert_eq!(fleet.send(0, keyed(delete, "bob")).await.status, 200);
    for replica in [0, 1] {
        let gone = fleet.send(replica, retrieve("bob", &id)).await;
        assert_eq!(gone.status, 404, "{gone:?}");
        let again = fleet.send(replica, create("bob", "No.", Some(&id))).await;
        assert_eq!(again.status, 400, "{again:?}");
        let kept = fleet
            .send(replica, create("bob", "Yes.", Some(&later)))
            .await;
        assert_eq!(
            kept.status, 200,
            "the conversation keeps the deleted part: {kept:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_is_killed_or_hangs_refuses_keys_with_a_budget_and_serves_others() {
    let mut fleet = Fleet::start().await;
    let spend = chat("ann", 400);
    assert_eq!(fleet.send(0, spend).await.status, 200);
    let spent = async |fleet: &Fleet| fleet.limit(1).await["spent"].take();
    let before = spent(&fleet).await;
    assert!(before.as_u64().is_some_and(|tokens| tokens > 0), "{before}");
    for is_killed in [true, false] {
        if is_killed {
            fleet.redis.kill().await;
        } else {
            fleet.redis.signal(Signal::SIGSTOP);
        }
        for replica in [0, 1] {
            let refused = fleet.send(replica, chat("ann", 10)).await;
            assert_eq!(refused.status, 503, "{refused:?}");
            let error = &refused.json()["error"];
            assert_eq!(error["code"], "budget_unavailable");
            assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
            let unknown = fleet.send(replica, retrieve("bob", "resp_unknown")).await;
            assert_eq!(unknown.status, 503, "{unknown:?}");
            assert_eq!(unknown.json()["error"]["code"], "state_unavailable");
            let served = fleet.send(replica, chat("bob", 10)).await;
            assert_eq!(delivered(&served), (10, "stop".to_owned()), "{served:?}");
        }
        if is_killed {
            fleet.redis.restart().await;
        } else {
            fleet.redis.signal(Signal::SIGCONT);
        }
        for replica in [0, 1] {
            let open = async {
                while fleet.send(replica, chat("ann", 10)).await.status != 200 {
                    sleep(Duration::from_millis(100)).await;
                }
            };
            timeout(DEADLINE, open)
                .await
                .expect("the sidecar connects again");
        }
        assert!(
            spent(&fleet).await.as_u64() > before.as_u64(),
            "nothing is forgotten"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_sidecar_leaves_its_reservation_spent() {
    let mut fleet = Fleet::start().await;
    let script = json!([{"text": "0123456789".repeat(10)}, {"hold": "open"}]);
    let request = scripted("ann", &script);
    let mut client = fleet.replicas[0].envoy.connect(Version::H1).await;
    let _stream = client.stream(request).await.expect("a response");
    let limit = async |fleet: &Fleet| {
        let limit = fleet.limit(1).await;
        (limit["spent"].as_u64(), limit["reserved"].as_u64())
    };
    let (_, held) = limit(&fleet).await;
    assert!(held > Some(0));
    fleet.replicas[0].sidecar.signal(Signal::SIGKILL);
    fleet.replicas[0].sidecar.wait().await;
    let counted = async {
        while limit(&fleet).await != (held, Some(0)) {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(DEADLINE, counted).await.expect("the lease ends");
}
