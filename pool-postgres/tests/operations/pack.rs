//! The rules and the dashboard: promtool takes them, and they name nothing that there is not.

use std::collections::BTreeSet;
use std::fs;

use pool_testkit::tools::Promtool;
use serde_json::Value;

use crate::common::{Service, eventually};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations");

pub(crate) fn text(name: &str) -> String {
    fs::read_to_string(format!("{FOLDER}/{name}")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names of all alerts.
pub(crate) fn alerts() -> Vec<String> {
    text("alerts.yml").lines().filter_map(|line| line.trim().strip_prefix("- alert: ").map(str::to_owned)).collect()
}

/// The names of all metrics of a service, as Prometheus has them; those of a histogram without what it appends.
fn metrics(page: &str) -> BTreeSet<&str> {
    page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

/// The metrics that a query names.
fn named(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let ours = words.filter(|word| word.starts_with("pool_") || word.starts_with("db_client_"));
    let plain = ours.filter(|word| *word != "db_client_connection_pool_name");
    plain.map(|word| word.trim_end_matches("_bucket").to_owned()).collect()
}

/// What the dashboard asks, with what it calls the answers.
fn dashboard_targets() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let said = |target: &Value, what: &str| target[what].as_str().unwrap().to_owned();
    targets.map(|target| (said(target, "expr"), said(target, "legendFormat"))).collect()
}

pub(crate) fn dashboard_queries() -> Vec<String> {
    dashboard_targets().into_iter().map(|(query, _)| query).collect()
}

#[test]
fn promtool_takes_the_rules_and_their_tests() {
    let promtool = Promtool::find().unwrap();
    let checked = promtool.run(&["check", "rules", &format!("{FOLDER}/alerts.yml")]).unwrap();
    assert!(checked.contains("SUCCESS: 18 rules found"), "{checked}");
    promtool.run(&["test", "rules", &format!("{FOLDER}/alerts_test.yml")]).unwrap();
}

#[test]
fn every_alert_has_a_test_and_a_section_of_the_runbook() {
    let (rules, tests, runbook) = (text("alerts.yml"), text("alerts_test.yml"), text("runbook.md"));
    let alerts = alerts();
    assert!(!alerts.is_empty());
    for alert in alerts {
        assert!(tests.contains(&format!("  - name: {alert}\n")), "{alert} has no test");
        assert!(runbook.contains(&format!("\n## {alert}\n")), "{alert} has no section");
        let url = format!("runbook_url: docs/operations/runbook.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&url), "{alert} does not say where its section is");
    }
}

/// The variables begin with all pools of all instances: lines that bear the same name could not be told apart.
#[test]
fn every_line_of_the_dashboard_says_whose_it_is() {
    for (query, legend) in dashboard_targets() {
        let one = query.starts_with("sum(") || query.starts_with("max(");
        assert!(one || legend.contains("{{db_client_connection_pool_name}}"), "{legend:?} of {query}");
        assert!(one || legend.contains("{{job}}"), "{legend:?} of {query}");
        assert!(one || query.contains(" by (") || legend.contains("{{instance}}"), "{legend:?} of {query}");
    }
}

/// By which labels these tell what they put together.
fn groupings(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lists = text.split(" by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.map(|list| list.split(", ").collect())
}

/// Pools of different services may have the same name: it is `pool` unless somebody has chosen one.
#[test]
fn no_query_takes_the_pools_of_two_services_for_one() {
    let mut seen = 0;
    for file in ["dashboard.json", "alerts.yml", "sizing.md", "runbook.md", "../metrics.md", "../status.md"] {
        let text = text(file);
        for labels in groupings(&text) {
            assert!(labels.contains(&"job"), "{file}: by {labels:?}");
            seen += 1;
        }
    }
    assert!(seen > 50, "few were found: {seen}");
}

#[tokio::test]
async fn the_dashboard_shows_all_metrics() {
    let (_database, service) = Service::fresh().await;
    let page = service.text("/metrics").await;
    let shown: BTreeSet<String> = dashboard_queries().iter().flat_map(|query| named(query)).collect();
    let ours = metrics(&page).into_iter().filter(|name| name.starts_with("pool_") || name.starts_with("db_client_"));
    let left_out: Vec<&str> = ours.filter(|name| !shown.contains(*name)).collect();
    // The last is shown as `pool_connections`, which tells more; the others are settings.
    let known = ["db_client_connection_idle_max", "db_client_connection_idle_min", "db_client_connections"];
    assert_eq!(left_out, known);
}

#[tokio::test]
async fn rules_and_dashboard_name_metrics_that_there_are() {
    let (_database, service) = Service::fresh().await;
    let page = service.text("/metrics").await;
    let known = metrics(&page);
    let rules = text("alerts.yml");
    let rules = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ").map(str::to_owned));
    let mut seen = BTreeSet::new();
    for query in rules.chain(dashboard_queries()) {
        for name in named(&query) {
            assert!(known.contains(name.as_str()), "there is no {name}, in {query}");
            seen.insert(name);
        }
    }
    assert!(seen.len() > 30, "few were found: {seen:?}");
}

#[tokio::test]
async fn promtool_takes_the_metrics() {
    let (_database, service) = Service::fresh().await;
    let page = service.text("/metrics").await;
    let checking = tokio::task::spawn_blocking(move || Promtool::find().unwrap().check_metrics(&page));
    let said = checking.await.unwrap().unwrap();
    assert!(said.trim().is_empty(), "{said}");
}

#[tokio::test]
async fn the_probes_of_kubernetes_ask_for_what_there_is() {
    let document = text("kubernetes.md");
    let yaml = document.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let deployment: Value = serde_saphyr::from_str(yaml).unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let (_database, service) = Service::fresh().await;
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let asked = &container[probe]["httpGet"];
        assert_eq!(asked["port"], container["ports"][0]["name"], "{probe}");
        eventually("it answers", async || service.get(asked["path"].as_str().unwrap()).await.0 == 200).await;
    }
    // 5 s before the signal, 10 s for requests, 15 s for the pool.
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > 30, "{deployment}");
}
