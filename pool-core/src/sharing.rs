//! Who uses a connection together with others: a word for each slot, beside those of the slots.
//!
//! A slot is leased all the while. Whoever owns it lets others in, and owns it no longer: everybody does who is counted in the word. The last one who leaves owns it
//! again. So the word of the slot, and whoever waits for it to become idle, know nothing of this.
//!
//! ```text
//!            let_in                join                  leave
//!   nobody ─────────▶ open, 1 user ─────▶ open, n users ───────▶ …
//!     ▲                     │                    │
//!     │                     └───────shut─────────┤
//!     │  leave, the last                         ▼
//!     └──────────────────────────────────── shut, n users
//! ```

use crossbeam_utils::CachePadded;

use crate::chunks::Chunks;
use crate::counters::Moments;
use crate::sync::{AtomicU64, Ordering, order};

const ONE_USER: u64 = 1;
/// More than this many never use a connection.
const MOST: u16 = u16::MAX;
const USERS: u64 = MOST as u64;
/// Others may join.
const OPEN: u64 = 1 << 16;
/// One of those who have left says that the connection is of no further use.
const DISCARDED: u64 = 1 << 17;
/// How many have joined since somebody let others in, from here up.
const ONE_JOINED: u64 = 1 << 32;

/// What a word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party(u64);

impl Party {
    /// How many use the connection.
    #[inline]
    pub fn users(self) -> usize {
        (self.0 & USERS) as usize
    }

    /// How many have used it since it is shared, those who do included.
    #[inline]
    pub fn joined(self) -> u64 {
        self.0 / ONE_JOINED
    }

    /// Whether somebody has said that it is of no further use.
    pub fn is_discarded(self) -> bool {
        self.0 & DISCARDED != 0
    }

    /// Whether nobody may join any more, who comes.
    pub fn is_shut(self) -> bool {
        self.0 & OPEN == 0
    }

    /// Whether another one may join, if so many may at a time.
    #[inline]
    fn has_room(self, most: usize) -> bool {
        self.0 & OPEN != 0 && self.users() < most && self.joined() < u64::from(u32::MAX)
    }
}

/// What remains when a user has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the last one owns the slot"]
pub enum Remaining {
    /// Others.
    Others,
    /// Nobody: this was the last one, and here is what the word said.
    Nobody(Party),
}

/// The words of all slots.
pub struct Sharing {
    /// How many may use a connection at a time; zero if none is shared.
    most: usize,
    words: Chunks<CachePadded<AtomicU64>>,
    /// How many have asked since somebody began to admit those who wait.
    calls: CachePadded<AtomicU64>,
    /// Places on their way to those who wait, or waiting to be collected.
    pub sent: Moments,
}

impl Sharing {
    /// Nobody shares a connection.
    pub fn off() -> Self {
        Self { most: 0, words: Chunks::new(), calls: CachePadded::new(AtomicU64::new(0)), sent: Moments::default() }
    }

    /// So many may use a connection at a time, at most 65,535.
    pub fn set_most(&mut self, most: usize) {
        self.most = most.min(usize::from(MOST));
    }

    /// How many may use a connection at a time; zero if none is shared.
    #[inline]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Makes sure that there are so many words, if any are needed.
    pub fn grow_to(&self, size: usize) {
        if self.most > 0 {
            self.words.grow_to(size, |_| CachePadded::new(AtomicU64::new(0)));
        }
    }

    /// What the word of a slot says; old the moment it returns.
    #[inline]
    pub fn party(&self, index: usize) -> Party {
        // ORDERING: Relaxed: a guess that `join` confirms, or a figure.
        Party(self.words.get(index).map_or(0, |word| word.load(Ordering::Relaxed)))
    }

    /// How many use a connection that another one may join.
    #[inline]
    pub fn users_with_room(&self, index: usize) -> Option<usize> {
        self.room_in(self.party(index))
    }

    /// As `users_with_room`, for one who has looked.
    #[inline]
    pub fn room_in(&self, party: Party) -> Option<usize> {
        party.has_room(self.most).then(|| party.users())
    }

    /// What all words say of connections that are shared.
    pub fn parties(&self) -> impl Iterator<Item = Party> {
        // ORDERING: Relaxed: figures.
        let parties = self.words.iter().map(|word| Party(word.load(Ordering::Relaxed)));
        parties.filter(|party| party.users() > 0)
    }

