//! What puts a session in order.

use crate::tap::Changes;

/// The column in which names come back of what was prepared by SQL.
pub(super) const PREPARED: &str = "pool_prepared_by_sql";

/// Those of the client itself are not among them: it prepares by the protocol.
const NAMES: &str =
    "SELECT pg_catalog.quote_ident(name) AS pool_prepared_by_sql FROM pg_catalog.pg_prepared_statements WHERE from_sql";

/// What is undone by what, in this order: `RESET ALL` comes early, as the user may have set a `statement_timeout` that is short. Neither the role nor the session's user is reset by `RESET ALL`,
/// and the role that the configuration has set comes back by `RESET ROLE` alone.
const STATEMENTS: [(Changes, &str); 7] = [
    (Changes::SETTINGS.and(Changes::UNSET), "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL"),
    (Changes::CURSORS, "CLOSE ALL"),
    (Changes::CHANNELS, "UNLISTEN *"),
    // What no name of a command tells.
    (Changes::NONE, "SELECT pg_catalog.pg_advisory_unlock_all()"),
    (Changes::TEMPORARY, "DISCARD TEMP"),
    (Changes::NONE, "DISCARD SEQUENCES"),
    (Changes::PREPARED, NAMES),
];

/// The statements that undo these changes, after the end of a transaction if one is open. Empty if there is nothing to undo.
pub(super) fn undoing(changes: Changes, is_in_transaction: bool) -> String {
    let end = is_in_transaction.then_some("ROLLBACK");
    let everything = changes.has(Changes::ANYTHING);
    let needed = STATEMENTS.iter().filter(|(undone, _)| everything || changes.has(*undone));
    end.into_iter().chain(needed.map(|(_, sql)| *sql)).collect::<Vec<_>>().join("; ")
}

/// The same, and what asks which of these statements are there, so that they are forgotten: they were prepared for the pool's user, who has not waited for that.
pub(super) fn and_forgetting(undoing: String, names: &[String]) -> String {
    let names = names.join("', '");
    let asking = format!("SELECT name AS {PREPARED} FROM pg_catalog.pg_prepared_statements WHERE name IN ('{names}')");
    if undoing.is_empty() { asking } else { undoing + "; " + &asking }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_a_use_for_is_asked_for_last() {
        let asking = and_forgetting(String::new(), &["s1".to_owned(), "s20".to_owned()]);
        assert!(
            asking.starts_with("SELECT name AS pool_prepared_by_sql ") && asking.ends_with("('s1', 's20')"),
            "{asking}"
        );
        assert_eq!(and_forgetting("ROLLBACK".to_owned(), &["s1".to_owned()]).find("; SELECT"), Some(8));
    }

    #[test]
    fn what_was_changed_is_undone_and_nothing_else() {
        assert_eq!(undoing(Changes::NONE, false), "");
        assert_eq!(undoing(Changes::NONE, true), "ROLLBACK");
        assert_eq!(undoing(Changes::CHANNELS, true), "ROLLBACK; UNLISTEN *");
        let settings = "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL";
        assert_eq!(undoing(Changes::UNSET, false), settings);
        assert_eq!(undoing(Changes::TEMPORARY.and(Changes::SETTINGS), false), format!("{settings}; DISCARD TEMP"));
        let all = undoing(Changes::ANYTHING, false);
        assert!(STATEMENTS.iter().all(|(_, sql)| all.contains(sql)) && all.starts_with(settings));
        assert!(NAMES.contains(PREPARED));
    }
}
