//! The network between one sidecar and Redis is cut: the kernel drops the packets.

use serde_json::json;
use tests::http::{Version, get};
use tests::sse::{self, Events};
use tokio::time::{Duration, sleep, timeout};

use super::fixture::{CHARS, DEADLINE, Fleet, TOKENS, chat, delivered, scripted};

#[tokio::test(flavor = "multi_thread")]
async fn replica_without_redis_refuses_keys_with_a_budget_until_its_network_is_back() {
    let fleet = Fleet::start().await;
    let [first, _] = &fleet.replicas;
    // A stream that needs a second slice of the budget while the network is cut.
    let script = json!([{"text": "0123456789".repeat(1000), "delta_chars": 10, "delay_ms": 10}]);
    let request = scripted("ann", &script);
    let mut client = first.envoy.connect(Version::H1).await;
    let mut events = Events::new(client.stream(request).await.expect("a response"));
    let mut chars = 0;
    let mut read = async |is_enough: fn(usize) -> bool| {
        let mut last = String::new();
        while !is_enough(chars)
            && let Some(event) = events.next().await.expect("a stream")
        {
            if event.contains("\"content\"") {
                let text = &sse::json(&event)["choices"][0]["delta"]["content"];
                chars += text.as_str().map_or(0, str::len);
            }
            last = event;
        }
        (chars, last)
    };
    let (before, _) = read(|chars| chars > 0).await;
    first.network.cut();
    let rest = timeout(DEADLINE, read(|_| false)).await;
    let (all, last) = rest.expect("the stream ends");
    assert!(last.contains("budget_unavailable"), "{last}");
    assert!((before..=256 * CHARS).contains(&all), "{before} {all}");

    for _ in 0..3 {
        let refused = fleet.send(0, chat("ann", 10)).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(refused.json()["error"]["code"], "budget_unavailable");
        assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
        let other = fleet.send(0, chat("bob", 10)).await;
        assert_eq!(delivered(&other), (10, "stop".to_owned()));
    }
    let health = fleet.send(0, get("/healthz")).await.json();
    assert_eq!(health["state"]["reachable"], false, "{health}");
    // The other replica has its network, and spends what is left.
    let mut total = all;
    let spend = async |replica| {
        let response = fleet.send(replica, chat("ann", 1000)).await;
        (response.status.as_u16(), delivered(&response).0)
    };
    let (status, chars) = spend(1).await;
    assert_eq!(status, 200);
    total += chars;

    first.network.mend();
    let back = async {
        loop {
            let (status, chars) = spend(0).await;
            if status == 200 {
                break chars;
            }
            assert_eq!(status, 503);
            sleep(Duration::from_millis(100)).await;
        }
    };
    total += timeout(DEADLINE, back)
        .await
        .expect("the sidecar connects again");
    let limit = fleet.limit(1).await;
    let number = |name: &str| limit[name].as_u64().expect("a number");
    let counted = number("spent") + number("reserved");
    assert!(counted >= (total / CHARS) as u64, "{limit} {total}");
    for replica in [0, 1, 0, 1] {
        let refused = async {
            loop {
                match spend(replica).await {
                    (200, chars) => total += chars,
                    (status, _) => break status,
                }
            }
        };
        let status = timeout(DEADLINE, refused).await.expect("the budget ends");
        assert_eq!(status, 429);
    }
    let tokens = total / CHARS;
    assert!(tokens <= TOKENS + TOKENS / 50, "{tokens} of {TOKENS}");
    assert!(tokens >= TOKENS * 9 / 10, "{tokens} of {TOKENS}");
}
