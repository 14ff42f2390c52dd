//! Event streams: Envoy forwards each event as it arrives, and the end of a stream on one side ends the other side.
//! Follows server-sent events (WHATWG HTML, section 9.2).

use std::time::Duration;

use tests::http::{DEADLINE, Version};
use tests::upstream::Behavior;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::stack::{chat, start_with};

const EVERY: Duration = Duration::from_millis(200);

#[tokio::test]
async fn events_are_forwarded_as_they_arrive() {
    let (_upstream, envoy) = start_with(
        Behavior::Events {
            count: 5,
            every: EVERY,
        },
        |options| options,
    )
    .await;
    for version in [Version::H1, Version::H2] {
        let mut stream = envoy.connect(version).await.stream(chat()).await.unwrap();
        let mut arrivals = Vec::new();
        while let Some(chunk) = stream.next().await.unwrap() {
            assert_eq!(
                chunk.data,
                format!("data: {}\n\n", arrivals.len()),
                "{version:?}"
            );
            arrivals.push(chunk.at);
        }
        assert_eq!(arrivals.len(), 5, "{version:?}");
        for pair in arrivals.windows(2) {
            assert!(
                pair[1] - pair[0] > EVERY / 2,
                "{version:?}: events were batched"
            );
        }
    }
}

#[tokio::test]
async fn client_disconnect_aborts_the_upstream_stream() {
    let endless = Behavior::Events {
        count: usize::MAX,
        every: Duration::from_millis(20),
    };
    let (upstream, envoy) = start_with(endless, |options| options).await;
    for (previous, version) in [Version::H1, Version::H2].into_iter().enumerate() {
        let mut client = envoy.connect(version).await;
        let mut stream = client.stream(chat()).await.unwrap();
        stream.next().await.unwrap().unwrap();
        drop((stream, client));
        let aborted = async {
            while upstream.aborted_streams() <= previous {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(1), aborted)
            .await
            .expect("the upstream stream is aborted within a second");
    }
    let entry = envoy
        .access_log_entry(|entry| entry["details"] == "downstream_remote_disconnect")
        .await;
    assert_eq!(entry["client"], "default");
}

#[tokio::test]
async fn drain_lets_a_running_stream_finish() {
    let events = Behavior::Events {
        count: 10,
        every: Duration::from_millis(100),
    };
    let (_upstream, envoy) = start_with(events, |options| options).await;
    let mut stream = envoy
        .connect(Version::H1)
        .await
        .stream(chat())
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    let drained = envoy
        .admin_post("/drain_listeners?graceful&skip_exit")
        .await;
    assert_eq!(drained.body, "OK\n");
    assert_eq!(envoy.stat("http.public.downstream_rq_active").await, 1);
    let rest = timeout(DEADLINE, stream.collect()).await.unwrap().unwrap();
    assert!(rest.body.ends_with(b"data: 9\n\n"));
}

/// The behaviour for which `envoy.yaml` recommends a drain before a stop.
#[tokio::test]
async fn stop_without_drain_aborts_streams_and_closes_the_listener() {
    let endless = Behavior::Events {
        count: usize::MAX,
        every: Duration::from_millis(20),
    };
    let (_upstream, envoy) = start_with(endless, |options| options).await;
    let address = envoy.address();
    let mut client = envoy.connect(Version::H1).await;
    let mut stream = client.stream(chat()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    envoy.stop().await;
    assert!(stream.collect().await.is_err());
    assert!(TcpStream::connect(address).await.is_err());
}
