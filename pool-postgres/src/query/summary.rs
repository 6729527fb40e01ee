//! A statement in a few words, for errors and logs.

use std::fmt::{self, Write};

/// So many characters are shown.
const LONGEST: usize = 200;

/// A statement without its literals, which may be secrets, on one line and not too long. Comments are left out, too.
pub(crate) struct Summary<'a>(pub(crate) &'a str);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Words { rest: self.0 };
        let (mut shown, mut gap) = (0, false);
        while let Some(word) = words.next_word() {
            match word {
                Word::Gap => gap = shown > 0,
                _ if shown >= LONGEST => return f.write_str(" ..."),
                Word::Literal => shown += put(f, gap, "?")?,
                Word::Text(text) => shown += put(f, gap, text.get(..LONGEST).unwrap_or(text))?,
            }
            gap &= matches!(word, Word::Gap);
        }
        Ok(())
    }
}

fn put(f: &mut fmt::Formatter<'_>, gap: bool, text: &str) -> Result<usize, fmt::Error> {
    if gap {
        f.write_char(' ')?;
    }
    f.write_str(text)?;
    Ok(text.len() + usize::from(gap))
}

/// The first word of a statement, behind white space, comments, parentheses, and statements that are empty.
pub(crate) fn first_word(sql: &str) -> &str {
    let mut words = Words { rest: sql };
    loop {
        match words.next_word() {
            Some(Word::Gap | Word::Text(";" | "(")) => {}
            Some(Word::Text(text)) => return text,
            Some(Word::Literal) | None => return "",
        }
    }
}

/// The words of a statement, signs included, behind statements that are empty: without literals, comments and white space.
pub(crate) fn words(sql: &str) -> impl Iterator<Item = &str> {
    let mut words = Words { rest: sql };
    let all = std::iter::from_fn(move || words.next_word());
    let texts = all.filter_map(|word| if let Word::Text(text) = word { Some(text) } else { None });
    texts.skip_while(|text| *text == ";")
}

/// Whether a statement has this word in it, which is in small letters, outside of strings and comments; in quotation marks or not.
pub(crate) fn has_word(sql: &str, word: &str) -> bool {
    let mut words = Words { rest: sql };
    std::iter::from_fn(|| words.next_word())
        .any(|found| matches!(found, Word::Text(text) if text.trim_matches('"').eq_ignore_ascii_case(word)))
}

/// The function of these that a statement calls, if it does: its name in quotation marks or not, and white space and comments behind it or not.
pub(crate) fn call_of(sql: &str, functions: &[&'static str]) -> Option<&'static str> {
    let mut words = Words { rest: sql };
    let mut last = "";
    while let Some(word) = words.next_word() {
        match word {
            Word::Gap => {}
            Word::Literal => last = "",
            Word::Text("(") => {
                let name = last.trim_matches('"');
                if let Some(function) = functions.iter().find(|function| name.eq_ignore_ascii_case(function)) {
                    return Some(function);
                }
                last = "";
            }
            Word::Text(text) => last = text,
        }
    }
    None
}

/// Whether a statement makes a table of its rows: it has an `INTO` that is none of `INSERT` or `MERGE`.
pub(crate) fn selects_into(sql: &str) -> bool {
    let mut words = Words { rest: sql };
    let mut last = "";
    while let Some(word) = words.next_word() {
        if let Word::Text(text) = word {
            let is_theirs = last.eq_ignore_ascii_case("insert") || last.eq_ignore_ascii_case("merge");
            if text.eq_ignore_ascii_case("into") && !is_theirs {
                return true;
            }
            last = text;
        }
    }
    false
}

enum Word<'a> {
    /// White space, or a comment.
    Gap,
    /// A string or a number.
    Literal,
    Text(&'a str),
}

struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn next_word(&mut self) -> Option<Word<'a>> {
        let first = self.rest.chars().next()?;
        if let Some(length) = gap(self.rest, first) {
            return Some(self.gap(length));
        }
        if let Some(length) = literal(self.rest, first) {
            return Some(self.literal(length));
        }
        Some(match first {
            '"' => Word::Text(self.take(quoted(self.rest, false))),
            '_' | '$' => self.name(),
            _ if first.is_alphabetic() => self.name(),
            _ => Word::Text(self.take(first.len_utf8())),
        })
    }

    /// A word, unless it is what a string begins with: `E'...'`, `B'...'`, `X'...'`, `N'...'`, `U&'...'`.
    fn name(&mut self) -> Word<'a> {
        let length = run(self.rest, |c| c.is_alphanumeric() || matches!(c, '_' | '$')).max(1);
        let (name, after) = self.rest.split_at(length);
        let is_escaped = name.eq_ignore_ascii_case("e");
        if after.starts_with('\'') && length == 1 {
            return self.literal(length + quoted(after, is_escaped));
        }
        if name.eq_ignore_ascii_case("u") && after.starts_with("&'") {
            return self.literal(length + 1 + quoted(&after[1..], false));
        }
        Word::Text(self.take(length))
    }

    fn gap(&mut self, length: usize) -> Word<'a> {
        self.take(length);
        Word::Gap
    }

    fn literal(&mut self, length: usize) -> Word<'a> {
        self.take(length);
        Word::Literal
    }
}

