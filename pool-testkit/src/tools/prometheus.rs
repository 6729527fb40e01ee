//! Prometheus and promtool.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::client::{escaped, json, send};
use super::find::{PROMETHEUS, PROMTOOL, find};
use super::server::{Server, Start};
use crate::postgres::EphemeralError;
use crate::postgres::error::During;
use crate::postgres::program::Program;

/// A Prometheus that belongs to this process alone. Dropping it stops it and removes its files.
///
/// # Example
///
/// ```no_run
/// # fn main() -> Result<(), pool_testkit::postgres::EphemeralError> {
/// use pool_testkit::tools::Prometheus;
///
/// let config = "scrape_configs: [{ job_name: service, scrape_interval: 1s, static_configs: [{ targets: ['127.0.0.1:8080'] }] }]\n";
/// let prometheus = Prometheus::start(config, &std::fs::read_to_string("docs/operations/alerts.yml").unwrap())?;
/// println!("{}", prometheus.query("up")?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
}

impl Prometheus {
    /// Starts one with a configuration and rules, both YAML, and waits until it is ready, for a minute at most. Where there are rules, the
    /// configuration gets the key `rule_files`, which it must not have.
    ///
    /// # Errors
    ///
    /// If it can neither be found nor provisioned, or does not start; then with its log.
    pub fn start(config: &str, rules: &str) -> Result<Self, EphemeralError> {
        let named = if rules.is_empty() { "" } else { "\nrule_files: [rules.yml]\n" };
        let start = Start {
            wanted: &PROMETHEUS,
            files: &[("prometheus.yml", &format!("{config}{named}")), ("rules.yml", rules)],
            arguments: &|folder, port| {
                vec![
                    format!("--config.file={}", folder.join("prometheus.yml").display()),
                    format!("--storage.tsdb.path={}", folder.join("tsdb").display()),
                    format!("--web.listen-address=127.0.0.1:{port}"),
                ]
            },
            ready: "/-/ready",
            shared: None,
        };
        Ok(Self { server: start.start()? })
    }

    /// The port it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// What it says of itself, such as `prometheus, version 2.42.0`.
    pub fn version(&self) -> &str {
        &self.server.program.version
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// The result of a query as of now: what is in `data.result` of Prometheus' answer.
    ///
    /// # Errors
    ///
    /// If it does not understand the query, or does not answer; then with its log.
    pub fn query(&self, promql: &str) -> Result<Value, EphemeralError> {
        self.get(&format!("/api/v1/query?query={}", escaped(promql)), "result")
    }

    /// All alerts that are pending or firing, each with `labels`, `state` and `activeAt`.
    ///
    /// # Errors
    ///
    /// If it does not answer; then with its log.
    pub fn alerts(&self) -> Result<Vec<Value>, EphemeralError> {
        self.get("/api/v1/alerts", "alerts").map(|alerts| alerts.as_array().cloned().unwrap_or_default())
    }

    /// The names of the alerts that fire, in order, each once.
    ///
    /// # Errors
    ///
    /// If it does not answer; then with its log.
    pub fn firing(&self) -> Result<Vec<String>, EphemeralError> {
        let alerts = self.alerts()?;
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let mut names: Vec<_> =
            firing.filter_map(|alert| alert["labels"]["alertname"].as_str()).map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn get(&self, path: &str, part: &str) -> Result<Value, EphemeralError> {
        let answer = send(self.server.port, "GET", path, "").and_then(json);
        answer.map(|mut answer| answer["data"][part].take()).map_err(|problem| self.server.failed(problem))
    }
}

/// promtool, which checks rules, tests them, and checks metrics.
#[derive(Debug)]
pub struct Promtool {
    program: Program,
}

impl Promtool {
    /// Finds or fetches it.
    ///
    /// # Errors
    ///
    /// If it can neither be found nor provisioned; then with how to install it.
    pub fn find() -> Result<Self, EphemeralError> {
        find(&PROMTOOL).map(|(_, program)| Self { program })
    }

    /// Runs it in the current folder, such as with `["check", "rules", "alerts.yml"]`, and returns all that it has said.
    ///
    /// # Errors
    ///
    /// If it does not succeed; then with all that it has said.
    pub fn run(&self, arguments: &[&str]) -> Result<String, EphemeralError> {
        run(self.program.command().args(arguments), "")
    }

    /// Whether a page of metrics is as Prometheus wants it: `promtool check metrics`.
    ///
    /// # Errors
    ///
    /// If it is not; then with each complaint.
    pub fn check_metrics(&self, page: &str) -> Result<String, EphemeralError> {
        run(self.program.command().args(["check", "metrics"]), page)
    }
}

/// Runs a command with this input to its end and returns all that it has said.
pub(super) fn run(command: &mut Command, input: &str) -> Result<String, EphemeralError> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().display().to_string();
    let arguments: Vec<_> = command.get_args().map(|argument| argument.display().to_string()).collect();
    let step = || format!("running {name} {}", arguments.join(" "));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().during(step)?;
    // Written by a thread of its own: a program that speaks before it has read all would wait for us, and we for it.
    let (stdin, input) = (child.stdin.take(), input.to_owned());
    let writer = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().during(step)?;
    // A program may end without having read all.
    let _ = writer.join();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    if output.status.success() {
        Ok(said)
    } else {
        Err(EphemeralError::step(step(), format!("{}\n{said}", output.status)))
    }
}
