//! What a request is told when it fails: a status, a name to match on, and a sentence.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pool_postgres::QueryError;
use pool_postgres::diagnosis::{Advice, Diagnosis, Fate};
use pool_postgres::pool_core::AcquireError;
use pool_postgres::retry::RetryError;
use serde_json::json;

use super::warnings::{INTERNAL, request_failed};

/// A request that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The payload cannot be understood.
    Payload { field: String, message: String },
    /// A parameter of the query cannot be understood.
    Parameter { field: String, message: String },
    /// Nothing is served at this path.
    NoSuchPath,
    /// This path is for another method.
    Method,
    /// The payload is not said to be JSON.
    MediaType,
    /// The payload is larger than any Alertmanager sends.
    TooLarge,
    /// The database cannot be used at the moment.
    Unavailable { reason: &'static str, message: String },
    /// The database refused a statement; the log says more.
    Internal,
}

impl Failure {
    pub(super) fn payload(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Payload { field: field.into(), message: message.into() }
    }

    /// The service has as much to do as it can.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::Unavailable { reason: "busy", message: message.into() }
    }

    /// The database is there and says nothing.
    pub(super) fn no_answer(limit: Duration) -> Self {
        let message = format!("no answer from the database within {limit:?}; what was posted may have been stored");
        request_failed("no_answer", &message);
        Self::Unavailable { reason: "no_answer", message }
    }

    pub(super) fn parameter(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Parameter { field: field.into(), message: message.into() }
    }
}

impl From<&AcquireError> for Failure {
    fn from(error: &AcquireError) -> Self {
        let reason = match error {
            AcquireError::Timeout { .. } => "timeout",
            AcquireError::OpenFailed { .. } => "open_failed",
            AcquireError::BreakerOpen { .. } => "breaker_open",
            AcquireError::Closed => "closed",
            _ => "unavailable",
        };
        request_failed(reason, error);
        Self::Unavailable { reason, message: error.to_string() }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        if let Some(error) = error.acquire_error() {
            return error.into();
        }
        let unavailable = |reason, message: &str| {
            request_failed(reason, &error);
            Self::Unavailable { reason, message: message.to_owned() }
        };
        match error.diagnosis() {
            Diagnosis { fate: Fate::Close, .. } => {
                unavailable("connection_lost", "the connection to the database was lost during the request")
            }
            Diagnosis { advice: Advice::Never | Advice::FixConfiguration, .. } => {
                request_failed(INTERNAL, &error);
                Self::Internal
            }
            _ => unavailable("not_now", "the database could not do it at the moment"),
        }
    }
}

impl From<RetryError> for Failure {
    fn from(error: RetryError) -> Self {
        let elapsed = error.elapsed;
        let source = match error.into_source().downcast::<AcquireError>() {
            Ok(error) => return error.as_ref().into(),
            Err(source) => source,
        };
        // Without an error of the query it was cut off.
        source.downcast::<QueryError>().map_or_else(|_| Self::no_answer(elapsed), |error| (*error).into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, body) = match self {
            Self::Payload { field, message } => {
                (StatusCode::BAD_REQUEST, json!({ "error": "invalid_payload", "field": field, "message": message }))
            }
            Self::Parameter { field, message } => {
                (StatusCode::BAD_REQUEST, json!({ "error": "invalid_parameter", "field": field, "message": message }))
            }
            Self::NoSuchPath => (
                StatusCode::NOT_FOUND,
                json!({ "error": "not_found", "message": "allowed: /webhook, /history, /health/live, /health/ready, /metrics, /pool, /pool/ui" }),
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                json!({ "error": "method_not_allowed", "message": "the header Allow names what is" }),
            ),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                json!({ "error": "unsupported_media_type", "message": "allowed: Content-Type: application/json" }),
            ),
            Self::TooLarge => {
                let message = format!("at most {} bytes", super::http::MAX_BODY);
                (StatusCode::PAYLOAD_TOO_LARGE, json!({ "error": "payload_too_large", "message": message }))
            }
            Self::Unavailable { reason, message } => {
                let body = json!({ "error": "database_unavailable", "reason": reason, "message": message });
                let retry: [(HeaderName, &str); 1] = [(header::RETRY_AFTER, "1")];
                return (StatusCode::SERVICE_UNAVAILABLE, retry, Json(body)).into_response();
            }
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": "internal", "message": "see the log" }))
            }
        };
        (status, Json(body)).into_response()
    }
}
