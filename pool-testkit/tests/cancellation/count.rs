//! How many cases there are, at least: a few less than are counted, since how often a future is polled may change.

/// Of each method of the pool.
pub(crate) const METHOD_CASES: [(&str, usize); 23] = [
    ("acquire", 5_500),
    ("acquire_timeout", 5_500),
    ("acquire_owned", 5_500),
    ("acquire_owned_timeout", 5_500),
    ("acquire_owned_at", 5_500),
    ("share", 6_000),
    ("share_timeout", 6_300),
    ("share_at", 5_500),
    ("share_owned", 6_600),
    ("share_owned_timeout", 5_500),
    ("acquire_preferring", 7_400),
    ("acquire_owned_preferring", 8_100),
    ("ready", 2_700),
    ("warm_up", 3_800),
    ("drained", 2_500),
    ("close", 12_200),
    ("close_within", 11_200),
    ("check_health", 6_700),
    ("wanted_back", 3_500),
    ("close_all", 12_200),
    ("Scheduler::acquire", 5_500),
    ("Scheduler::acquire_preferring", 7_400),
    ("Scheduler::acquire_many", 7_600),
];

/// Of each way in which the futures of the driver end.
pub(crate) const ENDING_CASES: [(&str, usize); 3] =
    [("the runtime ends", 7_900), ("the budgets are over", 7_900), ("it is closed without mercy", 7_900)];

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
