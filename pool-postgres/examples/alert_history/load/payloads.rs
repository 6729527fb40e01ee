//! Posts of realistic shape and size, after those of a Kubernetes cluster watched by Prometheus.

use serde_json::{Value, json};

const ALERTS: [(&str, &str); 6] = [
    ("KubePodCrashLooping", "warning"),
    ("KubeNodeNotReady", "critical"),
    ("TargetDown", "warning"),
    ("HighRequestLatency", "critical"),
    ("NodeFilesystemAlmostOutOfSpace", "warning"),
    ("Watchdog", "none"),
];

/// The post number `number` of a client: one to ten alerts, marked with the run.
pub(super) fn payload(run: &str, client: usize, number: usize) -> (Value, u64) {
    let (name, severity) = ALERTS[(client + number) % ALERTS.len()];
    let count = number % 10 + 1;
    let firing = !number.is_multiple_of(3);
    let status = if firing { "firing" } else { "resolved" };
    let alerts: Vec<Value> =
        (0..count).map(|index| alert(run, (client, number, index), (name, severity), firing)).collect();
    let post = json!({
        "version": "4",
        "groupKey": format!("{{}}/{{severity=\"{severity}\"}}:{{alertname=\"{name}\", namespace=\"shop-{}\"}}", client % 7),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "history",
        "groupLabels": { "alertname": name, "namespace": format!("shop-{}", client % 7) },
        "commonLabels": { "alertname": name, "severity": severity, "cluster": "eu-central-1" },
        "commonAnnotations": { "runbook_url": format!("https://runbooks.example/{name}") },
        "externalURL": "https://alertmanager.example",
        "alerts": alerts,
    });
    (post, count as u64)
}

fn alert(
    run: &str,
    (client, number, index): (usize, usize, usize),
    (name, severity): (&str, &str),
    firing: bool,
) -> Value {
    let minute = number % 60;
    let ends_at = if firing { "0001-01-01T00:00:00Z".to_owned() } else { format!("2026-11-01T13:{minute:02}:30.5Z") };
    json!({
        "status": if firing { "firing" } else { "resolved" },
        "labels": {
            "alertname": name,
            "severity": severity,
            "cluster": "eu-central-1",
            "namespace": format!("shop-{}", client % 7),
            "pod": format!("checkout-7d9f8b6c4-{client:03}{index:02}"),
            "container": "checkout",
            "job": "kube-state-metrics",
            "prometheus": "monitoring/k8s",
            "load_run": run,
        },
        "annotations": {
            "summary": format!("{name} on checkout-{client}: the last {number} minutes were over budget"),
            "description": "The 99th percentile of requests to this workload has been above its objective, and the error budget of \
                            the month burns faster than it refills. Look at the rollout history before restarting anything.",
            "runbook_url": format!("https://runbooks.example/{name}"),
        },
        "startsAt": format!("2026-11-01T12:{minute:02}:07.123Z"),
        "endsAt": ends_at,
        "generatorURL": format!("https://prometheus.example/graph?g0.expr={name}&g0.tab=1"),
        "fingerprint": format!("{:016x}", (client << 40) ^ (number << 8) ^ index),
    })
}
