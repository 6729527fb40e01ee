//! The phases: how many callers a connection has, and what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pool_testkit::postgres::EphemeralPostgres;

use super::callers::Callers;
use super::figures::{Figures, Played};
use super::rest::Rest;
use super::site::{CONNECTIONS, Site};
use super::watcher::Watched;
use crate::args::Choice;

/// A pool of its own, with so many callers for each connection.
#[derive(Clone, Copy)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    oversubscription: usize,
}

pub(crate) const PHASES: [Phase; 2] =
    [Phase { name: "four_times", oversubscription: 4 }, Phase { name: "64_times", oversubscription: 64 }];

/// What the command line can pick.
pub(crate) fn choices() -> [Choice; 1] {
    [("only", PHASES.iter().map(|phase| phase.name).collect())]
}

impl Phase {
    pub(crate) fn tasks(self) -> usize {
        self.oversubscription * CONNECTIONS
    }

    /// Plays it, for so long.
    pub(crate) async fn play(self, server: &EphemeralPostgres, length: Duration) -> Figures {
        eprintln!("{}: {} tasks on {CONNECTIONS} connections for {length:?}", self.name, self.tasks());
        let site = Site::open(server).await;
        let (started, until) = (Instant::now(), Instant::now() + length);
        let callers = Arc::new(Callers::new(site, self, until));
        let watching = tokio::spawn(Watched::over(Arc::clone(&callers), self, started, until));
        let tally = callers.work().await;
        let took = started.elapsed();
        let watched = watching.await.expect("it does not panic");
        eprintln!("{}: looks at what is left", self.name);
        let begun = callers.begun();
        let site = Arc::into_inner(callers).expect("nobody has it any more").site;
        let (stats, retries, struck) = (site.pool.stats(), site.retrier.stats(), site.proxy.seen().struck);
        let rest = Rest::of(site, &tally.told).await;
        Figures::new(&Played { begun, tally, took, watched, stats, retries, struck, rest })
    }
}
