//! A real browser without a window.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::find::{CHROMEDRIVER, CHROMIUM, find};
use super::server::{Server, Start};
use super::webdriver::{capabilities, command};
use crate::postgres::EphemeralError;
use crate::postgres::error::During;

/// A headless Chromium with a profile of its own. Dropping it ends it and removes its files.
///
/// # Example
///
/// ```no_run
/// # fn main() -> Result<(), pool_testkit::postgres::EphemeralError> {
/// use pool_testkit::tools::Browser;
///
/// let browser = Browser::builder().window(390, 844).start()?; // a phone
/// browser.goto("http://127.0.0.1:8080/pool/ui")?;
/// println!("{}", browser.execute("return document.title")?);
/// assert!(browser.console_errors()?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Browser {
    server: Server,
    session: String,
    console: RefCell<Vec<Logged>>,
    requests: RefCell<Vec<Request>>,
}

/// A line of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logged {
    /// How bad it is: `SEVERE`, `WARNING`, `INFO` or `DEBUG`.
    pub level: String,
    /// What it says, with where that comes from.
    pub message: String,
}

/// A request that a page has made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Its method.
    pub method: String,
    /// What was asked for, in full.
    pub url: String,
}

/// What a browser is started with.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing happens until `start`"]
pub struct BrowserBuilder {
    window: (u32, u32),
}

impl BrowserBuilder {
    /// The size of the window in pixels; 1280 by 800 without this. Chromium makes none narrower than 500 by this; a narrower one comes
    /// by [`Browser::set_viewport`], which this does, too.
    pub fn window(mut self, width: u32, height: u32) -> Self {
        self.window = (width, height);
        self
    }

    /// Starts it and waits until it is ready, for a minute at most.
    ///
    /// # Errors
    ///
    /// If chromium or chromedriver are not installed, with how to do that, or do not start.
    pub fn start(self) -> Result<Browser, EphemeralError> {
        let (_, chromium) = find(&CHROMIUM)?;
        let start = Start {
            wanted: &CHROMEDRIVER,
            files: &[],
            arguments: &|_, port| vec![format!("--port={port}"), "--allowed-ips=127.0.0.1".to_owned()],
            ready: "/status",
            shared: None,
        };
        let server = start.start()?;
        let profile = server.folder.join("profile").display().to_string();
        let wanted = capabilities(&chromium.path.display().to_string(), &profile, self.window);
        let session = command(&server, "POST", "/session", &wanted)?;
        let session = session["sessionId"].as_str().unwrap_or_default().to_owned();
        let browser = Browser { server, session, console: RefCell::default(), requests: RefCell::default() };
        browser.set_viewport(self.window.0, self.window.1)?;
        Ok(browser)
    }
}

impl Browser {
    /// Starts one whose window has 1280 by 800 pixels.
    ///
    /// # Errors
    ///
    /// As [`BrowserBuilder::start`].
    pub fn start() -> Result<Self, EphemeralError> {
        Self::builder().start()
    }

    /// Starts to put one together.
    pub fn builder() -> BrowserBuilder {
        BrowserBuilder { window: (1280, 800) }
    }

    /// Goes to a page and waits until that has loaded, for 30 s at most.
    ///
    /// # Errors
    ///
    /// If it does not load.
    pub fn goto(&self, url: &str) -> Result<(), EphemeralError> {
        self.command("POST", "/url", &json!({ "url": url })).map(drop)
    }

    /// Runs a script in the page and returns what it returns; of a promise what that becomes, within 30 s.
    ///
    /// # Errors
    ///
    /// If it throws or takes too long.
    pub fn execute(&self, script: &str) -> Result<Value, EphemeralError> {
        self.execute_with(script, &[])
    }

