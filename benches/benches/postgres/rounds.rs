//! The rounds: all are open all the time, and take turns.

use std::error::Error;
use std::time::Duration;

use super::figures::Seen;
use super::site::{Site, wanted, wanted_contenders};
use crate::args::Args;

/// Has all take turns at each workload, each round in another order.
pub(crate) fn measure(args: &Args) -> Result<Vec<Seen>, Box<dyn Error>> {
    let mut site = Site::open(args)?;
    let names: Vec<_> = wanted_contenders(args).collect();
    let (rounds, counted) = extent(args);
    let mut seen = Vec::new();
    for workload in wanted(args) {
        // Statements are prepared, and what is slow is found out; it counts for nothing.
        for which in 0..names.len() {
            site.take_turn(&workload, which, [counted / 4, counted])?;
        }
        seen.push((workload, names.iter().map(|name| Seen::new(workload.name, name)).collect::<Vec<_>>()));
    }
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (workload, seen) in seen.iter_mut().filter(|(workload, _)| workload.takes_part(round)) {
            for turn in 0..seen.len() {
                let which = (round + turn) % seen.len();
                seen[which].add(&site.take_turn(workload, which, workload.times(counted))?);
            }
        }
    }
    Ok(seen.into_iter().flat_map(|(_, seen)| seen).collect())
}

/// How many rounds there are, and for how long a turn counts.
fn extent(args: &Args) -> (usize, Duration) {
    let (rounds, millis) = if args.quick { (1, 100) } else { (9, 400) };
    let counted = u64::try_from(args.number("millis", millis)).unwrap_or(u64::MAX);
    (args.number("rounds", rounds), Duration::from_millis(counted))
}
