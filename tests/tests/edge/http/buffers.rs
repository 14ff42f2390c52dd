//! Memory that Envoy uses for a peer that does not read, on either side.
//! Follows Envoy's flow control; the gauges count the bytes that Envoy buffers.

use std::time::Duration;

use tests::envoy::Envoy;
use tests::http::{DEADLINE, Version, bearer, post};
use tests::upstream::Behavior;
use tokio::time::{sleep, timeout};

use crate::stack::{KEY, chat, start_with};

/// Length of a response that does not fit into the socket buffers between client and upstream.
const LARGE_BYTES: usize = 64 << 20;
/// Limit for the gauges. The buffer limits are 64 KiB, and Envoy reads in chunks; Envoy's default limits are 1 MiB.
const BOUND_BYTES: u64 = 256 << 10;

#[tokio::test]
async fn slow_client_occupies_a_bounded_buffer() {
    for version in [Version::H1, Version::H2] {
        let (_upstream, envoy) = start_with(Behavior::Octets(LARGE_BYTES), |options| options).await;
        let mut stream = envoy.connect(version).await.stream(chat()).await.unwrap();
        let mut read = stream.next().await.unwrap().unwrap().data.len();
        let received = settled(&envoy, "cluster.sidecar.upstream_cx_rx_bytes_total").await;
        assert!(
            received < LARGE_BYTES as u64,
            "{received} bytes were read although the client does not read"
        );
        let buffered = envoy
            .stat("http.public.downstream_cx_tx_bytes_buffered")
            .await
            + envoy
                .stat("cluster.sidecar.upstream_cx_rx_bytes_buffered")
                .await;
        assert!(
            (1..BOUND_BYTES).contains(&buffered),
            "{version:?}: {buffered} bytes buffered"
        );
        while let Some(chunk) = stream.next().await.unwrap() {
            read += chunk.data.len();
        }
        assert_eq!(read, LARGE_BYTES);
    }
}

#[tokio::test]
async fn slow_upstream_occupies_a_bounded_buffer() {
    let (_upstream, envoy) = start_with(Behavior::NeverRead, |options| options).await;
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
        buffered = measured => {
            assert!((1..BOUND_BYTES).contains(&buffered), "{buffered} bytes buffered");
        }
        response = upload => panic!("a response although the upstream does not read: {response:?}"),
    }
}

/// Returns the value of the counter `name` once it has stopped growing.
async fn settled(envoy: &Envoy, name: &str) -> u64 {
    let unchanged = async {
        let mut previous = 0;
        loop {
            sleep(Duration::from_millis(200)).await;
            let value = envoy.stat(name).await;
            if value == previous {
                return value;
            }
            previous = value;
        }
    };
    timeout(DEADLINE, unchanged)
        .await
        .expect("Envoy stops reading")
}