    /// [`execute`](Self::execute) with `arguments`.
    ///
    /// # Errors
    ///
    /// If it throws or takes too long.
    pub fn execute_with(&self, script: &str, arguments: &[Value]) -> Result<Value, EphemeralError> {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// Presses keys, as somebody does who has nothing but a keyboard, at what has the focus: text, or the characters that `WebDriver` gives to
    /// keys, such as `\u{e004}` for Tab.
    ///
    /// # Errors
    ///
    /// If the browser has gone.
    pub fn press(&self, keys: &str) -> Result<(), EphemeralError> {
        let strokes = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() })));
        let actions =
            json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>() }] });
        self.command("POST", "/actions", &actions).map(drop)
    }

    /// Writes a picture of what the window shows, as PNG.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn screenshot(&self, path: impl AsRef<Path>) -> Result<(), EphemeralError> {
        let path = path.as_ref();
        let step = || format!("writing {}", path.display());
        let picture = self.command("GET", "/screenshot", &Value::Null)?;
        let picture = STANDARD.decode(picture.as_str().unwrap_or_default()).during(step)?;
        fs::write(path, picture).during(step)
    }

    /// Whether the page is to be dark: what `prefers-color-scheme` says.
    ///
    /// # Errors
    ///
    /// If the browser has gone.
    pub fn set_dark(&self, dark: bool) -> Result<(), EphemeralError> {
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [scheme] })).map(drop)
    }

    /// How many pixels the page has to be shown on, however narrow.
    ///
    /// # Errors
    ///
    /// If the browser has gone.
    pub fn set_viewport(&self, width: u32, height: u32) -> Result<(), EphemeralError> {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics).map(drop)
    }

    /// A command of the protocol of Chromium's own tools, and its answer.
    ///
    /// # Errors
    ///
    /// If there is no such command, or it fails.
    pub fn devtools(&self, name: &str, parameters: &Value) -> Result<Value, EphemeralError> {
        self.command("POST", "/goog/cdp/execute", &json!({ "cmd": name, "params": parameters }))
    }

    /// All lines of the console since the start.
    ///
    /// # Errors
    ///
    /// If the browser has gone.
    pub fn console(&self) -> Result<Vec<Logged>, EphemeralError> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let lines = self.log("browser")?;
        let lines = lines.iter().map(|line| Logged { level: text(&line["level"]), message: text(&line["message"]) });
        let mut console = self.console.borrow_mut();
        console.extend(lines);
        Ok(console.clone())
    }

    /// The errors in the console since the start: exceptions that nobody caught, `console.error`, and requests that failed.
    ///
    /// # Errors
    ///
    /// If the browser has gone.
    pub fn console_errors(&self) -> Result<Vec<String>, EphemeralError> {
        let errors = self.console()?.into_iter().filter(|line| line.level == "SEVERE");
        Ok(errors.map(|line| line.message).collect())
    }

    /// All requests that pages have made since the start, whether they were answered or not.
    ///
    /// # Errors
    ///
    /// If the browser has gone.
    pub fn requests(&self) -> Result<Vec<Request>, EphemeralError> {
        let events = self.log("performance")?;
        let mut requests = self.requests.borrow_mut();
        requests.extend(events.iter().filter_map(request));
        Ok(requests.clone())
    }

    /// What has come since it was asked for last.
    fn log(&self, kind: &str) -> Result<Vec<Value>, EphemeralError> {
        let log = self.command("POST", "/se/log", &json!({ "type": kind }))?;
        Ok(log.as_array().cloned().unwrap_or_default())
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, EphemeralError> {
        command(&self.server, method, &format!("/session/{}{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // So that the browser ends by itself; it is killed together with its driver anyway.
        let _ = self.command("DELETE", "", &Value::Null);
    }
}

/// The request that an event of the performance log tells of, if it tells of one.
fn request(event: &Value) -> Option<Request> {
    let event: Value = serde_json::from_str(event["message"].as_str()?).ok()?;
    let (name, sent) = (&event["message"]["method"], &event["message"]["params"]["request"]);
    let is_one = name == "Network.requestWillBeSent";
    is_one
        .then(|| Some(Request { method: sent["method"].as_str()?.to_owned(), url: sent["url"].as_str()?.to_owned() }))?
}
