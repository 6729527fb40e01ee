//! What the runbook tells to type.

use std::process::Command;
use std::time::Duration;

use pool_testkit::postgres::{EphemeralPostgres, SharedPostgres};

use crate::common::Service;
use crate::pack::text;

const TOKEN: &str = "s3cr3t-of-an-operator";

/// The first block of the runbook in this language.
fn block(language: &str) -> String {
    let book = text("runbook.md");
    let block = book.split(&format!("```{language}\n")).nth(1).and_then(|rest| rest.split("```").next());
    block.unwrap_or_else(|| panic!("there is no block of {language}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_runbook_do_what_it_says() {
    let database = EphemeralPostgres::shared().and_then(SharedPostgres::create_database).expect("a real server");
    let service = Service::start_with(database.url(), Some(TOKEN)).await;
    let address = format!("http://{}", service.address);
    service.app.pool.pause();
    // Those that are refused are to end it, too.
    let script = format!("set -euo pipefail\n{}", block("sh").replace("curl -s ", "curl -sSf "));
    let said = tokio::task::spawn_blocking(move || {
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).envs([("SERVICE", address.as_str()), ("POOL", "alerts"), ("TOKEN", TOKEN)]);
        bash.output().unwrap()
    });
    let output = said.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "curl and jq are needed, `apt-get install curl jq`: {output:?}");
    assert!(said.contains("\nmax_size = 20\n") && said.contains("alerts"), "{said}");
    let (config, state) = (service.app.pool.config(), service.app.pool.state());
    assert_eq!((config.max_size, config.leak_after, state.paused), (40, Some(Duration::from_mins(1)), false));
}

#[tokio::test]
async fn the_statements_of_the_runbook_are_understood() {
    let (_database, service) = Service::fresh().await;
    // Nobody has that number.
    service.app.pool.batch_execute(block("sql").replace("12345", "0").as_str()).await.unwrap();
}
