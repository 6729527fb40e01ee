//! `keyword=value` strings, with libpq's rules: spaces around `=` are ignored, a value with spaces is quoted with `'`, and `\` takes the
//! meaning off the next character, inside quotes and outside.

use std::iter::Peekable;
use std::str::Chars;

use zeroize::Zeroizing;

use super::PostgresConfigError;
use super::given::Given;
use super::suspect::{Pairs, sounds_secret};

/// Reads as far as it can be read.
pub(super) fn parse(text: &str, given: &mut Given) {
    let (mut rest, mut pairs) = (text.chars().peekable(), Pairs::of(given));
    loop {
        skip_spaces(&mut rest);
        if rest.peek().is_none() {
            return;
        }
        match pair(&mut rest) {
            Ok((_, value)) if is_swallowed(&value) => pairs.cut(SWALLOWED),
            Ok((keyword, Written { text, .. })) => pairs.set(&keyword, text),
            Err(problem) => return pairs.cut(problem),
        }
    }
}

/// A value, and whether it had quotes.
struct Written {
    text: Zeroizing<String>,
    is_quoted: bool,
}

fn pair(rest: &mut Peekable<Chars<'_>>) -> Result<(String, Written), PostgresConfigError> {
    let keyword = keyword(rest)?;
    let is_quoted = rest.next_if_eq(&'\'').is_some();
    let text = if is_quoted { quoted(rest)? } else { bare(rest) };
    Ok((keyword, Written { text, is_quoted }))
}

/// What C calls a space.
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}

fn skip_spaces(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|letter| is_space(*letter)).is_some() {}
}

/// The keyword and the `=` after it.
fn keyword(rest: &mut Peekable<Chars<'_>>) -> Result<String, PostgresConfigError> {
    let mut keyword = String::new();
    while let Some(letter) = rest.next_if(|letter| *letter != '=' && !is_space(*letter)) {
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

/// With room for all that comes: a password that had to move while it grows would leave a part of it behind.
fn roomy(rest: &Peekable<Chars<'_>>) -> Zeroizing<String> {
    Zeroizing::new(String::with_capacity(4 + rest.size_hint().1.unwrap_or(0)))
}

fn quoted(rest: &mut Peekable<Chars<'_>>) -> Result<Zeroizing<String>, PostgresConfigError> {
    let mut value = roomy(rest);
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

/// After a keyword without a value, the next pair is taken for its value, and would be shown with it.
const SWALLOWED: PostgresConfigError = PostgresConfigError::Malformed {
    part: "a value that begins like a password",
    problem: "an empty value before it is written ''",
};

fn is_swallowed(value: &Written) -> bool {
    let keyword = value.text.split_once('=').map(|(keyword, _)| keyword);
    !value.is_quoted && keyword.is_some_and(sounds_secret)
}

fn bare(rest: &mut Peekable<Chars<'_>>) -> Zeroizing<String> {
    let mut value = roomy(rest);
    while let Some(letter) = rest.next_if(|letter| !is_space(*letter)) {
        match letter {
            '\\' => value.extend(rest.next()),
            letter => value.push(letter),
        }
    }
    value
}
