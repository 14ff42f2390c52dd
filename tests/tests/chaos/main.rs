//! A short storm and a short soak with fixed seeds; `cargo xtask chaos` and `cargo xtask soak` are the long ones.

use std::time::Duration;

use tokio::sync::Mutex;

/// One at a time: each counts all processes that descend from this one.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn twenty_deaths_under_load_break_no_promise() {
    let _alone = ALONE.lock().await;
    let report = tests::chaos::run(20, 1).await;
    assert!(report.violations().is_empty(), "{report}");
    assert_eq!(report.faults(), 20, "{report}");
    assert!(report.outcome("stream finished") > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soak_accounts_for_everything() {
    let _alone = ALONE.lock().await;
    let report = tests::soak::run(Duration::from_secs(6), 1).await;
    assert!(report.violations().is_empty(), "{report}");
    assert!(report.faults() >= 6, "{report}");
    for talk in ["chat", "completion", "response", "conversation", "tool"] {
        assert!(report.outcome(&format!("{talk} finished")) > 0, "{report}");
    }
}
