//! What an Alertmanager posts: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>, version 4.

use std::collections::BTreeMap;

use pool_postgres::tokio_postgres::types::Json;
use serde::de::{Deserialize, Deserializer, Error, Unexpected};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::failure::Failure;

/// A text that PostgreSQL can store: all but NUL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains('\0') { Err(D::Error::custom("a NUL character cannot be stored")) } else { Ok(Self(text)) }
    }
}

pub(super) type Labels = BTreeMap<Text, Text>;

/// Whether an alert goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Firing,
    Resolved,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One post: a group of alerts. Fields that the history does not keep are checked all the same, by their type.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payload {
    #[serde(rename = "version", deserialize_with = "version_4")]
    _version: (),
    pub(super) group_key: Text,
    #[serde(default, rename = "truncatedAlerts")]
    _truncated_alerts: u64,
    #[serde(rename = "status")]
    _status: Status,
    pub(super) receiver: Text,
    #[serde(default, rename = "groupLabels", deserialize_with = "nullable")]
    _group_labels: Labels,
    #[serde(default, rename = "commonLabels", deserialize_with = "nullable")]
    _common_labels: Labels,
    #[serde(default, rename = "commonAnnotations", deserialize_with = "nullable")]
    _common_annotations: Labels,
    #[serde(default, rename = "externalURL")]
    _external_url: Option<Text>,
    pub(super) alerts: Vec<Alert>,
}

/// One alert of a group.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    pub(super) status: Status,
    pub(super) labels: Json<Labels>,
    #[serde(default = "empty", deserialize_with = "nullable_json")]
    pub(super) annotations: Json<Labels>,
    pub(super) starts_at: Instant,
    pub(super) ends_at: Option<Instant>,
    #[serde(rename = "generatorURL")]
    pub(super) generator_url: Option<Text>,
    pub(super) fingerprint: Text,
}

/// Go writes a map that was never made as `null`.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn nullable_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Json<Labels>, D::Error> {
    nullable(deserializer).map(Json)
}

/// A point in time that PostgreSQL can store: RFC 3339, of the years 1 to 9999 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant(pub(super) OffsetDateTime);

impl std::str::FromStr for Instant {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let instant =
            OffsetDateTime::parse(text, &Rfc3339).ok().and_then(|instant| instant.checked_to_offset(UtcOffset::UTC));
        let instant = instant.filter(|instant| (1..=9999).contains(&instant.year()));
        instant
            .map(Self)
            .ok_or("allowed: a time as RFC 3339 writes it, such as 2026-01-31T12:00:00Z, of the years 1 to 9999")
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

fn empty() -> Json<Labels> {
    Json(Labels::new())
}

fn version_4<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "4" => Ok(()),
        other => Err(D::Error::invalid_value(Unexpected::Str(other), &"\"4\"")),
    }
}

impl Alert {
    /// The name that every alert of Prometheus carries.
    pub(super) fn name(&self) -> Option<&str> {
        self.labels.0.get(&Text("alertname".to_owned())).map(|name| name.0.as_str())
    }

    /// When the alert ended. While it fires, Alertmanager writes the year 1.
    pub(super) fn ended(&self) -> Option<OffsetDateTime> {
        self.ends_at.map(|end| end.0).filter(|end| end.year() > 1)
    }
}

/// The history is indexed by name, and an index has its limits.
const MAX_NAME: usize = 1024;

/// Reads a post, or says which field is wrong.
pub(super) fn parse(body: &[u8]) -> Result<Payload, Failure> {
    // A sequence would be taken for the fields of the post in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::payload(".", "expected an object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let payload: Payload = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let message = error.inner().to_string();
        Failure::payload(field(&error.path().to_string(), &message), message)
    })?;
    json.end().map_err(|error| Failure::payload(".", error.to_string()))?;
    let has_name = |alert: &Alert| alert.name().is_some_and(|name| (1..=MAX_NAME).contains(&name.len()));
    match payload.alerts.iter().position(|alert| !has_name(alert)) {
        Some(index) => {
            let field = format!("alerts[{index}].labels.alertname");
            Err(Failure::payload(field, format!("every alert has a name of 1 to {MAX_NAME} bytes")))
        }
        None => Ok(payload),
    }
}

/// The path of a field; for one that is missing or there twice, the path ends at the object that should have it.
fn field(path: &str, message: &str) -> String {
    let after = |start: &str| message.strip_prefix(start).and_then(|rest| rest.split('`').next());
    match after("missing field `").or_else(|| after("duplicate field `")) {
        Some(name) if path == "." => name.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None => path.to_owned(),
    }
}
