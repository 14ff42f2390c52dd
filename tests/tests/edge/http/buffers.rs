//! What a slow reader costs: little, on either side of Envoy.
//! Follows Envoy's flow control; the gauges count octets that Envoy holds.

use std::time::Duration;

use tests::envoy::Envoy;
use tests::http::{DEADLINE, Version, bearer, post};
use tests::upstream::Script;
use tokio::time::{sleep, timeout};

use crate::stack::{KEY, chat, start_with};

/// More than all sockets on the way hold together.
const LARGE: usize = 64 << 20;
/// Both limits are 64 KiB, and Envoy reads in pieces; its defaults are 1 MiB.
const BOUND: u64 = 256 << 10;

#[tokio::test]
async fn slow_client_occupies_a_bounded_buffer() {
    for version in [Version::H1, Version::H2] {
        let (_upstream, envoy) = start_with(Script::Octets(LARGE), |options| options).await;
        let mut stream = envoy.connect(version).await.stream(chat()).await.unwrap();
        let mut read = stream.next().await.unwrap().unwrap().data.len();
        let received = settled(&envoy, "cluster.sidecar.upstream_cx_rx_bytes_total").await;
        assert!(
            received < LARGE as u64,
            "{received} octets were read for nobody"
        );
        let held = envoy
            .stat("http.public.downstream_cx_tx_bytes_buffered")
            .await
            + envoy
                .stat("cluster.sidecar.upstream_cx_rx_bytes_buffered")
                .await;
        assert!(
            (1..BOUND).contains(&held),
            "{version:?}: {held} octets held"
        );
        while let Some(piece) = stream.next().await.unwrap() {
            read += piece.data.len();
        }
        assert_eq!(read, LARGE);
    }
}

#[tokio::test]
async fn slow_upstream_occupies_a_bounded_buffer() {
    let (_upstream, envoy) = start_with(Script::Deafness, |options| options).await;
    let mut client = envoy.connect(Version::H1).await;
    let upload = client.stream(bearer(post("/v1/other", vec![b' '; 8 << 20]), KEY));
    let measured = async {
        envoy
            .wait_for_stat("cluster.sidecar.upstream_cx_tx_bytes_total", 1)
            .await;
        settled(&envoy, "http.public.downstream_cx_rx_bytes_total").await;
        envoy
            .stat("cluster.sidecar.upstream_cx_tx_bytes_buffered")
            .await
    };
    tokio::select! {
        held = measured => assert!((1..BOUND).contains(&held), "{held} octets held"),
        answer = upload => panic!("an answer from nobody: {answer:?}"),
    }
}

/// The value of the counter `name` when it does not grow any more.
async fn settled(envoy: &Envoy, name: &str) -> u64 {
    let settled = async {
        let mut before = 0;
        loop {
            sleep(Duration::from_millis(200)).await;
            let now = envoy.stat(name).await;
            if now == before {
                return now;
            }
            before = now;
        }
    };
    timeout(DEADLINE, settled)
        .await
        .expect("Envoy stops reading")
}
