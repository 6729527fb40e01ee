//! The classes of error codes, for whoever counts.

/// The first two characters of the codes that are told apart, so that their number does not depend on what servers say.
pub(crate) const CLASSES: [&str; 24] = [
    "08", "0A", "21", "22", "23", "25", "26", "28", "38", "39", "3D", "3F", "40", "42", "53", "54", "55", "57", "58",
    "72", "HV", "P0", "XX", OTHER,
];
/// All others.
const OTHER: &str = "other";

/// The place of a code's class.
pub(crate) fn class_of(code: &str) -> usize {
    let begins = code.get(..2).unwrap_or_default();
    CLASSES.iter().position(|class| *class == begins).unwrap_or(CLASSES.len() - 1)
}

/// The class of a code, as OpenTelemetry has it.
pub(crate) fn error_type(code: &str) -> &'static str {
    match CLASSES[class_of(code)] {
        OTHER => "_OTHER",
        class => class,
    }
}

#[cfg(test)]
mod tests {
    use super::super::SQLSTATES;
    use super::*;

    #[test]
    fn a_code_is_of_its_class_or_of_none() {
        let class = |code| CLASSES[class_of(code)];
        assert_eq!(["23505", "XX000", "P0001"].map(class), ["23", "XX", "P0"]);
        assert_eq!(["", "2", "99999", "other", "\u{e9}\u{e9}"].map(class), [OTHER; 5]);
    }

    #[test]
    fn what_means_something_to_the_pool_is_told_apart() {
        for row in SQLSTATES {
            assert_ne!(CLASSES[class_of(row.code)], OTHER, "{}", row.code);
        }
    }
}
