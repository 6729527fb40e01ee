//! An error and what is below it.

use std::error::Error as StdError;
use std::fmt;

/// The first error of the client in a chain of them.
pub(crate) fn postgres<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a tokio_postgres::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error with everything below it, on one line, and the SQLSTATE: that of the client says "db error" and no more. Nothing is said twice.
pub(crate) struct Whole<'a>(pub(crate) &'a (dyn StdError + 'static));

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut text, mut next) = (one_line(self.0), self.0.source());
        let mut said = text.clone();
        while let Some(cause) = next {
            let more = one_line(cause);
            if !said.contains(&more) {
                text = format!("{text}: {more}");
                said = more;
            }
            next = cause.source();
        }
        let code = postgres(self.0).and_then(tokio_postgres::Error::code);
        let code = code.map(|code| format!("(SQLSTATE {})", code.code())).filter(|code| !text.contains(code));
        f.write_str(&text)?;
        code.map_or(Ok(()), |code| write!(f, " {code}"))
    }
}

fn one_line(error: &dyn StdError) -> String {
    let text = error.to_string();
    text.split(char::is_control).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Told>>,
    }

    #[test]
    fn everything_is_said_once_and_on_one_line() {
        let text = |texts: &[&'static str]| {
            let told = texts.iter().rev().fold(None, |source, text| Some(Box::new(Told { text, source })));
            Whole(&*told.expect("one at least")).to_string()
        };
        assert_eq!(text(&["a", "b", "c"]), "a: b: c");
        assert_eq!(text(&["a: b: c", "b: c", "c"]), "a: b: c");
        assert_eq!(text(&["a\n", "b\r\n  c"]), "a: b c");
    }
}
