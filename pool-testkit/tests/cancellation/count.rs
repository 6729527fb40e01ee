//! How many cases there are. A few more are counted than are asked for here: how often a future is polled may change.

/// Of each method of the pool, at least.
pub(crate) const METHOD_CASES: [(&str, usize); 9] = [
    ("acquire", 1),
    ("acquire_timeout", 1),
    ("acquire_owned", 1),
    ("acquire_owned_timeout", 1),
    ("ready", 1),
    ("warm_up", 1),
    ("drained", 1),
    ("close", 1),
    ("close_within", 1),
];

/// Says how many there were, and fails if it were too few.
pub(crate) fn counted(least: &[(&str, usize)], name: &str, cases: usize) {
    println!("{name}: {cases} cases");
    let (_, least) = least.iter().find(|(of, _)| *of == name).expect("a row for each");
    assert!(cases >= *least, "{cases} cases of {name}, expected {least}");
}

/// Of each way in which the futures of the driver end.
pub(crate) const ENDING_CASES: [(&str, usize); 3] =
    [("the runtime ends", 1), ("the budgets are over", 1), ("it is closed without mercy", 1)];
