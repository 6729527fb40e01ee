//! What a server says in an error or a notice.

/// The fields of an `ErrorResponse` or a `NoticeResponse` that matter here. The message may be cut short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// The SQLSTATE; empty if there is none.
    pub(crate) code: String,
    /// The message for people.
    pub(crate) message: String,
    /// Whether the server ends the session with it.
    pub(super) fatal: bool,
}

impl Words {
    /// The words of an error that has been read by somebody else.
    pub(crate) fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned(), fatal: false }
    }

    /// Reads the beginning of a message's body: fields of a type and a text each, a zero after each text.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut words = Self { code: String::new(), message: String::new(), fatal: false };
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, text)) = field.split_first() else { continue };
            let text = String::from_utf8_lossy(text);
            match kind {
                b'C' => words.code = text.into_owned(),
                b'M' => words.message = text.into_owned(),
                // The severity: translated, which is all that PgBouncer has, and after that as it is.
                b'S' | b'V' => words.fatal = matches!(&*text, "FATAL" | "PANIC"),
                _ => {}
            }
        }
        words
    }

    /// Whether the server ends the session: what an operator or a crash does is told by a warning, too.
    pub(super) fn is_farewell(&self) -> bool {
        self.fatal || self.code.starts_with("57P")
    }

    /// Whether it is how the server answers a client that gives up a COPY. In another language than English nobody can tell.
    pub(super) fn is_copy_given_up(&self) -> bool {
        self.code == "57014" && self.message.starts_with("COPY from stdin failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_severity_counts_as_it_is_if_it_is_there() {
        let is_fatal = |body: &[u8]| Words::read(body).fatal;
        assert!(is_fatal(b"SFATAL\0C08P01\0Mquery timeout\0\0"), "PgBouncer");
        assert!(is_fatal(b"SFATAL\0VFATAL\0C57P01\0\0") && is_fatal("SPÁNICO\0VPANIC\0CXX000\0\0".as_bytes()));
        assert!(!is_fatal(b"SERROR\0C08P01\0\0") && !is_fatal(b"SERROR\0VERROR\0C22012\0\0"));
        assert!(!is_fatal(b"SFATAL\0VERROR\0C22012\0\0"));
    }
}
