//! The `WebDriver` protocol, as chromedriver speaks it.

use serde_json::{Value, json};

use super::client::send;
use super::server::Server;
use crate::postgres::EphemeralError;

/// Sends a command to a driver and returns the `value` of its answer.
pub(super) fn command(server: &Server, method: &str, path: &str, body: &Value) -> Result<Value, EphemeralError> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, answer) = send(server.port, method, path, &body).map_err(|problem| server.failed(problem))?;
    let mut answer: Value = serde_json::from_str(&answer).map_err(|error| server.failed(error))?;
    if status == 200 { Ok(answer["value"].take()) } else { Err(failure(method, path, &answer["value"])) }
}

/// What the driver says is wrong. Its log is long and says no more.
fn failure(method: &str, path: &str, value: &Value) -> EphemeralError {
    let message = value["message"].as_str().unwrap_or_default();
    let told = format!("{}: {}", value["error"], message.lines().next().unwrap_or_default());
    EphemeralError::step(format!("{method} {path} of the browser"), told)
}

/// What a session is asked for.
pub(super) fn capabilities(chromium: &str, profile: &str, (width, height): (u32, u32)) -> Value {
    let arguments = [
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--disable-quic".to_owned(),
        "--no-first-run".to_owned(),
        "--no-default-browser-check".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--disable-extensions".to_owned(),
        format!("--user-data-dir={profile}"),
        format!("--window-size={width},{height}"),
    ];
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        "goog:chromeOptions": { "binary": chromium, "args": arguments },
        "timeouts": { "script": 30_000, "pageLoad": 30_000 },
    } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let value = json!({ "error": "javascript error", "message": "x is not defined\n  (Session info: chrome)" });
        let told = failure("POST", "/session/1/execute/sync", &value).to_string();
        assert_eq!(told, r#"POST /session/1/execute/sync of the browser: "javascript error": x is not defined"#);
    }
}
