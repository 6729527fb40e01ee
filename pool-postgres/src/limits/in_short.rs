//! A statement in so few words that they are a name for spans.

use std::fmt::{self, Write};
use std::iter::Peekable;

use crate::query::words;

/// A statement by what it does and to which tables: `SELECT alert service`. As it has few values, it is a name for spans. Nothing at all if there is no statement.
pub(super) struct InShort<'a>(pub(super) &'a str);

/// So many characters are shown, and no half names.
const LONGEST: usize = 255;

/// What begins a part of a statement that is worth to be named.
const VERBS: [&str; 5] = ["select", "insert", "update", "delete", "merge"];

/// Behind these, it begins none, unless it is `SELECT`: `ON CONFLICT DO UPDATE`, `FOR UPDATE`, `FOR NO KEY UPDATE`, `ON DELETE CASCADE`, `WHEN MATCHED THEN DELETE`, `BEFORE INSERT OR UPDATE`.
const NO_VERB_AFTER: [&str; 8] = ["do", "for", "key", "on", "then", "or", "before", "after"];

/// Verbs, with a statement's first word among them, that names come after.
const NAMED: [&str; 5] = ["update", "call", "table", "copy", "truncate"];

/// What else they come after.
const BEFORE_NAMES: [&str; 3] = ["into", "join", "table"];

/// What may come between these and the names.
const SILENT: [&str; 7] = ["table", "only", "lateral", "if", "not", "exists", "concurrently"];

/// What ends a list of tables.
const ENDS_LIST: [&str; 15] = [
    "where",
    "group",
    "having",
    "window",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "union",
    "intersect",
    "except",
    "set",
    "returning",
    "values",
];

impl InShort<'_> {
    /// What there is to be shown, if there is a statement.
    pub(super) fn some(self) -> Option<Self> {
        words(self.0).any(is_name_like).then_some(self)
    }
}

impl fmt::Display for InShort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut shown, mut reading) = (0, Reading::default());
        let mut words = words(self.0).peekable();
        while let Some(word) = words.next() {
            let name = reading.name(word, &mut words);
            if !show(f, &name, &mut shown)? {
                break;
            }
        }
        Ok(())
    }
}

/// How far a statement has been read.
struct Reading<'a> {
    /// What the statement is, and what is in each parenthesis that is open.
    parts: Vec<Part<'a>>,
    has_verb: bool,
    /// What comes next is a name.
    is_name: bool,
    last: &'a str,
}

/// A statement, or what is in parentheses: another one, a call's arguments, a list.
#[derive(Default)]
struct Part<'a> {
    /// What it does, if it is a statement.
    verb: &'a str,
    /// Whether what follows a comma is a table.
    is_list: bool,
}

impl Default for Reading<'_> {
    fn default() -> Self {
        Self { parts: vec![Part::default()], has_verb: false, is_name: false, last: "" }
    }
}

impl<'a> Reading<'a> {
    /// What is to be shown of a word, with those that belong to it; empty if it is nothing.
    fn name(&mut self, word: &'a str, words: &mut Peekable<impl Iterator<Item = &'a str>>) -> String {
        let is_verb = self.is_verb(word);
        let name = if is_verb {
            word.to_ascii_uppercase()
        } else if self.is_name && may_be_name(word) {
            whole_name(word, words)
        } else {
            String::new()
        };
        let comes_before = if is_verb { is_in(&NAMED, word) } else { self.comes_before_names(word) };
        self.is_name = comes_before || (self.is_name && is_in(&SILENT, word));
        self.go_on(word, is_verb);
        self.last = word;
        name
    }

    fn is_verb(&self, word: &str) -> bool {
        if !self.has_verb {
            return is_name_like(word);
        }
        let is_one = !self.is_name && self.last != "." && is_in(&VERBS, word);
        is_one && (is(word, "select") || !is_in(&NO_VERB_AFTER, self.last))
    }

    fn verb(&self) -> &'a str {
        self.parts.last().map_or("", |part| part.verb)
    }

    fn comes_before_names(&self, word: &str) -> bool {
        match word {
            "," => self.parts.last().is_some_and(|part| part.is_list),
            // Neither `extract(epoch FROM a)` nor `a IS DISTINCT FROM b` nor `COPY a FROM STDIN`.
            _ if is(word, "from") => is_in(&["select", "update", "delete"], self.verb()) && !is(self.last, "distinct"),
            _ if is(word, "using") => is_in(&["delete", "merge"], self.verb()),
            _ => is_in(&BEFORE_NAMES, word),
        }
    }

    fn go_on(&mut self, word: &'a str, is_verb: bool) {
        match word {
            "(" => self.parts.push(Part::default()),
            ")" if self.parts.len() > 1 => drop(self.parts.pop()),
            _ => self.go_on_in_part(word, is_verb),
        }
    }

    fn go_on_in_part(&mut self, word: &'a str, is_verb: bool) {
        self.has_verb |= is_verb;
        let begins_list = self.is_name && self.begins_list(word);
        let Some(part) = self.parts.last_mut() else { return };
        if is_verb {
            *part = Part { verb: word, is_list: is(word, "truncate") };
        } else if is_in(&ENDS_LIST, word) {
            part.is_list = false;
        } else {
            part.is_list |= begins_list;
        }
    }

    fn begins_list(&self, word: &str) -> bool {
        is_in(&["from", "using"], word) || (is(word, "table") && is_in(&["drop", "lock", "truncate"], self.verb()))
    }
}

