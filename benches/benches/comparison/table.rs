//! The table.

use std::process::ExitCode;

use tokio::runtime::Builder;

use super::{engines, sessions, sqlx};
use crate::sqlx_peer;

/// One defect.
pub(crate) struct Row {
    peer: &'static str,
    what: &'static str,
    theirs: String,
    ours: String,
    holds: bool,
}

impl Row {
    pub(crate) fn new(peer: &'static str, what: &'static str) -> Self {
        eprintln!("{peer}: {what}");
        Self { peer, what, theirs: String::new(), ours: String::new(), holds: false }
    }

    /// What happens there, and here.
    pub(crate) fn said(self, theirs: String, ours: String) -> Self {
        Self { theirs, ours, ..self }
    }

    /// Whether what happens here is as it should be.
    pub(crate) fn holds(self, holds: bool) -> Self {
        Self { holds, ..self }
    }
}

/// Shows all of them. Fails in the sense of the operating system if something is not as it should be here.
pub(crate) fn print() -> ExitCode {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let sqlx_is_built = sqlx_peer::build();
    let rows = runtime.block_on(async {
        let world = sessions::World::start();
        let mut rows = engines::all().await;
        rows.extend(sessions::all(&world).await);
        if sqlx_is_built.is_ok() {
            rows.extend(sqlx::all(&world).await);
        }
        rows
    });
    println!("| peer | what is done | there | here |\n| --- | --- | --- | --- |");
    for Row { peer, what, theirs, ours, holds } in &rows {
        let mark = if *holds { "" } else { " (BROKEN)" };
        println!("| {peer} | {what} | {theirs} | {ours}{mark} |");
    }
    if let Err(why) = &sqlx_is_built {
        eprintln!("The rows of sqlx are missing: {why}");
    }
    if sqlx_is_built.is_ok() && rows.iter().all(|row| row.holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
