//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use lexopt::prelude::*;

pub(super) const HELP: &str = "\
Stores the alerts that a Prometheus Alertmanager posts, and lists them.

Usage: alert_history [--listen ADDRESS] [--host NAME]... [--log-format text|json] [--load SECONDS [--clients N]]

  --listen ADDRESS   where to serve (default 127.0.0.1:8080; with --load any free port)
  --host NAME        another host to be asked for, at any port or as NAME:PORT, beside localhost and the address; any other gets 421.
                     At an address such as 0.0.0.0 every host is answered unless one is named
  --log-format F     text (default) or json; RUST_LOG filters
  --load SECONDS     drive the service over HTTP for so long, report, and exit
  --clients N        concurrent clients of --load, 1 to 1000 (default 32)

Environment: DATABASE_URL names the PostgreSQL to use, as a URI or key/value string. Without it the service starts one of its own,
which goes away with it. If the database is away, the service starts and is not ready. CONTROL_TOKEN, of 16 characters and more, lets whoever sends it control the pool; without it nobody can.

  POST /webhook        takes the Alertmanager's payload, version 4, as application/json
  GET  /history        newest first, one JSON object per line; filters: alertname, status, label=name=value (repeatable),
                       from, to (RFC 3339, when the alert started), limit (default 1000)
  GET  /health/live    200 while the process serves
  GET  /health/ready   200 while the database answers
  GET  /metrics        Prometheus text format or OpenMetrics, of the pool and of the service
  GET  /pool           the pool, as a table or as JSON; /pool/ui is a page of it for browsers
  POST /pool/control/pause, resume, retire, reconfigure, with the header Authorization: Bearer CONTROL_TOKEN
";

/// How to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) listen: SocketAddr,
    /// Those that are named.
    hosts: Vec<String>,
    pub(super) log_format: LogFormat,
    pub(super) load: Option<Load>,
}

impl Options {
    /// The hosts that are answered; none are all. An address that stands for every one of the machine is none that anybody asks for, so that it says nothing.
    pub(super) fn hosts(&self) -> Vec<String> {
        let ip = self.listen.ip();
        if ip.is_unspecified() && self.hosts.is_empty() {
            return Vec::new();
        }
        let own = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        [own, "localhost".to_owned()].into_iter().chain(self.hosts.iter().cloned()).collect()
    }
}

/// How to drive the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) time: Duration,
    pub(super) clients: usize,
}

const DEFAULT_CLIENTS: usize = 32;

/// The options as they are read.
struct Draft {
    listen: Option<SocketAddr>,
    hosts: Vec<String>,
    log_format: LogFormat,
    seconds: Option<u64>,
    clients: Option<usize>,
}

/// Reads the command line; `None` asks for the help.
pub(super) fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Option<Options>, String> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut draft =
        Draft { listen: None, hosts: Vec::new(), log_format: LogFormat::default(), seconds: None, clients: None };
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let name = match argument {
            Long("help") | Short('h') => return Ok(None),
            Long(name) => name.to_owned(),
            other => return Err(unknown(&other)),
        };
        draft.set(&name, &mut parser)?;
    }
    draft.finish().map(Some)
}

impl Draft {
    fn finish(self) -> Result<Options, String> {
        if self.clients.is_some() && self.seconds.is_none() {
            return Err("--clients says how --load drives the service; give both".to_owned());
        }
        let clients = self.clients.unwrap_or(DEFAULT_CLIENTS);
        let load = self.seconds.map(|seconds| Load { time: Duration::from_secs(seconds), clients });
        let port = if load.is_some() { 0 } else { 8080 };
        let listen = self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)));
        Ok(Options { listen, hosts: self.hosts, log_format: self.log_format, load })
    }

    fn set(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), String> {
        match name {
            "listen" => self.listen = Some(listen(parser)?),
            "host" => self.hosts.push(host(parser)?),
            "log-format" => self.log_format = format(parser)?,
            _ => self.set_load(name, parser)?,
        }
        Ok(())
    }

    fn set_load(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), String> {
        match name {
            "load" => self.seconds = Some(value(parser, "--load", "1 to 86400 seconds", |n| (1..=86_400).contains(n))?),
            "clients" => self.clients = Some(value(parser, "--clients", "1 to 1000", |n| (1..=1000).contains(n))?),
            other => return Err(unknown(&Long(other))),
        }
        Ok(())
    }
}

fn listen(parser: &mut lexopt::Parser) -> Result<SocketAddr, String> {
    value(parser, "--listen", "an address such as 127.0.0.1:8080", |_| true)
}

fn host(parser: &mut lexopt::Parser) -> Result<String, String> {
    value(parser, "--host", "a name such as alerts.example", |name: &String| is_host(name))
}

/// As far as it can be told: no address of a page.
fn is_host(name: &str) -> bool {
    let allowed = |one: u8| one.is_ascii_alphanumeric() || b".-_:[]".contains(&one);
    !name.is_empty() && name.bytes().all(allowed)
}

fn unknown(argument: &lexopt::Arg<'_>) -> String {
    let name = match argument {
        Short(letter) => format!("-{letter}"),
        Long(name) => format!("--{name}"),
        Value(value) => value.to_string_lossy().into_owned(),
    };
    format!("unknown argument {name}; --help lists the options")
}

fn value<T: std::str::FromStr>(
    parser: &mut lexopt::Parser,
    option: &str,
    allowed: &str,
    fits: impl Fn(&T) -> bool,
) -> Result<T, String> {
    let text = parser.value().map_err(|error| format!("{error}; allowed: {allowed}"))?.to_string_lossy().into_owned();
    text.parse().ok().filter(fits).ok_or_else(|| format!("{option} {text:?} is not allowed; allowed: {allowed}"))
}

fn format(parser: &mut lexopt::Parser) -> Result<LogFormat, String> {
    match value(parser, "--log-format", "text, json", |_: &String| true)?.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("--log-format {other:?} is not allowed; allowed: text, json")),
    }
}
