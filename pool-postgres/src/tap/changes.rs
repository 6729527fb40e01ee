//! What outlives a transaction in a session, as far as the names of commands tell.

/// What a session may have been changed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes(u8);

/// What the commands of these names do.
const NAMES: [(&[u8], Changes); 10] = [
    (b"SET", Changes::SETTINGS),
    (b"RESET", Changes::UNSET),
    (b"LISTEN", Changes::CHANNELS),
    (b"PREPARE", Changes::PREPARED),
    (b"DECLARE CURSOR", Changes::CURSORS),
    (b"DO", Changes::ANYTHING),
    (b"CALL", Changes::ANYTHING),
    (b"DISCARD ALL", Changes::LOST),
    (b"DEALLOCATE ALL", Changes::LOST),
    // It may have been carried out: `EXPLAIN ANALYZE CREATE TEMPORARY TABLE ... AS`.
    (b"EXPLAIN", Changes::TEMPORARY),
];

impl Changes {
    pub(crate) const NONE: Self = Self(0);
    /// A parameter was set: by `SET`, which may have been `SET LOCAL`, or however else if it is one that the server reports.
    pub(crate) const SETTINGS: Self = Self(1);
    /// A parameter was reset: what the pool has set itself for a tag may be gone.
    pub(crate) const UNSET: Self = Self(1 << 1);
    /// It listens.
    pub(crate) const CHANNELS: Self = Self(1 << 2);
    /// Statements were prepared by SQL.
    pub(crate) const PREPARED: Self = Self(1 << 3);
    /// Something was created, which may be temporary.
    pub(crate) const TEMPORARY: Self = Self(1 << 4);
    /// A cursor was declared, which may outlive its transaction.
    pub(crate) const CURSORS: Self = Self(1 << 5);
    /// A block of code or a procedure was run, which may have done anything.
    pub(crate) const ANYTHING: Self = Self(1 << 6);
    /// The statements are gone that the client has prepared for itself.
    pub(crate) const LOST: Self = Self(1 << 7);

    /// What a command does that is completed under this name.
    pub(super) fn of(tag: &[u8]) -> Self {
        // Most begin with none of these.
        if !matches!(tag.first(), Some(b'S' | b'R' | b'L' | b'P' | b'D' | b'C' | b'E')) {
            return Self::NONE;
        }
        if tag.starts_with(b"CREATE ") {
            return Self::TEMPORARY;
        }
        NAMES.iter().find(|(name, _)| *name == tag).map_or(Self::NONE, |(_, change)| *change)
    }

    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether it has any of these.
    pub(crate) const fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All of it but these.
    pub(crate) const fn but(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// What both have.
    pub(crate) const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Whether a command of this name has made a table out of rows that it has not sent: `SELECT INTO` and `CREATE TABLE AS` are completed as the `SELECT` that they have in them.
pub(super) fn keeps_its_rows(tag: &[u8], has_answered: bool, is_simple: bool) -> bool {
    let rows = tag.strip_prefix(b"SELECT ").filter(|_| !has_answered);
    // Without a description of its rows, a query of the extended protocol that finds none looks the same.
    rows.is_some_and(|rows| is_simple || rows != b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_commands_tell_what_outlives_a_transaction() {
        for (tag, changes) in [
            ("SET", Changes::SETTINGS),
            ("RESET", Changes::UNSET),
            ("LISTEN", Changes::CHANNELS),
            ("PREPARE", Changes::PREPARED),
            ("DECLARE CURSOR", Changes::CURSORS),
            ("DO", Changes::ANYTHING),
            ("CALL", Changes::ANYTHING),
            ("CREATE TABLE", Changes::TEMPORARY),
            ("CREATE TABLE AS", Changes::TEMPORARY),
            ("CREATE VIEW", Changes::TEMPORARY),
            ("DISCARD ALL", Changes::LOST),
            ("DEALLOCATE ALL", Changes::LOST),
        ] {
            assert_eq!(Changes::of(tag.as_bytes()), changes, "{tag}");
        }
        let others =
            "SELECT 1,INSERT 0 1,BEGIN,COMMIT,SET CONSTRAINTS,PREPARE TRANSACTION,DISCARD TEMP,DEALLOCATE,UNLISTEN,";
        assert!(others.split(',').all(|tag| Changes::of(tag.as_bytes()).is_none()));
    }

    #[test]
    fn rows_that_were_not_sent_have_become_a_table() {
        assert!(keeps_its_rows(b"SELECT 3", false, false) && keeps_its_rows(b"SELECT 0", false, true));
        assert!(!keeps_its_rows(b"SELECT 3", true, false) && !keeps_its_rows(b"SELECT 0", false, false));
        assert!(!keeps_its_rows(b"INSERT 0 3", false, true));
    }
}
