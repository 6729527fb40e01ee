//! The metrics of the driver.

use pool_core::MetricKind::{self, Counter, UpDownCounter};
use pool_core::MetricUnit::{Bytes, Events, Requests};
use pool_core::{MetricFamily, MetricUnit};

use crate::diagnosis::CLASSES;
use crate::driver::PostgresDriver;
use crate::end::Ends;
use crate::limits::{Account, QueryStats, Totals};
use crate::statements::StatementStats;

/// What there is now, over all connections.
#[derive(Debug, Default)]
pub(super) struct Count {
    in_flight: u64,
    kept: u64,
}

impl Count {
    pub(super) fn add(&mut self, account: &Account) {
        self.in_flight += account.session().in_flight() as u64;
        self.kept += account.kept();
    }
}

/// All but those of the servers.
pub(super) fn all(driver: &PostgresDriver, totals: &Totals, now: &Count) -> Vec<MetricFamily> {
    let mut families = queries(&QueryStats::of(&totals.items)).to_vec();
    families.extend(statements(&driver.knowledge.stats(totals), now.kept));
    families.extend(traffic(totals, now.in_flight));
    families.push(ended(&driver.ends()));
    families
}

fn events(name: &'static str, help: &'static str) -> MetricFamily {
    MetricFamily::new(name, Counter, Events, help)
}

fn one(name: &'static str, kind: MetricKind, unit: MetricUnit, help: &'static str, value: u64) -> MetricFamily {
    MetricFamily::new(name, kind, unit, help).with([], value)
}

fn queries(stats: &QueryStats) -> [MetricFamily; 4] {
    // Each of the counts behind these is read once, and those of `queries` and `failed` are made of them.
    let outcomes = [
        ("answered", stats.queries - stats.failed - stats.dropped),
        ("failed", stats.failed - stats.timed_out),
        ("timed_out", stats.timed_out),
        ("dropped", stats.dropped),
        ("skipped", stats.skipped),
    ];
    [
        events("pool.postgres.queries", "Queries that have ended, by what came of them.")
            .with_each("outcome", outcomes),
        one("pool.postgres.queries.slow", Counter, Events, "Queries that were slow.", stats.slow),
        one(
            "pool.postgres.queries.cancelled",
            Counter,
            Events,
            "Queries that timed out or were dropped, and that the server was asked to cancel.",
            stats.cancelled,
        ),
        events("pool.postgres.sla", "Queries by whether they were answered in the time that the service has promised.")
            .with_each("outcome", [("met", stats.sla_met), ("missed", stats.sla_missed)]),
    ]
}

fn statements(stats: &StatementStats, kept: u64) -> [MetricFamily; 2] {
    let outcomes = [
        ("hit", stats.hits),
        ("prepared", stats.prepared),
        ("unprepared", stats.unprepared),
        ("described", stats.described),
        ("warmed", stats.warmed),
        ("evicted", stats.evicted),
        ("healed", stats.healed),
    ];
    [
        events("pool.postgres.statements", "What has become of statements and of what is prepared of them.")
            .with_each("outcome", outcomes),
        one(
            "pool.postgres.statements.cached",
            UpDownCounter,
            Events,
            "Statements that connections keep prepared, each counted with each connection.",
            kept,
        ),
    ]
}

fn traffic(totals: &Totals, in_flight: u64) -> [MetricFamily; 3] {
    let bytes = [("received", totals.received), ("sent", totals.sent)];
    [
        MetricFamily::new("pool.postgres.io", Counter, Bytes, "Bytes of PostgreSQL's protocol, before encryption.")
            .with_each("direction", bytes),
        events(
            "pool.postgres.errors",
            "Errors that servers have reported on sessions, by the class of their SQLSTATE.",
        )
        .with_each("class", CLASSES.into_iter().zip(totals.errors)),
        one(
            "pool.postgres.requests.in_flight",
            UpDownCounter,
            Requests,
            "Requests that servers have not answered yet, on all connections.",
            in_flight,
        ),
    ]
}

fn ended(ends: &Ends) -> MetricFamily {
    events("pool.postgres.sessions.ended", "Sessions that have ended without having been closed, by the cause.")
        .with_each("cause", ends.iter())
}
