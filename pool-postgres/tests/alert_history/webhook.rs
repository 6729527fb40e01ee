//! `POST /webhook`.

use serde_json::{Value, json};

use crate::common::{Service, alert, post};

#[tokio::test]
async fn alerts_are_stored_with_all_they_carry() {
    let (_database, service) = Service::fresh().await;
    let mut resolved = alert("Down", "2026-11-01T12:00:00.5+01:00");
    resolved["status"] = json!("resolved");
    resolved["endsAt"] = json!("2026-11-01T13:00:00Z");
    let (status, body) = service.post(post(&[alert("Up", "2026-11-01T10:00:00Z"), resolved]).to_string()).await;
    assert_eq!((status, body), (200, json!({ "stored": 2 })));
    let history = service.history("").await;
    let names: Vec<_> = history.iter().map(|alert| alert["alertname"].as_str().unwrap()).collect();
    assert_eq!(names, ["Down", "Up"], "newest first");
    assert_eq!(history[0]["startsAt"], "2026-11-01T11:00:00.5+00:00");
    assert_eq!(history[0]["endsAt"], "2026-11-01T13:00:00+00:00");
    assert_eq!(history[1]["endsAt"], Value::Null, "it goes on");
    assert_eq!(history[1]["labels"], json!({ "alertname": "Up", "severity": "critical" }));
    assert_eq!(history[1]["annotations"]["summary"], "something is wrong");
    assert_eq!((&history[1]["receiver"], &history[1]["fingerprint"]), (&json!("history"), &json!("c0ffee")));
}

#[tokio::test]
async fn maps_that_go_never_made_are_empty() {
    let (_database, service) = Service::fresh().await;
    let mut payload = post(&[alert("A", "2026-11-01T10:00:00Z")]);
    for map in ["groupLabels", "commonLabels", "commonAnnotations"] {
        payload[map] = Value::Null;
    }
    payload["alerts"][0]["annotations"] = Value::Null;
    assert_eq!(service.post(payload.to_string()).await, (200, json!({ "stored": 1 })));
}

#[tokio::test]
async fn a_post_without_alerts_stores_none() {
    let (_database, service) = Service::fresh().await;
    assert_eq!(service.post(post(&[]).to_string()).await, (200, json!({ "stored": 0 })));
}

#[tokio::test]
async fn what_is_wrong_with_a_payload_is_named() {
    let (_database, service) = Service::fresh().await;
    let good = || post(&[alert("A", "2026-11-01T10:00:00Z"), alert("B", "2026-11-01T10:00:00Z")]);
    let with = |pointer: &str, value: Value| {
        let mut payload = good();
        *payload.pointer_mut(pointer).unwrap() = value;
        payload
    };
    let without = |pointer: &str, name: &str| {
        let mut payload = good();
        payload.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        payload
    };
    for (payload, field) in [
        (with("/version", json!("3")), "version"),
        (with("/version", json!(4)), "version"),
        (with("/alerts/1/startsAt", json!("yesterday")), "alerts[1].startsAt"),
        (with("/alerts/0/status", json!("burning")), "alerts[0].status"),
        (with("/alerts/1/labels/severity", json!(7)), "alerts[1].labels.severity"),
        (with("/alerts/1/labels/severity", json!("a\0b")), "alerts[1].labels.severity"),
        (with("/alerts/0/fingerprint", json!("\0")), "alerts[0].fingerprint"),
        (with("/receiver", json!("\0")), "receiver"),
        (with("/alerts/0/startsAt", json!("9999-12-31T23:59:59-23:59")), "alerts[0].startsAt"),
        (with("/alerts/0/endsAt", json!("9999-12-31T23:59:59-23:59")), "alerts[0].endsAt"),
        (with("/alerts/0/startsAt", json!("0000-01-01T00:00:00Z")), "alerts[0].startsAt"),
        (with("/alerts/1/labels/alertname", json!("x".repeat(3000))), "alerts[1].labels.alertname"),
        (with("/alerts", json!({})), "alerts"),
        (without("", "alerts"), "alerts"),
        (without("/alerts/1", "startsAt"), "alerts[1].startsAt"),
        (without("/alerts/1/labels", "alertname"), "alerts[1].labels.alertname"),
        (with("/alerts/1/labels/alertname", json!("")), "alerts[1].labels.alertname"),
        (json!([]), "."),
    ] {
        let (status, body) = service.post(payload.to_string()).await;
        assert_eq!((status, &body["error"], &body["field"]), (400, &json!("invalid_payload"), &json!(field)), "{body}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    for garbage in [&b""[..], b"{", b"not json", b"\xff\xfe", b"{} trailing"] {
        assert_eq!(service.post(garbage).await.0, 400);
    }
    assert_eq!(service.post(format!("{} extra", good())).await.0, 400);
    let twice = good().to_string().replacen('{', r#"{"alerts":[],"#, 1);
    assert_eq!(service.post(twice).await.1["field"], "alerts");
    assert_eq!(service.history("").await, Vec::<Value>::new(), "nothing of it was stored");
    assert_eq!(service.post(good().to_string()).await.0, 200, "and the service goes on");
}

#[tokio::test]
async fn a_payload_beyond_all_measure_is_refused() {
    let (_database, service) = Service::fresh().await;
    let (status, body) = service.post(vec![b' '; 2 << 20]).await;
    assert_eq!((status, &body["error"]), (413, &json!("payload_too_large")));
}

/// Strings that would do harm if any of them became part of a statement.
pub(crate) const HOSTILE: [&str; 6] = [
    "'; DROP TABLE alerts; --",
    "\"; DROP TABLE alerts; --",
    "$1); DROP TABLE alerts; --",
    "\\'; DROP TABLE alerts; --",
    "' OR '1'='1",
    "{\"a\": {}}[](),;%_\u{1F525}\u{202e}",
];

#[tokio::test]
async fn hostile_strings_are_stored_as_they_are() {
    let (_database, service) = Service::fresh().await;
    for text in HOSTILE {
        let mut hostile = alert(text, "2026-11-01T10:00:00Z");
        hostile["labels"][text] = json!(text);
        for field in ["annotations", "generatorURL", "fingerprint"] {
            hostile[field] = if field == "annotations" { json!({ text: text }) } else { json!(text) };
        }
        let mut payload = post(&[hostile]);
        (payload["receiver"], payload["groupKey"]) = (json!(text), json!(text));
        assert_eq!(service.post(payload.to_string()).await, (200, json!({ "stored": 1 })), "{text}");
    }
    let history = service.history("").await;
    assert_eq!(history.len(), HOSTILE.len());
    for (stored, text) in history.iter().rev().zip(HOSTILE) {
        assert_eq!(
            (&stored["alertname"], &stored["labels"][text], &stored["annotations"][text]),
            (&json!(text), &json!(text), &json!(text))
        );
        assert_eq!(
            (&stored["receiver"], &stored["groupKey"], &stored["fingerprint"]),
            (&json!(text), &json!(text), &json!(text))
        );
    }
}
