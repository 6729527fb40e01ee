//! How many sessions have ended, and why.

use std::sync::atomic::{AtomicU64, Ordering};

use super::SessionEnd;

/// One count for each, so that their number does not depend on what servers say.
const LABELS: [&str; 17] = [
    "08P01", "25P03", "25P04", "28000", "53200", "57P01", "57P02", "57P03", "57P04", "57P05", "58030", OTHER, "closed",
    "network", "protocol", "cut off", "runtime",
];
/// All other SQLSTATEs.
const OTHER: &str = "other";

pub(super) fn label_of(code: Option<&str>) -> &'static str {
    LABELS.iter().find(|label| code == Some(**label)).copied().unwrap_or(OTHER)
}

/// The counts of one driver.
#[derive(Debug, Default)]
pub(crate) struct Counts([AtomicU64; LABELS.len()]);

impl Counts {
    pub(crate) fn count(&self, end: &SessionEnd) {
        let label = end.label();
        if let Some(place) = LABELS.iter().position(|other| *other == label) {
            self.0[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> Ends {
        Ends(self.0.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
}

/// How many sessions of a driver have ended without having been closed, by the reason.
///
/// # Example
///
/// ```no_run
/// # fn export(pool: &pool_postgres::PostgresPool) {
/// let ends = pool.driver().ends();
/// for (label, count) in ends.iter() {
///     println!("postgres_sessions_ended_total{{cause=\"{label}\"}} {count}");
/// }
/// println!("{} by an administrator", ends.count("57P01"));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends([u64; LABELS.len()]);

impl Ends {
    /// All reasons, those that never came up included, by the name that [`SessionEnd::label`] gives them.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn show(pool: &pool_postgres::PostgresPool) {
    /// for (label, count) in pool.driver().ends().iter().filter(|(_, count)| *count > 0) {
    ///     println!("{label}: {count}");
    /// }
    /// # }
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        LABELS.into_iter().zip(self.0)
    }

    /// How many ended for this reason; 0 if the name is none.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn crashes(pool: &pool_postgres::PostgresPool) -> u64 {
    /// pool.driver().ends().count("57P02")
    /// # }
    /// ```
    pub fn count(&self, label: &str) -> u64 {
        self.iter().find(|(other, _)| *other == label).map_or(0, |(_, count)| count)
    }

    /// How many ended.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn any(pool: &pool_postgres::PostgresPool) -> bool {
    /// pool.driver().ends().total() > 0
    /// # }
    /// ```
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::EndCause;
    use super::*;
    use crate::tap::Words;

    #[test]
    fn ends_are_counted_by_a_few_names() {
        let counts = Counts::default();
        for code in ["57P01", "57P01", "XX999", "12345"] {
            counts.count(&SessionEnd::by_server(Words::new(code, "")));
        }
        counts.count(&SessionEnd::by_server(Words::new("", "")));
        counts.count(&SessionEnd::by_us(EndCause::CutOff));
        let ends = counts.snapshot();
        assert_eq!((ends.count("57P01"), ends.count("other"), ends.count("cut off")), (2, 3, 1));
        assert_eq!((ends.total(), ends.count("nothing")), (6, 0));
        assert_eq!(ends.iter().count(), LABELS.len());
    }

    #[test]
    fn every_cause_has_its_count() {
        let network = EndCause::Network(std::io::ErrorKind::Other);
        for cause in [EndCause::Closed, network, EndCause::Protocol, EndCause::CutOff, EndCause::Runtime] {
            let counts = Counts::default();
            counts.count(&SessionEnd { cause, sqlstate: None, message: String::new() });
            assert_eq!(counts.snapshot().total(), 1, "{cause:?}");
        }
    }
}
