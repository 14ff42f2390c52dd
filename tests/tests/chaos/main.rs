//! A short storm with a fixed seed; `cargo xtask chaos` is the long one.

#[tokio::test(flavor = "multi_thread")]
async fn twenty_deaths_under_load_break_no_promise() {
    let report = tests::chaos::run(20, 1).await;
    assert!(report.violations().is_empty(), "{report}");
    assert_eq!(report.kills(), 20, "{report}");
    assert!(report.outcome("stream finished") > 0, "{report}");
}
