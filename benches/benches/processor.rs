//! What a process has had of the processors.

use std::time::Duration;

/// So far; `None` where the system does not tell. A process is a number, or `self`.
pub(crate) fn processor_time(process: &str) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may have anything in it: the 14th field of all is the time in the process, the 15th that in the system for it.
    let ticks = stat.rsplit(')').next()?.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().ok());
    // Linux tells all times in hundredths of a second.
    Some(Duration::from_millis(10 * ticks.sum::<Option<u64>>()?))
}
