//! What is shown, as tables for a terminal, in the manner of PgBouncer's `SHOW POOLS`.

use std::time::Duration;

use super::clock::rfc3339;
use super::document::{breaker, is_leak};
use super::source::{Readiness, Source};
use crate::connection::Holder;
use crate::observe::Snapshot;

/// Rows of holders and of the journal, at most, for each pool.
const ROWS: usize = 50;

/// The longest line below the title of a last column.
const RULE: usize = 40;

/// All pools, a line each; then who has their connections, their servers, and what went wrong lately, as far as there is any.
pub(super) fn text(sources: &[&dyn Source]) -> String {
    let pools: Vec<Shown> = sources.iter().map(|source| Shown::of(*source)).collect();
    let mut out = table(&HEAD, pools.iter().map(Shown::line).collect());
    let why: Vec<String> = pools.iter().filter_map(Shown::reasons).collect();
    if !why.is_empty() {
        out.push('\n');
        out.extend(why.iter().map(|line| format!("{line}\n")));
    }
    let all = |rows: fn(&Shown) -> Vec<Vec<String>>| pools.iter().flat_map(rows).collect::<Vec<_>>();
    section(
        &mut out,
        "HOLDERS",
        &["pool", "connection", "session", "held", "leak", "task", "place", "span", "activity"],
        all(Shown::holders),
    );
    section(&mut out, "SERVERS", &["pool", "host", "address", "role", "note"], all(Shown::servers));
    section(
        &mut out,
        "RECENT ERRORS AND EVENTS",
        &["pool", "at", "times", "since", "kind", "message"],
        all(Shown::journal),
    );
    out
}

const HEAD: [&str; 12] = [
    "name",
    "max",
    "leased",
    "idle",
    "opening",
    "maintenance",
    "waiting",
    "maxwait",
    "longest_lease",
    "utilisation",
    "breaker",
    "health",
];

/// One pool.
struct Shown {
    snapshot: Snapshot,
    readiness: Readiness,
    leak_after: Option<Duration>,
}

impl Shown {
    fn of(source: &dyn Source) -> Self {
        Self { snapshot: source.snapshot_in_short(), readiness: source.readiness(), leak_after: source.leak_after() }
    }

    fn name(&self) -> String {
        self.snapshot.name.to_string()
    }

    fn line(&self) -> Vec<String> {
        let pool = &self.snapshot.stats.state;
        let counts = [pool.max_size, pool.leased, pool.idle, pool.opening, pool.in_maintenance, pool.callers()];
        let lease = self.snapshot.oldest_lease.as_ref().map(|lease| lease.held);
        let paused = if pool.paused { ", paused" } else { "" };
        let mut line = vec![self.name()];
        line.extend(counts.map(|count| count.to_string()));
        line.extend([
            age(self.snapshot.oldest_waiter),
            age(lease),
            format!("{:.0}%", self.snapshot.utilisation * 100.0),
            breaker(pool.breaker).to_owned(),
            format!("{}{paused}", self.readiness.state),
        ]);
        line
    }

    fn reasons(&self) -> Option<String> {
        let reasons = &self.readiness.reasons;
        let line = format!("{} is {}: {}", self.name(), self.readiness.state, reasons.join("; "));
        (!reasons.is_empty()).then(|| plain(&line))
    }

    fn holders(&self) -> Vec<Vec<String>> {
        let row = |holder: &Holder| {
            let leak = if is_leak(holder, self.leak_after) { "LEAK" } else { "" };
            vec![
                self.name(),
                holder.connection.to_string(),
                or_nothing(holder.session),
                age(holder.held),
                leak.to_owned(),
                or_nothing(holder.task),
                or_nothing(holder.place),
                or_nothing(holder.span),
                or_nothing(holder.activity.as_deref()),
            ]
        };
        let mut rows: Vec<_> = self.snapshot.holders.iter().take(ROWS).map(row).collect();
        let more = self.snapshot.holders.len().saturating_sub(ROWS);
        if more > 0 {
            rows.push(vec![self.name(), format!("and {more} more")]);
        }
        rows
    }

    fn servers(&self) -> Vec<Vec<String>> {
        let servers = self.snapshot.servers.iter().map(|server| {
            vec![
                self.name(),
                server.host.clone(),
                or_nothing(server.address.as_deref()),
                or_nothing(server.role),
                or_nothing(server.note.as_deref()),
            ]
        });
        servers.collect()
    }

    fn journal(&self) -> Vec<Vec<String>> {
        let entries = self.snapshot.journal.iter().take(ROWS);
        entries
            .map(|entry| {
                let since = if entry.times > 1 { rfc3339(entry.since) } else { String::new() };
                let (times, kind) = (entry.times.to_string(), entry.kind.to_owned());
                vec![self.name(), rfc3339(entry.at), times, since, kind, entry.message.clone()]
            })
            .collect()
    }
}

fn or_nothing(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn age(time: Option<Duration>) -> String {
    time.map(|time| format!("{:.3}s", time.as_secs_f64())).unwrap_or_default()
}

/// Without what a terminal would take for a command, or for another line.
fn plain(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { '\u{FFFD}' } else { one }).collect()
}

fn section(out: &mut String, title: &str, head: &[&str], rows: Vec<Vec<String>>) {
    if !rows.is_empty() {
        out.extend(["\n", title, "\n"]);
        out.push_str(&table(head, rows));
    }
}

/// As psql draws it; numbers to the right.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let longest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(column, title)| title.chars().count().max(longest(column).unwrap_or_default()))
        .collect();
    let line = |cells: &[String]| {
        let padded = widths.iter().enumerate().map(|(column, width)| {
            let cell = cells.get(column).map_or("", String::as_str);
            if is_figure(cell) { format!(" {cell:>width$} ") } else { format!(" {cell:<width$} ") }
        });
        let line = padded.collect::<Vec<_>>().join("|");
        format!("{}\n", line.trim_end())
    };
    // The last column is as wide as its rows, of which one may be very long: the line need not be.
    let last = widths.len().saturating_sub(1);
    let drawn = widths.iter().enumerate().map(|(column, &width)| if column == last { width.min(RULE) } else { width });
    let rule = drawn.map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("+");
    let head: Vec<String> = head.iter().map(|&title| title.to_owned()).collect();
    let count = rows.len();
    let counted = if count == 1 { "(1 row)".to_owned() } else { format!("({count} rows)") };
    let body: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{rule}\n{body}{counted}\n", line(&head))
}

fn is_figure(cell: &str) -> bool {
    cell.strip_suffix(['s', '%']).unwrap_or(cell).parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_drawn_as_psql_draws_it() {
        let rows = vec![vec!["main".to_owned(), "20".to_owned()], vec!["é\u{1b}[2J\n".to_owned(), "3.500s".to_owned()]];
        let wanted =
            " name   | maxwait\n--------+---------\n main   |      20\n é\u{FFFD}[2J\u{FFFD} |  3.500s\n(2 rows)\n";
        assert_eq!(table(&["name", "maxwait"], rows), wanted, "without what a terminal would obey");
        let long = table(&["name", "message"], vec![vec!["main".to_owned(), "x".repeat(500)]]);
        assert_eq!(long.lines().nth(1).map(str::len), Some(6 + 1 + 42), "as wide as needed");
    }
}
