//! The names of channels.

use std::fmt::Write;
use std::sync::Arc;

use super::ListenError;

/// So many bytes the name of a channel has at most: the server would cut a longer one off without a word.
pub(super) const LONGEST: usize = 63;

/// The name, if it is that of a channel.
pub(super) fn checked(name: &str) -> Result<Arc<str>, ListenError> {
    match name.len() {
        0 => Err(ListenError::EmptyChannel),
        bytes if bytes > LONGEST => Err(ListenError::LongChannel { bytes }),
        _ if name.contains('\0') => Err(ListenError::ZeroInChannel),
        _ => Ok(name.into()),
    }
}

/// One statement for each channel, all in one transaction. Names are quoted, so that they are taken as they are.
pub(super) fn statements(verb: &str, channels: &[Arc<str>]) -> String {
    channels.iter().fold(String::new(), |mut sql, channel| {
        let gap = if sql.is_empty() { "" } else { "; " };
        let _ = write!(sql, "{gap}{verb} \"{}\"", channel.replace('"', "\"\""));
        sql
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_nothing_else() {
        let sql = |names: &[&str]| statements("LISTEN", &names.iter().map(|name| (*name).into()).collect::<Vec<_>>());
        assert_eq!(sql(&["a"]), "LISTEN \"a\"");
        assert_eq!(sql(&["a\"; DROP TABLE b; --", "C d"]), "LISTEN \"a\"\"; DROP TABLE b; --\"; LISTEN \"C d\"");
        assert_eq!(sql(&[]), "");
    }

    #[test]
    fn a_name_has_one_byte_to_63() {
        assert!(matches!(checked(""), Err(ListenError::EmptyChannel)));
        assert!(checked(&"a".repeat(63)).is_ok());
        assert!(matches!(checked(&"a".repeat(64)), Err(ListenError::LongChannel { bytes: 64 })));
        // It is bytes that count.
        assert!(matches!(checked(&"\u{e4}".repeat(32)), Err(ListenError::LongChannel { bytes: 64 })));
        assert!(matches!(checked("a\0b"), Err(ListenError::ZeroInChannel)));
    }
}
