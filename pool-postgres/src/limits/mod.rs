//! What bounds requests: how long they may take, what becomes of those that nobody waits for any more, and what is counted of all of them.

mod cancel;
mod course;
mod guard;
mod in_short;
mod ledger;
mod settings;
mod slow;
mod spans;
mod stats;
mod tags;
mod terms;
mod timed_out;
mod unsupported;

pub(crate) use course::Course;
pub(crate) use guard::{limited, limited_begin, patient, timer};
pub(crate) use ledger::{Account, Ledger, Tally, Totals};
pub use settings::Limits;
pub use slow::{QueryEnd, SlowQuery};
pub(crate) use spans::{Answered, database};
pub use stats::QueryStats;
pub(crate) use stats::{Counters, Item};
pub(crate) use tags::{parse_tags, show_tags};
pub(crate) use terms::Terms;
pub use timed_out::{TimeLimit, TimedOut};
pub use unsupported::UnsupportedLimit;
