//! What an Alertmanager posts: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>, version 4.

use std::collections::BTreeMap;

use pool_postgres::tokio_postgres::types::Json;
use serde::de::{Deserialize, Deserializer, Error, Unexpected};
use time::OffsetDateTime;

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
    #[serde(default, rename = "groupLabels")]
    _group_labels: Labels,
    #[serde(default, rename = "commonLabels")]
    _common_labels: Labels,
    #[serde(default, rename = "commonAnnotations")]
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
    #[serde(default = "empty")]
    pub(super) annotations: Json<Labels>,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) starts_at: OffsetDateTime,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) ends_at: Option<OffsetDateTime>,
    #[serde(rename = "generatorURL")]
    pub(super) generator_url: Option<Text>,
    pub(super) fingerprint: Text,
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
        self.ends_at.filter(|end| end.year() > 1)
    }
}

/// Reads a post, or says which field is wrong.
pub(super) fn parse(body: &[u8]) -> Result<Payload, Failure> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let payload: Payload = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let message = error.inner().to_string();
        Failure::payload(field(&error.path().to_string(), &message), message)
    })?;
    json.end().map_err(|error| Failure::payload(".", error.to_string()))?;
    match payload.alerts.iter().position(|alert| alert.name().is_none_or(str::is_empty)) {
        Some(index) => Err(Failure::payload(format!("alerts[{index}].labels.alertname"), "every alert has a name")),
        None => Ok(payload),
    }
}

/// The path of a field; for one that is missing, the path ends at the object that should have it.
fn field(path: &str, message: &str) -> String {
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match missing {
        Some(name) if path == "." => name.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None => path.to_owned(),
    }
}
