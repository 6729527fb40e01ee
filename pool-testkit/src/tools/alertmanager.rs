//! Alertmanager and amtool.

use super::find::{ALERTMANAGER, AMTOOL, find};
use super::prometheus::run;
use super::server::{Server, Start};
use crate::postgres::EphemeralError;
use crate::postgres::program::Program;

/// An Alertmanager that belongs to this process alone and posts what it has to a webhook. Dropping it stops it and removes its files.
///
/// # Example
///
/// ```no_run
/// # fn main() -> Result<(), pool_testkit::postgres::EphemeralError> {
/// use pool_testkit::tools::Alertmanager;
///
/// let alertmanager = Alertmanager::start("http://127.0.0.1:8080/webhook")?;
/// alertmanager.amtool(&["alert", "add", "PoolDown", "severity=page"])?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Alertmanager {
    server: Server,
    amtool: Program,
}

/// What an Alertmanager is started with.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `start`"]
pub struct AlertmanagerBuilder {
    webhook: String,
    group_by: &'static str,
}

impl AlertmanagerBuilder {
    /// By which label alerts are put into one post; by none without this.
    pub fn group_by(mut self, label: &'static str) -> Self {
        self.group_by = label;
        self
    }

    /// Starts it and waits until it is ready, for a minute at most.
    ///
    /// # Errors
    ///
    /// If it can neither be found nor provisioned, or does not start; then with its log.
    pub fn start(self) -> Result<Alertmanager, EphemeralError> {
        let (_, amtool) = find(&AMTOOL)?;
        let start = Start {
            wanted: &ALERTMANAGER,
            files: &[("alertmanager.yml", &self.config())],
            arguments: &|folder, port| {
                vec![
                    format!("--config.file={}", folder.join("alertmanager.yml").display()),
                    format!("--storage.path={}", folder.join("data-of-alertmanager").display()),
                    format!("--web.listen-address=127.0.0.1:{port}"),
                    // No gossip with others.
                    "--cluster.listen-address=".to_owned(),
                ]
            },
            ready: "/-/ready",
            shared: Some("prometheus/alertmanager"),
        };
        Ok(Alertmanager { server: start.start()?, amtool })
    }

    fn config(&self) -> String {
        let Self { webhook, group_by } = self;
        let group_by = if group_by.is_empty() { String::new() } else { format!("group_by: ['{group_by}'], ") };
        format!(
            "route: {{ receiver: webhook, {group_by}group_wait: 100ms, group_interval: 1s, repeat_interval: 1h }}\n\
             receivers: [{{ name: webhook, webhook_configs: [{{ url: '{webhook}', send_resolved: true }}] }}]\n"
        )
    }
}

impl Alertmanager {
    /// Starts one that posts to this URL, a tenth of a second after an alert has come and once a second while something changes, and waits
    /// until it is ready.
    ///
    /// # Errors
    ///
    /// As [`AlertmanagerBuilder::start`].
    pub fn start(webhook: &str) -> Result<Self, EphemeralError> {
        Self::builder(webhook).start()
    }

    /// Starts to put one together that posts to this URL.
    pub fn builder(webhook: &str) -> AlertmanagerBuilder {
        AlertmanagerBuilder { webhook: webhook.to_owned(), group_by: "" }
    }

    /// The port it listens on, on 127.0.0.1: what a Prometheus has to be given.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// What it says of itself, such as `alertmanager, version 0.25.0`.
    pub fn version(&self) -> &str {
        &self.server.program.version
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Runs amtool against it, such as with `["alert", "add", "PoolDown"]`, and returns what that has said.
    ///
    /// # Errors
    ///
    /// If it does not succeed; then with all that it has said.
    pub fn amtool(&self, arguments: &[&str]) -> Result<String, EphemeralError> {
        let url = format!("--alertmanager.url=http://127.0.0.1:{}", self.server.port);
        run(self.amtool.command().args(arguments).arg(url), "")
    }
}
