//! Answers, and what is in the headers of all of them.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::page;

/// What every answer has, if it has no other value of it.
pub(super) const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// An answer. In a box, as it is an error, too, and large.
pub(super) struct Reply(Box<Response>);

impl Reply {
    pub(super) fn new(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Self {
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        Self(Box::new(response)).with(header::CONTENT_TYPE, kind)
    }

    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        Self::new(status, "application/json", format!("{value}\n"))
    }

    pub(super) fn text(status: StatusCode, text: String) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text)
    }

    pub(super) fn stream(kind: &'static str, body: Body) -> Self {
        Self::new(StatusCode::OK, kind, body)
    }

    pub(super) fn page(html: String) -> Self {
        let reply = Self::new(StatusCode::OK, "text/html; charset=utf-8", html);
        reply.with(header::CONTENT_SECURITY_POLICY, &page::POLICY)
    }

    /// To the page, from the address that is above it, whatever both are under.
    pub(super) fn redirect(query: Option<&str>) -> Self {
        let target = query.map_or_else(|| "pool/ui".to_owned(), |query| format!("pool/ui?{query}"));
        Self::text(StatusCode::SEE_OTHER, String::new()).with(header::LOCATION, &target)
    }

    /// To what is called the same without the stroke at its end.
    pub(super) fn without_stroke(name: &str, query: Option<&str>) -> Self {
        let target = query.map_or_else(|| format!("../{name}"), |query| format!("../{name}?{query}"));
        Self::text(StatusCode::PERMANENT_REDIRECT, format!("see {target}\n")).with(header::LOCATION, &target)
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        // All are ours, or have been read from a request line: what cannot be a header's value is not there.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }

    pub(super) fn with_name(self, name: &'static str, value: &str) -> Self {
        self.with(HeaderName::from_static(name), value)
    }

    /// What it is depends on what the asker would like to have.
    pub(super) fn varies(self) -> Self {
        self.with(header::VARY, "accept")
    }
}

impl From<Reply> for Response {
    fn from(reply: Reply) -> Self {
        *reply.0
    }
}

/// A parameter of the address; the first of its name.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut parameters = uri.query()?.split('&').map(|one| one.split_once('=').unwrap_or((one, "")));
    let (_, value) = parameters.find(|(key, _)| *key == name)?;
    Some(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let uri = Uri::from_static("/pool?a=1&pool=db%2Fmain%3a5+x&pool=2&flag");
        let of = |name| parameter(&uri, name);
        assert_eq!((of("pool"), of("flag"), of("b")), (Some("db/main:5 x".to_owned()), Some(String::new()), None));
    }
}
