//! What operators look at a pool with, for tests: Prometheus, Alertmanager and a browser.
//!
//! ```no_run
//! # fn main() -> Result<(), pool_testkit::postgres::EphemeralError> {
//! use pool_testkit::tools::{Alertmanager, Browser, Prometheus, Promtool};
//!
//! Promtool::find()?.run(&["check", "rules", "docs/operations/alerts.yml"])?;
//! let prometheus = Prometheus::start("scrape_configs: []\n", "")?;
//! println!("{}", prometheus.query("vector(1)")?);
//! let alertmanager = Alertmanager::start("http://127.0.0.1:8080/webhook")?;
//! alertmanager.amtool(&["alert", "add", "TestAlert"])?;
//! let browser = Browser::start()?;
//! browser.goto("http://127.0.0.1:8080/pool/ui")?;
//! # Ok(())
//! # }
//! ```
//!
//! | program | looked for in | fetched with `apt-get download` |
//! | --- | --- | --- |
//! | `prometheus` | `POOL_PROMETHEUS`, `PATH` | yes |
//! | `promtool` | `POOL_PROMTOOL`, `PATH` | yes, with it |
//! | `alertmanager`, as Debian calls it `prometheus-alertmanager` | `POOL_ALERTMANAGER`, `PATH` | yes |
//! | `amtool` | `POOL_AMTOOL`, `PATH` | yes, with it |
//! | `chromedriver` and `chromium` | `POOL_CHROMEDRIVER`, `POOL_CHROMIUM`, `PATH` | no: `apt-get install chromium chromium-driver` |
//! | axe-core | | with npm, of one version, whose hash is compared |
//!
//! They are fetched and not installed, because their packages would start services. Debian's Alertmanager reads files in a folder that only
//! installing it makes: a fetched one sees that in a mount namespace of its own (`unshare`, from util-linux). What is fetched goes into the user's cache, next to
//! the servers of [`postgres`](crate::postgres), and so does what they run as and how they end: with the process that started them,
//! however that ends. They listen on 127.0.0.1 alone. Every call blocks the thread: a test whose own runtime serves what is
//! asked for needs more threads than one.

mod alertmanager;
mod axe;
mod browser;
mod client;
mod find;
mod prometheus;
mod server;
mod webdriver;

pub use alertmanager::{Alertmanager, AlertmanagerBuilder};
pub use axe::axe_core;
pub use browser::{Browser, BrowserBuilder, Logged, Request};
pub use prometheus::{Prometheus, Promtool};
