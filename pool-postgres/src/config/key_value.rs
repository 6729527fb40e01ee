//! `keyword=value` strings, with libpq's rules: spaces around `=` are ignored, a value with spaces is quoted with `'`, and `\` takes the
//! meaning off the next character, inside quotes and outside.

use std::iter::Peekable;
use std::str::Chars;

use super::{PostgresConfig, PostgresConfigError};

pub(super) fn parse(text: &str, config: &mut PostgresConfig) -> Result<(), PostgresConfigError> {
    let mut rest = text.chars().peekable();
    // Whether what comes may be words of a password that needs quotes.
    let mut after_password = false;
    loop {
        skip_spaces(&mut rest);
        if rest.peek().is_none() {
            return Ok(());
        }
        let keyword = keyword(&mut rest)?;
        let is_quoted = rest.next_if_eq(&'\'').is_some();
        let value = if is_quoted { quoted(&mut rest)? } else { bare(&mut rest)? };
        config.set(&keyword, &value).map_err(|error| without_words(error, after_password))?;
        after_password |= keyword == "password" && !is_quoted;
    }
}

/// An error that does not echo a keyword that nobody knows, if it may be a word of a password.
fn without_words(error: PostgresConfigError, after_password: bool) -> PostgresConfigError {
    match error {
        PostgresConfigError::Unknown { .. } if after_password => PostgresConfigError::Malformed {
            part: "a keyword after the password",
            problem: "it is not known (a value with spaces needs quotes)",
        },
        error => error,
    }
}

fn skip_spaces(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|c| c.is_whitespace()).is_some() {}
}

/// The keyword and the `=` after it.
fn keyword(rest: &mut Peekable<Chars<'_>>) -> Result<String, PostgresConfigError> {
    let mut keyword = String::new();
    while let Some(letter) = rest.next_if(|c| *c != '=' && !c.is_whitespace()) {
        keyword.push(letter);
    }
    skip_spaces(rest);
    if rest.next_if_eq(&'=').is_none() {
        // Not echoed: it may be the second word of a password without quotes.
        return Err(PostgresConfigError::Malformed {
            part: "a keyword",
            problem: "there is no = after it (a value with spaces needs quotes)",
        });
    }
    skip_spaces(rest);
    Ok(keyword)
}

fn quoted(rest: &mut Peekable<Chars<'_>>) -> Result<String, PostgresConfigError> {
    let mut value = String::new();
    loop {
        match rest.next() {
            Some('\'') => return Ok(value),
            Some('\\') => value.extend(rest.next()),
            Some(letter) => value.push(letter),
            None => {
                return Err(PostgresConfigError::Malformed {
                    part: "a quoted value",
                    problem: "the closing quote is missing",
                });
            }
        }
    }
}

fn bare(rest: &mut Peekable<Chars<'_>>) -> Result<String, PostgresConfigError> {
    let mut value = String::new();
    while let Some(letter) = rest.next_if(|c| !c.is_whitespace()) {
        match letter {
            '\\' => value.push(
                rest.next()
                    .ok_or(PostgresConfigError::Malformed { part: "a value", problem: "it ends with a lone \\" })?,
            ),
            letter => value.push(letter),
        }
    }
    Ok(value)
}
