//! How many cases there are, at least: a few less than are counted, since how often a future is polled may change.

/// Of each method of the pool.
pub(crate) const METHOD_CASES: [(&str, usize); 13] = [
    ("acquire", 4_600),
    ("acquire_timeout", 4_600),
    ("acquire_owned", 4_600),
    ("acquire_owned_timeout", 4_600),
    ("ready", 2_300),
    ("warm_up", 3_200),
    ("drained", 2_100),
    ("close", 10_200),
    ("close_within", 9_400),
    ("check_health", 5_600),
    ("close_all", 10_200),
    ("Scheduler::acquire", 4_600),
    ("Scheduler::acquire_many", 6_300),
];

/// Of each way in which the futures of the driver end.
pub(crate) const ENDING_CASES: [(&str, usize); 3] =
    [("the runtime ends", 6_600), ("the budgets are over", 6_600), ("it is closed without mercy", 6_600)];

/// Of all.
pub(crate) fn total() -> usize {
    METHOD_CASES.iter().chain(&ENDING_CASES).map(|(_, cases)| cases).sum()
}

/// Says how many there were, and fails if it were too few.
pub(crate) fn counted(least: &[(&str, usize)], name: &str, cases: usize) {
    println!("{name}: {cases} cases");
    let (_, least) = least.iter().find(|(of, _)| *of == name).expect("a row for each");
    assert!(cases >= *least, "{cases} cases of {name}, expected {least}");
}
