//! The tags of connections, and which connections have one. Nobody looks here who has nothing to do with tags.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Engine;
use super::panics::caught;
use crate::connection::ConnectionId;
use crate::counters::Flag;
use crate::driver::Driver;
use crate::slot::{Claim, Facts};
use crate::tag::{Tag, TagError};

/// Of the connections that are open.
#[derive(Debug, Default)]
pub(super) struct Tags {
    /// Whether there has ever been one.
    used: Flag,
    book: Mutex<Book>,
}

/// What a connection can be preferred for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Label {
    /// It has this tag.
    Tag(Tag),
    /// This key has had it last.
    Key(Tag),
}

#[derive(Debug, Default)]
struct Book {
    /// By slot, the oldest first.
    on: HashMap<usize, Vec<Label>>,
    with: HashMap<Label, Vec<ConnectionId>>,
}

impl Label {
    fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Key(_) => None,
        }
    }

    fn is_of_the_kind_of(&self, other: &Self) -> bool {
        self.tag().is_some() == other.tag().is_some()
    }
}

impl Book {
    fn on(&self, slot: usize) -> &[Label] {
        self.on.get(&slot).map(Vec::as_slice).unwrap_or_default()
    }

    /// Takes the labels off a connection that are such.
    fn take_off(&mut self, slot: usize, such: impl Fn(&Label) -> bool) -> Vec<Label> {
        let Some(labels) = self.on.get_mut(&slot) else { return Vec::new() };
        let taken: Vec<_> = labels.extract_if(.., |label| such(label)).collect();
        if labels.is_empty() {
            self.on.remove(&slot);
        }
        for label in &taken {
            if let Some(with) = self.with.get_mut(label) {
                with.retain(|id| id.slot != slot);
                if with.is_empty() {
                    self.with.remove(label);
                }
            }
        }
        taken
    }

    /// How many of the same kind are on a connection, and the oldest of them.
    fn others(&self, slot: usize, label: &Label) -> (usize, Option<Label>) {
        let others = || self.on(slot).iter().filter(|other| other.is_of_the_kind_of(label));
        (others().count(), others().next().cloned())
    }

    fn put_on(&mut self, id: ConnectionId, label: Label) {
        self.on.entry(id.slot).or_default().push(label.clone());
        self.with.entry(label).or_default().push(id);
    }
}

impl Tags {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether connections may have any.
    pub(super) fn are_used(&self) -> bool {
        self.used.is_up()
    }

    /// Whether somebody may prefer the connection in this slot.
    pub(super) fn are_on(&self, slot: usize) -> bool {
        self.are_used() && !self.book().on(slot).is_empty()
    }

    /// Those of the connection in this slot.
    pub(super) fn of(&self, slot: usize) -> Vec<Tag> {
        if self.are_used() { self.book().on(slot).iter().filter_map(Label::tag).cloned().collect() } else { Vec::new() }
    }

    /// The connections that have one, those that are on their way out included.
    pub(super) fn with(&self, label: &Label) -> Vec<ConnectionId> {
        self.book().with.get(label).cloned().unwrap_or_default()
    }

    /// Whether a connection has one.
    pub(super) fn has(&self, id: ConnectionId, label: &Label) -> bool {
        self.book().with.get(label).is_some_and(|with| with.contains(&id))
    }

    /// Takes the tag of this name off.
    pub(super) fn take_off(&self, slot: usize, name: &str) -> Option<Tag> {
        let such = |label: &Label| label.tag().is_some_and(|tag| tag.name() == name);
        self.book().take_off(slot, such).pop().and_then(|label| label.tag().cloned())
    }

    /// The connection in this slot is the pool's no longer.
    pub(super) fn end(&self, slot: usize) {
        if self.are_used() {
            self.book().take_off(slot, |_| true);
        }
    }
}

impl<D: Driver> Engine<D> {
    /// Notes a tag on a connection, in the place of another one of its name.
    pub(crate) fn tag(&self, claim: &Claim<D::Connection>, tag: Tag) -> Result<(), TagError> {
        self.begin_tagging(claim);
        let (id, label) = (self.id(claim), Label::Tag(tag));
        let mut book = self.tags.book();
        let is_new = !book.on(id.slot).iter().any(|other| names(other) == names(&label));
        if is_new && book.others(id.slot, &label).0 >= Tag::MOST {
            return Err(TagError::TooMany { most: Tag::MOST });
        }
        book.take_off(id.slot, |other| names(other) == names(&label));
        book.put_on(id, label);
        Ok(())
    }

    /// As `tag`, for the pool itself, and for keys: the oldest one falls off if there are too many. Then the pool knows less of the connection than is true, which harms nobody.
    pub(super) fn label(&self, claim: &Claim<D::Connection>, label: Label) {
        self.begin_tagging(claim);
        let id = self.id(claim);
        let mut book = self.tags.book();
        if matches!(label, Label::Key(_)) {
            // It has had another one before.
            for before in book.with.get(&label).cloned().unwrap_or_default() {
                book.take_off(before.slot, |other| *other == label);
            }
        }
        if let (Tag::MOST.., Some(oldest)) = book.others(id.slot, &label) {
            book.take_off(id.slot, |other| *other == oldest);
        }
        book.put_on(id, label);
    }

    /// Takes the tag of this name off a connection.
    pub(crate) fn untag(&self, claim: &Claim<D::Connection>, name: &str) -> Option<Tag> {
        self.tags.take_off(self.core.table.index(claim), name)
    }

    /// Whether so many nanoseconds may be too few for what has to be done with a connection before it is used: it would cost the connection.
    pub(super) fn is_short(&self, claim: &Claim<D::Connection>, needs: Option<&Tag>, left: u64) -> bool {
        let converts = |tag: &Tag| !self.tags.has(self.id(claim), &Label::Tag(tag.clone()));
        let is_short_for_conversion = needs.is_some_and(|tag| self.usual_convert.is_short(left) && converts(tag));
        is_short_for_conversion || self.is_short_for_hook(left)
    }

    /// A connection has been reset.
    pub(super) fn drop_what_is_reset(&self, claim: &Claim<D::Connection>) {
        // The driver is foreign, and not asked under the lock.
        let lost = |tag: &Tag| !caught(|| self.driver.reset_keeps(tag)).unwrap_or_default();
        for tag in self.tags_of(claim).into_iter().filter(lost) {
            self.untag(claim, tag.name());
        }
    }

    /// The tags of a connection.
    pub(crate) fn tags_of(&self, claim: &Claim<D::Connection>) -> Vec<Tag> {
        self.tags.of(self.core.table.index(claim))
    }

    /// From now on connections with tags are looked at closely, so that those hear of it who prefer one that comes back.
    fn begin_tagging(&self, claim: &Claim<D::Connection>) {
        if !self.tags.are_used() {
            let _turn = self.operator.lock().unwrap_or_else(PoisonError::into_inner);
            self.tags.used.raise();
            self.attend(self.wants_to_watch());
        }
        self.core.table.facts(claim).good_until.set(0);
    }

    /// Whether somebody may prefer this connection.
    pub(super) fn is_tagged(&self, facts: &Facts) -> bool {
        self.tags.are_on(facts.index())
    }
}

/// The name of a tag; of keys there may be many.
fn names(label: &Label) -> Option<&str> {
    label.tag().map(Tag::name)
}
