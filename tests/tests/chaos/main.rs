//! A short chaos run and a short soak with fixed seeds; `cargo xtask chaos` and `cargo xtask soak` are the long ones.

use std::time::Duration;

use tokio::sync::Mutex;

/// Serializes the tests: each checks all processes that descend from this one.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn twenty_faults_under_load_violate_no_invariant() {
    let _alone = ALONE.lock().await;
    let report = tests::chaos::run(20, 1).await;
    assert!(report.violations().is_empty(), "{report}");
    assert_eq!(report.faults(), 20, "{report}");
    assert!(report.outcome("stream finished") > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn soak_has_a_record_and_a_counter_for_every_request() {
    let _alone = ALONE.lock().await;
    let report = tests::soak::run(Duration::from_secs(6), 1).await;
    assert!(report.violations().is_empty(), "{report}");
    assert!(report.faults() >= 6, "{report}");
    for workload in ["chat", "completion", "response", "conversation", "tool"] {
        assert!(
            report.outcome(&format!("{workload} finished")) > 0,
            "{report}"
        );
    }
}
