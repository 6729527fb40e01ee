//! The name of the last command, for whoever asks, without a lock for whoever notes it.

use std::sync::atomic::{AtomicU64, Ordering};

/// So much is kept of a name: more than any has.
pub(super) const TAG: u16 = 32;
const BYTES: usize = TAG as usize;
const WORDS: usize = BYTES / 8;

/// What the server has called the command that it has completed last, such as `INSERT 0 1`. One thread at a time notes it.
#[derive(Debug, Default)]
pub(super) struct LastCommand {
    /// Odd while the words are changed.
    turn: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl LastCommand {
    pub(super) fn note(&self, tag: &[u8]) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn + 1, Ordering::Relaxed);
        let (mut bytes, length) = ([0; BYTES], tag.len().min(BYTES));
        bytes[..length].copy_from_slice(&tag[..length]);
        for (word, part) in self.words.iter().zip(bytes.as_chunks().0) {
            // Whoever sees a word sees the turn before it.
            word.store(u64::from_be_bytes(*part), Ordering::Release);
        }
        self.turn.store(turn + 2, Ordering::Release);
    }

    /// `None` if there was none yet, or others follow so fast that it cannot be read.
    pub(super) fn get(&self) -> Option<String> {
        const ATTEMPTS: u32 = 100;
        (0..ATTEMPTS).find_map(|_| self.read()).filter(|tag| !tag.is_empty())
    }

    fn read(&self) -> Option<String> {
        let turn = self.turn.load(Ordering::Acquire);
        let words: Vec<u8> = self.words.iter().flat_map(|word| word.load(Ordering::Acquire).to_be_bytes()).collect();
        let is_whole = turn.is_multiple_of(2) && self.turn.load(Ordering::Relaxed) == turn;
        let end = words.iter().position(|byte| *byte == 0).unwrap_or(words.len());
        is_whole.then(|| String::from_utf8_lossy(&words[..end]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_is_kept() {
        let last = LastCommand::default();
        assert_eq!(last.get(), None);
        for tag in ["INSERT 0 18446744073709551615", "SELECT 1", "CREATE TEXT SEARCH CONFIGURATION", "BEGIN"] {
            last.note(tag.as_bytes());
            assert_eq!(last.get().as_deref(), Some(tag));
        }
    }

    #[test]
    fn no_name_is_made_of_two() {
        let last = LastCommand::default();
        let tags = [[b'a'; BYTES], [b'b'; BYTES]];
        std::thread::scope(|scope| {
            scope.spawn(|| (0..20_000).for_each(|time| last.note(&tags[time % 2])));
            for _ in 0..20_000 {
                let seen = last.get().unwrap_or_default();
                assert!(seen.is_empty() || tags.iter().any(|tag| seen.as_bytes() == tag), "{seen}");
            }
        });
        assert_eq!(last.get().unwrap().as_bytes(), tags[1]);
    }
}