    /// How many have joined the first user of a slot. For one who has read before how often the slot was leased: whoever leaves last adds them to that, so that in this
    /// order nobody is counted twice. Those who are added in between are not counted at all.
    pub fn beside_the_first(&self, index: usize) -> u64 {
        let Some(word) = self.words.get(index) else { return 0 };
        // ORDERING: Relaxed: a figure; an old one says too few.
        if Party(word.load(Ordering::Relaxed)).joined() <= 1 {
            return 0;
        }
        // ORDERING: Release, pairs with Acquire in `leave`: what was read before was read before the last one has left, if the word does not say that it has. An
        // exchange that writes what is there: a load might say what was so before.
        let party = Party(word.fetch_add(0, order("sharing.count", Ordering::Release)));
        party.joined().saturating_sub(1)
    }

    /// The owner of a slot becomes its first user, and lets others in.
    pub fn let_in(&self, index: usize) {
        if let Some(word) = self.words.get(index) {
            // ORDERING: Release, pairs with Acquire in `join`: what the owner has done to the connection is visible to those who use it, too.
            word.store(OPEN | ONE_USER | ONE_JOINED, order("sharing.let_in", Ordering::Release));
        }
    }

    /// Becomes another user, if there is room.
    #[must_use]
    #[inline]
    pub fn join(&self, index: usize) -> Option<Party> {
        let word = self.words.get(index)?;
        let one_more = |word: u64| Party(word).has_room(self.most).then(|| word + ONE_USER + ONE_JOINED);
        // ORDERING: Acquire, pairs with Release in `let_in`. Failure owns nothing: Relaxed.
        let before = word.fetch_update(order("sharing.join", Ordering::Acquire), Ordering::Relaxed, one_more).ok()?;
        Some(Party(before + ONE_USER + ONE_JOINED))
    }

    /// For a user: nobody joins any more. `discarded`: the connection is of no further use.
    pub fn shut(&self, index: usize, discarded: bool) {
        let shut = |word: u64| Some(word & !OPEN | if discarded { DISCARDED } else { 0 });
        if let Some(word) = self.words.get(index) {
            // ORDERING: Relaxed: nobody reads anything through it; the last user finds it in the word that it changes.
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shut);
        }
    }

    /// A user leaves. One that has not used the connection does not count as one that has joined.
    #[inline]
    pub fn leave(&self, index: usize, used: bool) -> Remaining {
        let uncounted = if used { 0 } else { ONE_JOINED };
        // Where nobody shares the owner is the only user.
        let Some(word) = self.words.get(index) else { return Remaining::Nobody(Party(ONE_USER + ONE_JOINED)) };
        let one_less = |word: u64| Some(if word & USERS == ONE_USER { 0 } else { word - ONE_USER - uncounted });
        // ORDERING: Release, pairs with Acquire here: the last one, who owns the connection from now on, sees what the others have done with it (I26). Acquire, pairs
        // with Release in `beside_the_first`, too.
        let order = order("sharing.leave", Ordering::AcqRel);
        match word.fetch_update(order, Ordering::Relaxed, one_less) {
            Ok(before) if before & USERS == ONE_USER => Remaining::Nobody(Party(before - uncounted)),
            _ => Remaining::Others,
        }
    }
}

/// # Who admits
///
/// One at a time, for which nobody waits: whoever comes meanwhile has it done once more.
impl Sharing {
    /// Something has changed: there is room, or another one has come to the head of the queue. `true` for one who admits now, and ends that by `is_done`.
    #[must_use]
    pub fn call(&self) -> bool {
        // ORDERING: Release, pairs with Acquire in `is_done` and here: whoever admits once more, or next, sees what has changed before this call. `is_done` does not
        // break the chain: it is an exchange, too.
        self.calls.fetch_add(1, order("sharing.call", Ordering::AcqRel)) == 0
    }

    /// Whether nobody has called since there were so many calls, one of them that of the one who admits; how many there are is noted otherwise.
    #[must_use]
    pub fn is_done(&self, heard: &mut u64) -> bool {
        // ORDERING: Acquire on failure, pairs with Release in `call`. Success: Relaxed, what there was to be seen has been.
        match self.calls.compare_exchange(*heard, 0, Ordering::Relaxed, order("sharing.once_more", Ordering::Acquire)) {
            Ok(_) => true,
            Err(now) => {
                *heard = now;
                false
            }
        }
    }
}

impl std::fmt::Debug for Sharing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sharing").field("most", &self.most).finish_non_exhaustive()
    }
}