/// How long the white space or the comment is that the text begins with, if it does.
fn gap(text: &str, first: char) -> Option<usize> {
    match first {
        '-' if text.starts_with("--") => Some(text.find('\n').unwrap_or(text.len())),
        '/' if text.starts_with("/*") => Some(comment(text)),
        _ => (first.is_whitespace() || first.is_control()).then_some(first.len_utf8()),
    }
}

/// How long the string or the number is that the text begins with, if it does. Some strings begin with a letter: see [`Words::name`].
fn literal(text: &str, first: char) -> Option<usize> {
    match first {
        '\'' => Some(quoted(text, false)),
        '$' => dollar(text),
        '0'..='9' => Some(run(text, |c| c.is_alphanumeric() || matches!(c, '.' | '_'))),
        _ => None,
    }
}

/// How long the beginning is that consists of such characters.
fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// How long the quoted part is that the text begins with; a quote is doubled inside, or follows a backslash. One that is not ended goes on to the end.
fn quoted(text: &str, escapes: bool) -> usize {
    let quote = text.chars().next();
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        let is_doubled = Some(letter) == quote && letters.peek().map(|(_, next)| *next) == quote;
        if is_doubled || escapes && letter == '\\' {
            letters.next();
        } else if Some(letter) == quote {
            return at + letter.len_utf8();
        }
    }
    text.len()
}

/// How long the comment is that the text begins with. They nest.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// How long the string in dollars is that the text begins with: `$$...$$` or `$tag$...$tag$`.
fn dollar(text: &str) -> Option<usize> {
    let name = text.get(1..)?;
    let length = run(name, |c| c.is_alphanumeric() || c == '_');
    if name.starts_with(|c: char| c.is_ascii_digit()) || !name[length..].starts_with('$') {
        return None;
    }
    let tag = &text[..length + 2];
    Some(text[tag.len()..].find(tag).map_or(text.len(), |end| end + 2 * tag.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_left_out() {
        for (sql, said) in [
            ("SELECT 1", "SELECT ?"),
            ("select  a,\n\tb from t where x = 'it''s' and y = $1", "select a, b from t where x = ? and y = $1"),
            ("ALTER ROLE app PASSWORD 's3cr3t'", "ALTER ROLE app PASSWORD ?"),
            (r"SELECT E'a\'s3cr3t', x'ff', U&'\0041', t1.c2", "SELECT ?, ?, ?, t1.c2"),
            ("DO $$ BEGIN s3cr3t; END $$", "DO ?"),
            ("DO $f$ s3cr3t $$ $f$ x", "DO ? x"),
            ("SELECT \"a 'b\"\"c\" -- s3cr3t\n, 1.5e3", "SELECT \"a 'b\"\"c\" , ?"),
            ("/* a /* s3cr3t */ b */ SELECT 'never ended", "SELECT ?"),
            ("SELECT 'gr\u{fc}n', \u{e4}", "SELECT ?, \u{e4}"),
            ("/* never ended", ""),
            ("SELECT $tag", "SELECT $tag"),
            ("", ""),
        ] {
            assert_eq!(Summary(sql).to_string(), said, "{sql}");
        }
    }

    #[test]
    fn a_long_one_is_cut_off() {
        let long = Summary(&format!("SELECT {}", "a, ".repeat(1000))).to_string();
        assert!(long.len() < LONGEST + 20 && long.ends_with(" ..."), "{long}");
        let one = "\u{e4}".repeat(1000);
        assert!(!Summary(&one).to_string().is_empty());
    }
}
