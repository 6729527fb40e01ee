//! What is said of a statement, in a comment behind it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but what a URL leaves as it is. A quote, a star and a slash are not among that, so nothing can end the text or the comment.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a list of tags is split at, and what stands for these in a tag.
const IN_LISTS: &AsciiSet = &percent_encoding::CONTROLS.add(b',').add(b'=').add(b'%');

/// The statement with its tags, in the form of sqlcommenter: sorted by key, each encoded as for a URL. What is said of this one statement counts for more than what is said of all of them, and the
/// last word of several. A tag without a key is left out.
pub(crate) fn tagged<'a>(
    sql: &'a str,
    of_all: &BTreeMap<String, String>,
    of_this: &[(Cow<'_, str>, Cow<'_, str>)],
) -> Cow<'a, str> {
    let all = of_all.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let this = of_this.iter().map(|(key, value)| (&**key, &**value));
    let tags: BTreeMap<_, _> = all.chain(this).filter(|(key, _)| !key.is_empty()).collect();
    if tags.is_empty() {
        return Cow::Borrowed(sql);
    }
    // By what is written, which may be in another order than what it stands for.
    let mut pairs: Vec<_> =
        tags.into_iter().map(|(key, value)| format!("{}='{}'", encoded(key), encoded(value))).collect();
    pairs.sort_unstable();
    // On a line of its own, if the statement ends in a comment that goes on to the end of its line.
    let gap = if sql.contains("--") { '\n' } else { ' ' };
    let mut text = String::with_capacity(sql.len() + 64);
    // Nothing fails that is written to a text.
    let _ = write!(text, "{sql}{gap}/*{}*/", pairs.join(","));
    Cow::Owned(text)
}

fn encoded(text: &str) -> percent_encoding::PercentEncode<'_> {
    utf8_percent_encode(text, ENCODED)
}

/// Reads `key=value,key=value`. `None` if it is not that, or has a key twice.
pub(crate) fn parse_tags(text: &str) -> Option<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    let decoded = |text| percent_decode_str(text).decode_utf8().map(Cow::into_owned).ok();
    for pair in text.split(',').filter(|_| !text.is_empty()) {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (decoded(key).filter(|key| !key.is_empty())?, decoded(value)?);
        if tags.insert(key, value).is_some() {
            return None;
        }
    }
    Some(tags)
}

/// As [`parse_tags`] reads it.
pub(crate) fn show_tags(tags: &BTreeMap<String, String>) -> String {
    let shown = |text| utf8_percent_encode(text, IN_LISTS).to_string();
    let pairs: Vec<_> = tags.iter().map(|(key, value)| format!("{}={}", shown(key), shown(value))).collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(sql: &str, all: &[(&str, &str)], this: &[(&'static str, &'static str)]) -> String {
        let all = all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let this: Vec<_> = this.iter().map(|(key, value)| (Cow::from(*key), Cow::from(*value))).collect();
        tagged(sql, &all, &this).into_owned()
    }

    /// The examples of sqlcommenter's specification among them.
    #[test]
    fn tags_are_written_as_sqlcommenter_does() {
        assert_eq!(of("SELECT 1", &[], &[]), "SELECT 1");
        assert_eq!(of("SELECT 1", &[], &[("", "x")]), "SELECT 1");
        assert_eq!(
            of("SELECT * FROM FOO", &[], &[("route", "/polls 1000"), ("name''", "'DROP TABLE USERS'")]),
            "SELECT * FROM FOO /*name%27%27='%27DROP%20TABLE%20USERS%27',route='%2Fpolls%201000'*/"
        );
        assert_eq!(of("SELECT 1", &[("b", "1"), ("a", "2")], &[("b", "3"), ("b", "4")]), "SELECT 1 /*a='2',b='4'*/");
        assert_eq!(of("SELECT 1", &[("é", "*/ DROP")], &[]), "SELECT 1 /*%C3%A9='%2A%2F%20DROP'*/");
        assert_eq!(of("SELECT 1 -- one", &[("a", "")], &[]), "SELECT 1 -- one\n/*a=''*/");
    }

    proptest! {
        #[test]
        fn no_tag_gets_out_of_its_comment(key in ".+", value in ".*") {
            let text = tagged("SELECT 1", &BTreeMap::from([(key, value)]), &[]).into_owned();
            let comment = text.strip_prefix("SELECT 1 /*").and_then(|rest| rest.strip_suffix("*/")).unwrap();
            let is_harmless = |letter: char| letter.is_ascii_alphanumeric() || "-_.~%='".contains(letter);
            prop_assert!(comment.chars().all(is_harmless), "{}", comment);
            prop_assert_eq!(comment.matches('\'').count(), 2);
        }

        #[test]
        fn lists_are_read_as_they_are_shown(tags in prop::collection::btree_map(".+", ".*", 0..4)) {
            prop_assert_eq!(parse_tags(&show_tags(&tags)), Some(tags));
        }
    }
}
