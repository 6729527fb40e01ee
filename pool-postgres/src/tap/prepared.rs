//! Which statements the client has had prepared last, and which of them nobody has any use for.
//!
//! A future of the client's that is dropped while it prepares a statement leaves that on the server, under a name that nobody knows. The name is in the request.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So much is kept of a request to prepare: the name, and how the statement begins.
pub(super) const BEGINNING: u16 = 128;

/// The beginnings of so many are kept.
const KEPT: usize = 16;

/// The statements of a session that have names. The lock is for what is rare.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// How many there have been.
    count: AtomicU64,
    has_orphans: AtomicBool,
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// The last ones, each with its number.
    last: VecDeque<(u64, Box<[u8]>)>,
    orphans: Vec<String>,
}

impl Prepared {
    /// A statement is prepared: a name and its text, a zero after each, as far as they are kept. Only whoever holds the wire writes.
    pub(super) fn note(&self, beginning: &[u8]) {
        // Those without a name make room for each other.
        if matches!(beginning, [] | [0, ..]) {
            return;
        }
        let number = self.count() + 1;
        let mut lists = self.lists();
        if lists.last.len() == KEPT {
            lists.last.pop_front();
        }
        lists.last.push_back((number, beginning.into()));
        self.count.store(number, Ordering::Release);
    }

    /// How many have been prepared.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Nobody waits for a statement with this text, which the client was asked to prepare when there had been so many, and whose request has been sent. If there are several like it since, or some have made room, nobody can tell which it is, and all stay.
    pub(crate) fn abandon(&self, since: u64, text: &str) {
        let mut lists = self.lists();
        let later = lists.last.iter().filter(|(number, _)| *number > since);
        let mut names = later.filter_map(|(_, beginning)| name_of(beginning, text));
        let (Some(name), None) = (names.next(), names.next()) else { return };
        // What has made room may be this one, and the other one somebody's.
        if lists.last.front().is_some_and(|(first, _)| *first <= since + 1) {
            lists.orphans.push(name);
            self.has_orphans.store(true, Ordering::Release);
        }
    }

    /// Whether there are any that nobody has any use for.
    pub(crate) fn has_orphans(&self) -> bool {
        self.has_orphans.load(Ordering::Acquire)
    }

    /// The names of those.
    pub(crate) fn take_orphans(&self) -> Vec<String> {
        self.has_orphans.store(false, Ordering::Release);
        mem::take(&mut self.lists().orphans)
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a statement that begins like this, if it has this text. The client's names are letters and digits.
fn name_of(beginning: &[u8], text: &str) -> Option<String> {
    let mut parts = beginning.split(|byte| *byte == 0);
    let (name, begins) = (parts.next()?, parts.next()?);
    let is_cut_off = parts.next().is_none();
    let is_it = if is_cut_off { text.as_bytes().starts_with(begins) } else { text.as_bytes() == begins };
    let is_name = name.iter().all(u8::is_ascii_alphanumeric);
    (is_it && is_name).then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_abandoned_is_told_by_its_text_since_then() {
        let prepared = Prepared::default();
        prepared.note(b"s1\0SELECT 1\0\0\0");
        let since = prepared.count();
        prepared.note(b"\0SELECT 1\0\0\0");
        prepared.abandon(since, "SELECT 9");
        assert!(!prepared.has_orphans(), "that was before, and the other one has no name");
        prepared.note(b"s9\0SELECT 9\0\0\0");
        assert!(!prepared.has_orphans(), "that is another one");
        prepared.note(b"s2\0SELECT 1\0\0\0");
        prepared.note(b"s3\0SELECT 1, 2\0\0\0");
        prepared.note(b"s4\0SELECT 'and so on");
        prepared.abandon(since, "SELECT 1");
        prepared.abandon(since, "SELECT 'and so on and on'");
        assert!(prepared.has_orphans());
        assert_eq!(prepared.take_orphans(), ["s2", "s4"]);
        assert!(!prepared.has_orphans() && prepared.take_orphans().is_empty());
        prepared.note(b"s5\0SELECT 1\0\0\0");
        prepared.abandon(since, "SELECT 1");
        assert!(!prepared.has_orphans(), "there are two of them");
    }

    #[test]
    fn the_first_ones_make_room() {
        let prepared = Prepared::default();
        for number in 0..=KEPT {
            prepared.note(format!("s{number}\0SELECT {number}\0\0\0").as_bytes());
        }
        assert_eq!(prepared.lists().last.len(), KEPT);
        prepared.abandon(0, "SELECT 1");
        assert!(!prepared.has_orphans(), "one with the same text may have made room");
        prepared.abandon(1, "SELECT 1");
        assert_eq!(prepared.take_orphans(), ["s1"]);
    }
}
