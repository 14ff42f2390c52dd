//! Grafana's provisioning: the data source, the provider and the dashboard refer to one another by the right names.
//! Follows Grafana's dashboard JSON model and provisioning format; `prometheus.rs` tests the results of the queries.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use xtask::workspace;

use crate::project::{KEY, MAIN, project};

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// A query of the dashboard.
pub(crate) struct DashboardQuery {
    pub(crate) panel: String,
    pub(crate) expression: String,
}

/// Returns every query of the dashboard.
pub(crate) fn queries() -> Vec<DashboardQuery> {
    let mut queries = Vec::new();
    for panel in panels(&dashboard()) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push(DashboardQuery {
                panel: text(&panel["title"]),
                expression: text(&target["expr"]),
            });
        }
    }
    queries
}

#[test]
fn panels_have_unique_ids_and_do_not_overlap() {
    let dashboard = dashboard();
    assert_eq!(
        (&dashboard["title"], &dashboard["uid"]),
        (&"codex-edge".into(), &"codex-edge".into())
    );
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        assert!(
            ids.insert(panel["id"].as_u64()),
            "{title} has a duplicate id"
        );
        let at = |side: &str| panel["gridPos"][side].as_u64().expect("a number");
        assert!(at("x") + at("w") <= COLUMNS, "{title} is too wide");
        for cell in (at("x")..at("x") + at("w"))
            .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert(cell), "{title} overlaps a panel");
        }
        let targets = panel["targets"].as_array().map_or(0, Vec::len);
        assert_eq!(targets == 0, panel["type"] == "row", "{title}");
        let kind = text(&panel["type"]);
        assert!(
            ["row", "stat", "timeseries"].contains(&kind.as_str()),
            "{title}: {kind}"
        );
    }
}

#[test]
fn panels_use_the_prometheus_service_of_compose() {
    let provisioned = provisioned("datasources/prometheus.yml");
    for panel in panels(&dashboard()) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(
                (&target["datasource"], &panel["datasource"]),
                (&panel["datasource"], &target["datasource"])
            );
            let uid = text(&target["datasource"]["uid"]);
            assert!(
                provisioned.contains(&format!("\n  uid: {uid}\n")),
                "missing data source {uid}"
            );
        }
    }
    let project = project(MAIN, &["*"], KEY);
    assert!(project["services"]["prometheus"].is_object());
    assert!(
        provisioned.contains("\n  url: http://prometheus:9090\n"),
        "{provisioned}"
    );
    let prometheus =
        fs::read_to_string(workspace::root().join("deploy/prometheus/prometheus.yml")).unwrap();
    let (_, rest) = prometheus.split_once("scrape_interval: ").unwrap();
    let interval = rest.lines().next().unwrap();
    assert!(
        provisioned.contains(&format!("timeInterval: {interval} ")),
        "{interval}"
    );
}

#[test]
fn provider_path_is_the_mounted_dashboard_folder() {
    let project = project(MAIN, &["*"], KEY);
    let grafana = &project["services"]["grafana"];
    let source_of = |target: &str| {
        let volumes = grafana["volumes"].as_array().expect("volumes");
        let volume = volumes.iter().find(|volume| volume["target"] == target);
        text(&volume.unwrap_or_else(|| panic!("missing mount at {target}"))["source"])
    };
    assert!(source_of("/etc/grafana/provisioning").ends_with("deploy/grafana/provisioning"));
    let provider = provisioned("dashboards/codex-edge.yml");
    let home = text(&grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]);
    let (folder, file) = home.rsplit_once('/').unwrap();
    assert!(provider.contains(&format!("path: {folder} ")), "{provider}");
    let path = std::path::Path::new(&source_of(folder)).join(file);
    assert!(path.is_file(), "{}", path.display());
}

fn dashboard() -> Value {
    let path = workspace::root().join("deploy/grafana/dashboards/codex-edge.json");
    let text = fs::read_to_string(path).expect("the dashboard is in the tree");
    serde_json::from_str(&text).expect("the dashboard is JSON")
}

fn panels(dashboard: &Value) -> Vec<Value> {
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() > 20, "only {} panels", panels.len());
    panels.clone()
}

fn provisioned(file: &str) -> String {
    let path = workspace::root()
        .join("deploy/grafana/provisioning")
        .join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a string"))
        .to_owned()
}