fn is(word: &str, other: &str) -> bool {
    word.eq_ignore_ascii_case(other)
}

fn is_in(list: &[&str], word: &str) -> bool {
    list.iter().any(|one| is(word, one))
}

fn may_be_name(word: &str) -> bool {
    !is_in(&SILENT, word) && is_name_like(word)
}

/// A name with those that follow after dots.
fn whole_name<'a>(first: &str, words: &mut Peekable<impl Iterator<Item = &'a str>>) -> String {
    let mut name = first.to_owned();
    while words.next_if_eq(&".").is_some() {
        name.push('.');
        name.push_str(words.next().unwrap_or_default());
    }
    name
}

/// Shows one word more. `false` if there is no room for it.
fn show(f: &mut fmt::Formatter<'_>, name: &str, shown: &mut usize) -> Result<bool, fmt::Error> {
    if name.is_empty() {
        return Ok(true);
    }
    let is_first = *shown == 0;
    *shown += name.len() + 1;
    if *shown > LONGEST {
        return Ok(false);
    }
    if !is_first {
        f.write_char(' ')?;
    }
    f.write_str(name)?;
    Ok(true)
}

fn is_name_like(word: &str) -> bool {
    word.starts_with(|first: char| first == '"' || first == '_' || first.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_told_by_what_it_does_and_to_which_tables() {
        for (sql, short) in [
            ("", ""),
            ("SELECT 1", "SELECT"),
            ("select * from alert where id = 's3cr3t'", "SELECT alert"),
            ("SELECT a FROM public.alert JOIN \"Service\" s ON true", "SELECT public.alert \"Service\""),
            ("INSERT INTO alert SELECT * FROM old", "INSERT alert SELECT old"),
            ("UPDATE ONLY alert SET a = 7", "UPDATE alert"),
            ("DELETE FROM alert WHERE a IN (SELECT b FROM c)", "DELETE alert SELECT c"),
            ("/* s3cr3t */ VACUUM", "VACUUM"),
            ("COMMIT", "COMMIT"),
            ("CREATE TABLE IF NOT EXISTS t (a int)", "CREATE t"),
            ("SELECT * FROM (VALUES (1)) v", "SELECT"),
            ("(SELECT a FROM b) UNION (SELECT c FROM d)", "SELECT b SELECT d"),
            ("INSERT INTO alert VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1, b = 2", "INSERT alert"),
            ("INSERT INTO alert VALUES (1) ON CONFLICT DO NOTHING RETURNING id", "INSERT alert"),
            ("SELECT a FROM alert FOR UPDATE SKIP LOCKED", "SELECT alert"),
            ("SELECT a FROM alert FOR UPDATE NOWAIT", "SELECT alert"),
            ("SELECT a FROM alert x, service FOR NO KEY UPDATE OF x, service", "SELECT alert service"),
            ("SELECT extract(epoch FROM created) FROM alert", "SELECT alert"),
            ("SELECT substring(trim(both from a) from 2 for 3), b FROM alert", "SELECT alert"),
            ("SELECT coalesce((SELECT a FROM b), c) FROM alert", "SELECT SELECT b alert"),
            ("SELECT a FROM alert WHERE a IS NOT DISTINCT FROM b", "SELECT alert"),
            ("COPY alert FROM STDIN", "COPY alert"),
            ("COPY public.alert (a, b) FROM STDIN (FORMAT csv)", "COPY public.alert"),
            ("COPY (SELECT a FROM b) TO STDOUT", "COPY SELECT b"),
            ("SELECT a FROM x, y AS z, LATERAL f(1, 2) WHERE a IN (1, b, c)", "SELECT x y f"),
            ("SELECT a FROM x JOIN y ON x.a = y.a, z ORDER BY a, b", "SELECT x y z"),
            ("SELECT a FROM x GROUP BY a, b HAVING a > 1 LIMIT 1", "SELECT x"),
            ("UPDATE alert SET a = 1, b = c FROM d, e WHERE f = 1", "UPDATE alert d e"),
            ("DELETE FROM a USING b, c WHERE a.x = b.x", "DELETE a b c"),
            ("SELECT x.update, y.delete FROM alert", "SELECT alert"),
            (
                "MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN UPDATE SET c = 1, d = 2 WHEN NOT MATCHED THEN INSERT VALUES (1)",
                "MERGE a b",
            ),
            (
                "WITH gone AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM gone",
                "WITH DELETE a INSERT b SELECT gone",
            ),
            ("TRUNCATE TABLE ONLY a, b", "TRUNCATE a b"),
            ("ALTER TABLE a ADD COLUMN b int, ADD COLUMN c int REFERENCES d ON DELETE CASCADE", "ALTER a"),
            ("CREATE TRIGGER t BEFORE INSERT OR UPDATE ON alert EXECUTE FUNCTION f()", "CREATE"),
            ("DECLARE c CURSOR FOR SELECT a FROM b", "DECLARE SELECT b"),
            ("FETCH 5 FROM c", "FETCH"),
            ("CALL work(1, 2)", "CALL work"),
            (")) from )( , x", "FROM"),
        ] {
            assert_eq!(InShort(sql).to_string(), short, "{sql}");
        }
        assert!(InShort(" ; -- nothing").some().is_none() && InShort("SELECT 1").some().is_some());
        let long = format!("SELECT {}", "1 FROM alert, ".repeat(100).replace(", ", " JOIN "));
        assert!(InShort(&long).to_string().len() <= LONGEST);
    }
}
