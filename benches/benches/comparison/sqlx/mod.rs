//! Defects of sqlx's pool, and those of others, tried on it.

use std::process::Stdio;

use super::sessions::World;
use super::table::Row;
use crate::sqlx_peer::program;

mod connects;
mod sessions;

/// What is seen here, and whether that is as it should be.
struct Here(bool, String);

pub(crate) async fn all(world: &World) -> Vec<Row> {
    let mut rows = of_sessions(world).await;
    rows.extend(of_connects(world).await);
    rows
}

async fn of_sessions(world: &World) -> Vec<Row> {
    let url = &world.url();
    vec![
        row(
            url,
            "transaction",
            "somebody leaves a transaction open; the next one inserts a row",
            sessions::transaction(world).await,
        ),
        row(
            url,
            "begin",
            "somebody stops to wait for `begin` when it has been sent; the next one inserts a row",
            sessions::begin(world).await,
        ),
        row(
            url,
            "query",
            "somebody stops to wait for a query that takes 3 s; the next one asks something",
            sessions::query(world).await,
        ),
        row(url, "setting", "somebody changes `search_path`; the next one looks at it", sessions::setting(world).await),
        row(
            url,
            "attributes",
            "`target_session_attrs` is `read-write` in the URL, and no session of the server can write",
            sessions::attributes(url).await,
        ),
    ]
}

async fn of_connects(world: &World) -> Vec<Row> {
    let url = &world.url();
    vec![
        row(url, "refused", "nobody listens at the address", connects::refused().await),
        row(
            url,
            "limit",
            "the server admits one connection, the pool may have two; somebody waits for the second, and the first comes back",
            connects::limit(world).await,
        ),
        row(
            url,
            "impatient",
            "a connect takes 1 s; ten ask one after the other, for 0.3 s each",
            connects::impatient(url).await,
        ),
        row(
            url,
            "churn",
            "at least 4 connections, an idle timeout of 0.3 s, nobody asks for 1.5 s",
            connects::churn(url).await,
        ),
        row(url, "secret", "the configuration is printed for a programmer", connects::secret()),
        row(url, "role", "the role does not exist", connects::role(url).await),
        row(
            url,
            "panic",
            "what is called after a connect panics once; three ask one after the other",
            connects::panic(url).await,
        ),
    ]
}

fn row(url: &str, defect: &str, what: &'static str, Here(holds, said): Here) -> Row {
    Row::new("sqlx", what).said(there(url, defect), said).holds(holds)
}

/// What is seen there, by the program's line and exit code.
fn there(url: &str, defect: &str) -> String {
    let output = program(url, &[defect]).stderr(Stdio::inherit()).output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.code() {
        Some(0) => format!("{said} (no defect)"),
        Some(1) => said,
        _ => panic!("{defect} could not be tried on sqlx: {}", output.status),
    }
}
