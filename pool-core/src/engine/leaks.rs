//! Leases that are held for long: who has them, and what becomes of them.

use std::borrow::Cow;
use std::panic::Location;
use std::time::Duration;

use tokio::task::Id;

use super::Engine;
use super::notes::{Held, lease_of};
use super::panics::{caught, report};
use super::warnings::Warning;
use crate::brief::Brief;
use crate::connection::{ConnectionId, Holder, Named};
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::slot::{Claim, Facts};

impl<D: Driver> Engine<D> {
    /// Whether a lease is to be noted, by the settings in force.
    pub(super) fn wants_to_watch(&self) -> bool {
        let config = self.config.load();
        config.leak_after.is_some() || config.reclaim_after.is_some() || config.refuse_self_wait
    }

    /// Whether leases are noted.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.is_up()
    }

    /// Notes who has a connection from now on.
    #[cold]
    pub(crate) fn note_lease(&self, claim: &Claim<D::Connection>, place: &'static Location<'static>) {
        // The subscriber is foreign: the connection is nobody's if it panics.
        let span = caught(|| tracing::Span::current().metadata().map(tracing::Metadata::name)).unwrap_or_default();
        let (task, since) = (tokio::task::try_id(), self.clock.now());
        let held = Held { since, place, task, span, activity: None, is_reported: false, is_cut_off: false };
        self.notes.lease(self.core.table.facts(claim), held);
    }

    /// Who has a connection says what for.
    #[inline]
    pub(crate) fn note_activity(&self, claim: &Claim<D::Connection>, activity: impl Into<Cow<'static, str>>) {
        if self.is_watched() {
            // What it has said before is dropped without the lock.
            drop(self.notes.activity(self.core.table.facts(claim), activity.into()));
        }
    }

    /// A lease ends.
    #[cold]
    pub(super) fn note_return(&self, facts: &Facts) {
        if let Some(lease) = self.notes.release(facts).filter(|lease| lease.is_reported) {
            let (place, held, activity) = (lease.place, self.since(lease.since), lease.activity.as_deref());
            report(|| tracing::info!(%place, activity, ?held, "a connection that was reported has come back"));
        }
    }

    fn since(&self, moment: u64) -> Duration {
        Duration::from_nanos(self.clock.now().saturating_sub(moment))
    }

    /// Reports and cuts off what is held for too long.
    pub(super) fn look_for_leaks(&self) {
        if !self.watched.is_up() {
            return;
        }
        for (id, _) in self.callers_leases() {
            self.look_at_holder(id);
        }
    }

    fn look_at_holder(&self, id: ConnectionId) {
        let config = self.config.load();
        let mut notes = self.notes.all();
        let Some((connection, held)) = lease_of(&mut notes, id) else { return };
        let is_over = |limit: Option<Duration>| limit.is_some_and(|limit| self.since(held.since) >= limit);
        let (reports, cuts_off) = (!held.is_reported && is_over(config.leak_after), is_over(config.reclaim_after));
        let cuts_off = cuts_off && !held.is_cut_off;
        (held.is_reported, held.is_cut_off) = (held.is_reported || reports, held.is_cut_off || cuts_off);
        let held = held.clone();
        // Logs and aborters are foreign code.
        drop(notes);
        // First, and as close to the look as can be: whoever logs may take long, and it may have come back by then.
        let outcome = cuts_off.then(|| self.tasks.cut_off(id));
        if reports {
            self.report_leak(&connection, &held);
        }
        if let Some(is_cut_off) = outcome {
            self.report_reclaim(&connection, &held, is_cut_off);
        }
    }

    fn report_leak(&self, named: &Named, lease: &Held) {
        self.events.leaks.add(1);
        let (place, held, span) = (lease.place, self.since(lease.since), lease.span.unwrap_or_default());
        self.write_down("leak", &format_args!("{named}, acquired at {place}, has been leased for {}", Brief(held)));
        let task = lease.task.map(tracing::field::display);
        let (activity, Named(connection, session)) = (lease.activity.as_deref(), named);
        self.warn(Warning::Leak, |suppressed| {
            tracing::warn!(%connection, session, %place, task, span, activity, ?held, suppressed, "a connection is held for very long");
        });
    }

    fn report_reclaim(&self, named: &Named, lease: &Held, is_cut_off: bool) {
        let (place, held, activity) = (lease.place, self.since(lease.since), lease.activity.as_deref());
        let Named(connection, session) = named;
        if is_cut_off {
            self.events.reclaimed.add(1);
            self.write_down("leak", &format_args!("{named}, acquired at {place}, is cut off after {}", Brief(held)));
            self.warn(Warning::Reclaim, |suppressed| {
                tracing::warn!(%connection, session, %place, activity, ?held, suppressed, "a connection is cut off that was held for too long");
            });
        } else {
            self.warn(Warning::Reclaim, |suppressed| {
                tracing::warn!(%connection, session, %place, activity, ?held, suppressed, "a connection is held for too long, and its driver cannot cut it off");
            });
        }
    }

    /// Whoever is about to wait may be waiting for itself: then that is told. Where its first connection was acquired, if it is not to wait.
    pub(super) fn look_at_who_waits(&self, place: &'static Location<'static>) -> Option<&'static Location<'static>> {
        // Somebody has each of them: none is idle, or about to be.
        let are_all_leased = || self.core.table.counts().leased >= self.core.capacity.read().open;
        if self.is_at_its_most() && are_all_leased() { self.look_at_who_waits_in_front(place) } else { None }
    }

    /// As `look_at_who_waits`, for one who waits because others have all that it could have.
    pub(crate) fn look_at_who_waits_in_front(
        &self,
        place: &'static Location<'static>,
    ) -> Option<&'static Location<'static>> {
        let held_at = self.look_at_task(tokio::task::try_id()?, place)?;
        self.config.load().refuse_self_wait.then_some(held_at)
    }

    /// Where a task that waits for a connection of a full pool has acquired the first one that it has.
    fn look_at_task(&self, task: Id, place: &'static Location<'static>) -> Option<&'static Location<'static>> {
        if self.is_closed() {
            return None;
        }
        let leases = self.callers_leases().filter_map(|(_, facts)| self.notes.holder(facts));
        let own: Vec<_> = leases.filter(|held| held.task == Some(task)).collect();
        let first = own.iter().min_by_key(|held| held.since)?;
        self.events.self_waits.add(1);
        let (held_at, held, of) = (first.place, own.len(), self.core.capacity.read().open);
        self.warn(Warning::SelfWait, |suppressed| {
            tracing::warn!(%place, %held_at, held, of, %task, suppressed, "a task that has a connection waits for another one");
        });
        Some(held_at)
    }

    /// What one is told who is not to wait for itself, after so many nanoseconds.
    #[cold]
    pub(crate) fn refuse_self_wait(&self, waited: u64, held_at: &'static Location<'static>) -> AcquireError {
        self.count_refusal();
        self.events.refused.add(1);
        AcquireError::SelfWait { situation: self.situation(waited), held_at }
    }

    /// All leases of callers, but for those of connections that several use.
    pub(super) fn callers_leases(&self) -> impl Iterator<Item = (ConnectionId, &Facts)> {
        let pool = self.core.table.id();
        let named = move |(life, facts): (u64, _)| (ConnectionId { pool, slot: Facts::index(facts), life }, facts);
        self.core.table.leased().map(named).filter(|(id, facts)| !self.is_reserved(*id) && !self.is_shared(facts))
    }

    /// Who has a connection now, and for how long; for so many of those that have one for longest, as far as that is known, also what is noted of them. The lock of the notes is taken for
    /// a few of them at a time: whoever acquires while leases are watched takes it, too, and whoever opens or closes a connection.
    pub(crate) fn who_holds(&self, most: usize) -> Vec<Holder> {
        let began = |(id, facts): (ConnectionId, _)| (self.lease_began(facts), id);
        let mut leases: Vec<_> = self.callers_leases().map(began).collect();
        leases.sort_by_key(|(since, _)| since.unwrap_or(u64::MAX));
        let (long, rest) = leases.split_at(most.min(leases.len()));
        let (watched, mut holders) = (self.is_watched(), Vec::with_capacity(leases.len()));
        for some in long.chunks(AT_ONCE) {
            let notes = self.notes.told(some.iter().map(|(_, id)| *id), |note| {
                // While nobody watches, it may be the lease before.
                (note.session, watched.then(|| note.lease.clone()).flatten())
            });
            let each = some.iter().zip(notes.into_iter().map(Option::unwrap_or_default));
            holders.extend(each.map(|((since, id), (session, noted))| self.holder(Named(*id, session), *since, noted)));
        }
        holders.extend(rest.iter().map(|(since, id)| self.holder(Named(*id, None), *since, None)));
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.held));
        holders
    }

    fn holder(&self, named: Named, since: Option<u64>, noted: Option<Held>) -> Holder {
        let Named(connection, session) = named;
        let since = noted.as_ref().map(|held| held.since).or(since);
        Holder {
            connection,
            session,
            held: since.map(|since| self.since(since)),
            place: noted.as_ref().map(|held| held.place),
            task: noted.as_ref().and_then(|held| held.task),
            span: noted.as_ref().and_then(|held| held.span),
            activity: noted.and_then(|held| held.activity),
        }
    }
}

/// So many connections are looked up at once in the notes.
pub(super) const AT_ONCE: usize = 64;
