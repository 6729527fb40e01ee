//! How many connections the pool may still open.

use crate::sync::{AtomicU64, Ordering, order};

const FIELD: u32 = 16;
const MASK: u64 = (1 << FIELD) - 1;

/// One reading of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Connections that exist, are being opened, or are being closed.
    pub open: usize,
    /// Of these, the ones being opened.
    pub opening: usize,
    /// The most there may be.
    pub max: usize,
    /// Of the open ones, those on their way out, and those whose leave has been promised: somebody else takes their place.
    pub leaving: usize,
}

impl Room {
    fn of(word: u64) -> Self {
        let field = |n: u32| usize::try_from(word >> (n * FIELD) & MASK).unwrap_or(usize::MAX);
        Self { open: field(0), opening: field(1), max: field(2), leaving: field(3) }
    }

    /// Connections that are open and not on their way out.
    pub fn live(self) -> usize {
        self.open.saturating_sub(self.opening + self.leaving)
    }

    /// How many connections there are too many. One whose replacement is there already, or is being opened, is none of them: it leaves for another reason.
    pub fn excess(self) -> usize {
        self.open.saturating_sub(self.max + self.leaving)
    }
}

const ONE_OPEN: u64 = 1;
const ONE_OPENING: u64 = 1 << FIELD;
const MAX: u64 = MASK << (2 * FIELD);
const ONE_LEAVING: u64 = 1 << (3 * FIELD);

/// The word {open, opening, max, leaving}, changed as a whole. Cold: only openers, closers and whoever changes the maximum write it.
///
/// `open` counts a connection from before its slot leaves `Vacant` until after it is `Vacant` again, so a reservation guarantees
/// that a vacant slot exists (I1).
#[derive(Debug)]
pub struct Capacity(AtomicU64);

impl Capacity {
    /// Room for `max` connections, at most 65 535.
    pub fn new(max: usize) -> Self {
        Self(AtomicU64::new((max as u64 & MASK) << (2 * FIELD)))
    }

    /// What the word says now.
    pub fn read(&self) -> Room {
        // ORDERING: Relaxed: a figure; whoever acts on it goes through `reserve`.
        Room::of(self.0.load(Ordering::Relaxed))
    }

    /// As `read`, for one who then looks through the slots: what is not being opened any more is seen there.
    pub fn read_then_look(&self) -> Room {
        // ORDERING: Acquire, pairs with Release in `give`: the slot of a connection that has been opened is seen as filled.
        Room::of(self.0.load(order("capacity.read_then_look", Ordering::Acquire)))
    }

    /// Another maximum, at most 65 535; the slots for it have to exist. Connections above it are not closed by this.
    pub fn set_max(&self, max: usize) -> Room {
        let set = |word| Some(word & !MAX | (max as u64 & MASK) << (2 * FIELD));
        // ORDERING: Release, pairs with Acquire in `reserve`: the slots that the new maximum needs are there.
        let set = self.0.fetch_update(order("capacity.set_max", Ordering::Release), Ordering::Relaxed, set);
        Room { max, ..Room::of(set.unwrap_or_else(|word| word)) }
    }

    /// Reserves the right to open one connection if there is room and `wanted` agrees with what it sees.
    #[must_use]
    pub fn reserve(&self, wanted: impl Fn(Room) -> bool) -> bool {
        self.take(ONE_OPEN + ONE_OPENING, |room| room.open < room.max && wanted(room))
    }

    /// As `reserve`, for one that replaces another, with room for so many more than the maximum, but not for more than there are slots. Some connection is counted
    /// as leaving from now on, which is what the permit to leave stands for that somebody is given later; who has no use for it [recalls](Self::recall) it.
    #[must_use]
    pub fn reserve_replacement(&self, headroom: usize, slots: usize, wanted: impl Fn(Room) -> bool) -> bool {
        let has_room = |room: Room| room.open < room.max.saturating_add(headroom).min(slots);
        // Not one that leaves anyway: so many cannot be promised that the word could not count them.
        let stays = |room: Room| room.leaving < room.open;
        self.take(ONE_OPEN + ONE_OPENING + ONE_LEAVING, |room| has_room(room) && stays(room) && wanted(room))
    }

    fn take(&self, what: u64, agreed: impl Fn(Room) -> bool) -> bool {
        let take = |word| agreed(Room::of(word)).then(|| word + what);
        // ORDERING: Acquire, pairs with Release in `give`: the slot that made room is seen as vacant; and with Release in `set_max`.
        self.0.fetch_update(order("capacity.reserve", Ordering::Acquire), Ordering::Relaxed, take).is_ok()
    }

    /// The connection that was reserved for is open.
    pub fn opened(&self) {
        self.give(ONE_OPENING);
    }

    /// The connection that was reserved for could not be opened; its slot is vacant again.
    pub fn open_failed(&self) {
        self.give(ONE_OPEN + ONE_OPENING);
    }

    /// A connection is on its way out.
    pub fn leaving(&self) {
        // ORDERING: Relaxed: a count.
        self.0.fetch_add(ONE_LEAVING, Ordering::Relaxed);
    }

    /// So many of those that are counted as leaving are not going to. Then there may be more connections than the maximum.
    pub fn recall(&self, count: usize) -> Room {
        let recalled = ONE_LEAVING * (count as u64 & MASK);
        // ORDERING: Relaxed: a count. `Gate::set_oversize` makes it known where it matters.
        Room::of(self.0.fetch_sub(recalled, Ordering::Relaxed).wrapping_sub(recalled))
    }

    /// As `leaving`, if there are more connections than the maximum. What it looks like then.
    pub fn shed(&self) -> Option<Room> {
        let shed = |word| (Room::of(word).excess() > 0).then(|| word + ONE_LEAVING);
        // ORDERING: Relaxed: a count.
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shed).ok()?;
        Some(Room::of(before + ONE_LEAVING))
    }

    /// A connection that was on its way out has been closed; its slot is vacant again.
    pub fn closed(&self) {
        self.give(ONE_OPEN + ONE_LEAVING);
    }

    fn give(&self, what: u64) {
        // ORDERING: Release, pairs with Acquire in `reserve` (I1) and in `read_then_look`. An RMW, so it does not break the chain of earlier ones.
        self.0.fetch_sub(what, order("capacity.give", Ordering::Release));
    }
}
