//! What is remembered of servers for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::TargetSessionAttrs;
use crate::role::Role;
use crate::socket::Place;

/// For how long a server is tried last that has failed, or was not what is wanted.
const WHILE: Duration = Duration::from_secs(10);
/// After how long a place is forgotten that no answer has had.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// When a server is tried: those of a lesser rank first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It was the primary when one was found last.
    Leading,
    /// Nothing is against it.
    Usual,
    /// It was there, and not what is wanted, a moment ago. To ask again takes as long as to connect.
    Unfit,
    /// It could not be reached a moment ago. To try again may take as long as it may.
    Down,
}

/// What was seen of the servers of late, by their place in the list.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Whether the server that was the primary last is the first choice for one.
    follows: bool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    servers: HashMap<usize, Server>,
    leading: Option<usize>,
    /// What each place was that was tried, the last time.
    places: HashMap<Place, Sighting>,
}

#[derive(Debug)]
struct Sighting {
    /// The server whose place it is, by its own place in the list.
    host: usize,
    /// `None` if it could not be reached.
    role: Option<Role>,
    /// Whether it was a standby since somebody asked.
    was_standby: bool,
    /// Since when no answer to the question for the server's addresses has had it.
    missing_since: Option<Instant>,
}

#[derive(Debug, Default)]
struct Server {
    failed_at: Option<Instant>,
    role: Option<(Role, Instant)>,
}

impl Sighting {
    fn is_missing_for(&self, time: Duration) -> bool {
        self.missing_since.is_some_and(|since| since.elapsed() >= time)
    }
}

impl Memory {
    /// One for which the primary is the server that was one last, for as long as that is so.
    pub(crate) fn following() -> Self {
        Self { follows: true, seen: Mutex::default() }
    }

    /// These are all places of a server now, as far as a name server tells: some tell one of several, in turn.
    pub(crate) fn locate(&self, host: usize, places: &[Place]) {
        let now = Instant::now();
        let known = &mut self.seen().places;
        for (place, sighting) in known.iter_mut().filter(|(_, sighting)| sighting.host == host) {
            let since = sighting.missing_since.unwrap_or(now);
            sighting.missing_since = (!places.contains(place)).then_some(since);
        }
        known.retain(|_, sighting| !sighting.is_missing_for(FORGOTTEN));
    }

    /// One place of it could not be reached now.
    pub(crate) fn miss(&self, host: usize, place: &Place) {
        self.see(host, place, None);
    }

    fn see(&self, host: usize, place: &Place, role: Option<Role>) {
        let places = &mut self.seen().places;
        let was_standby = places.get(place).is_some_and(|before| before.was_standby);
        let was_standby = was_standby || role.is_some_and(|role| role.is_standby);
        places.insert(place.clone(), Sighting { host, role, was_standby, missing_since: None });
    }

    /// Whether nobody would find a primary there who tried it again: it was none the last time, or for a while it has been the place of no server.
    pub(crate) fn is_no_primary(&self, place: &Place) -> bool {
        let seen = self.seen();
        let there = seen.places.get(place).filter(|sighting| !sighting.is_missing_for(WHILE));
        let role = there.and_then(|sighting| sighting.role);
        role.is_none_or(|role| role.unsuitable(TargetSessionAttrs::ReadWrite).is_some())
    }

    /// Whether it was a standby since this was asked last.
    pub(crate) fn take_standby(&self, place: &Place) -> bool {
        let mut seen = self.seen();
        seen.places.get_mut(place).is_some_and(|sighting| std::mem::take(&mut sighting.was_standby))
    }

    /// It could not be reached now.
    pub(crate) fn suspect(&self, host: usize) {
        self.seen().servers.entry(host).or_default().failed_at = Some(Instant::now());
    }

    /// It is there.
    pub(crate) fn trust(&self, host: usize) {
        self.seen().servers.entry(host).or_default().failed_at = None;
    }

    /// It is there, at this place, and is this.
    pub(crate) fn note(&self, host: usize, place: &Place, role: Role) {
        let server = Server { failed_at: None, role: Some((role, Instant::now())) };
        self.seen().servers.insert(host, server);
        self.see(host, place, Some(role));
    }

    /// It was the first that is what is wanted by somebody who wants this.
    pub(crate) fn prefer(&self, host: usize, wanted: TargetSessionAttrs) {
        if self.follows && is_led(wanted) {
            self.seen().leading = Some(host);
        }
    }

    /// When it is tried by somebody who wants this.
    pub(crate) fn rank(&self, host: usize, wanted: TargetSessionAttrs) -> Rank {
        let seen = self.seen();
        let server = seen.servers.get(&host);
        let failed = server.and_then(|server| server.failed_at).is_some_and(|at| at.elapsed() < WHILE);
        let role = server.and_then(|server| server.role).filter(|(_, at)| at.elapsed() < WHILE);
        if failed {
            Rank::Down
        } else if role.is_some_and(|(role, _)| role.unsuitable(wanted).is_some()) {
            Rank::Unfit
        } else if is_led(wanted) && seen.leading == Some(host) {
            Rank::Leading
        } else {
            Rank::Usual
        }
    }

    /// How long ago it could not be reached, if it has not been since; and what it was when somebody last asked.
    pub(crate) fn recall(&self, host: usize) -> (Option<Duration>, Option<Role>) {
        let seen = self.seen();
        let server = seen.servers.get(&host);
        let failed = server.and_then(|server| server.failed_at).map(|at| at.elapsed());
        (failed, server.and_then(|server| server.role).map(|(role, _)| role))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is the primary that is wanted.
fn is_led(wanted: TargetSessionAttrs) -> bool {
    matches!(wanted, TargetSessionAttrs::ReadWrite | TargetSessionAttrs::Primary)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDBY: Role = Role { is_standby: true, is_read_only: true };
    const PRIMARY: Role = Role { is_standby: false, is_read_only: false };

    fn place(last: u8) -> Place {
        Place::Tcp(([10, 0, 0, last], 5432).into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_what_it_was_the_last_time() {
        let memory = Memory::following();
        let gone = |last| memory.is_no_primary(&place(last));
        memory.note(0, &place(1), PRIMARY);
        memory.note(0, &place(2), STANDBY);
        assert_eq!((gone(1), gone(2)), (false, true), "two places of one server");
        memory.miss(0, &place(1));
        tokio::time::advance(WHILE * 1000).await;
        assert!(gone(1), "however long ago that was");
        memory.note(0, &place(1), PRIMARY);
        memory.locate(1, &[]);
        memory.locate(0, &[place(1), place(3)]);
        assert!(!gone(1));
        memory.locate(0, &[place(3)]);
        assert!(!gone(1), "the next answer may have it again");
        memory.locate(0, &[place(1)]);
        tokio::time::advance(WHILE).await;
        assert!(!gone(1));
        memory.locate(0, &[place(3)]);
        tokio::time::advance(WHILE).await;
        assert!(gone(1), "its name does not lead there any more");
        tokio::time::advance(FORGOTTEN).await;
        memory.locate(0, &[place(3)]);
        assert!(memory.seen().places.keys().all(|known| *known != place(1)));
    }

    #[test]
    fn a_standby_that_was_promoted_is_told_once() {
        let memory = Memory::following();
        assert!(!memory.take_standby(&place(1)), "nobody knows it");
        memory.note(0, &place(1), PRIMARY);
        assert!(!memory.take_standby(&place(1)));
        memory.note(0, &place(1), STANDBY);
        memory.miss(0, &place(1));
        memory.note(0, &place(1), PRIMARY);
        assert!(memory.take_standby(&place(1)));
        assert!(!memory.take_standby(&place(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_failed_is_suspect_for_a_while() {
        let memory = Memory::default();
        let rank = |host| memory.rank(host, TargetSessionAttrs::Any);
        memory.suspect(1);
        assert_eq!((rank(1), rank(0)), (Rank::Down, Rank::Usual));
        tokio::time::advance(WHILE).await;
        assert_eq!(rank(1), Rank::Usual);
        memory.suspect(1);
        tokio::time::advance(WHILE * 2).await;
        assert_eq!(memory.recall(1), (Some(WHILE * 2), None));
        memory.note(1, &place(1), STANDBY);
        assert_eq!((memory.recall(1), memory.recall(0)), ((None, Some(STANDBY)), (None, None)));
        memory.suspect(1);
        memory.trust(1);
        assert_eq!(rank(1), Rank::Usual);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_not_what_one_wants_may_be_what_another_does() {
        let memory = Memory::default();
        memory.note(0, &place(1), STANDBY);
        let rank = |wanted| memory.rank(0, wanted);
        assert_eq!(rank(TargetSessionAttrs::ReadWrite), Rank::Unfit);
        assert_eq!(rank(TargetSessionAttrs::Standby), Rank::Usual);
        memory.suspect(0);
        assert_eq!(rank(TargetSessionAttrs::ReadWrite), Rank::Down, "that may take long");
        memory.note(0, &place(1), STANDBY);
        tokio::time::advance(WHILE).await;
        assert_eq!(rank(TargetSessionAttrs::ReadWrite), Rank::Usual, "it may have been promoted");
    }

    #[tokio::test(start_paused = true)]
    async fn the_primary_is_the_server_that_was_one_last() {
        let (memory, wanted) = (Memory::following(), TargetSessionAttrs::ReadWrite);
        let rank = |host| memory.rank(host, wanted);
        memory.note(1, &place(1), PRIMARY);
        memory.prefer(1, wanted);
        tokio::time::advance(WHILE * 1000).await;
        assert_eq!((rank(0), rank(1)), (Rank::Usual, Rank::Leading));
        memory.note(0, &place(1), PRIMARY);
        memory.prefer(0, TargetSessionAttrs::Any);
        assert_eq!((rank(0), rank(1)), (Rank::Usual, Rank::Leading), "another one comes back, and is not needed");
        assert_eq!(memory.rank(1, TargetSessionAttrs::Any), Rank::Usual);
        memory.suspect(1);
        assert_eq!(rank(1), Rank::Down);
        memory.prefer(0, wanted);
        memory.trust(1);
        assert_eq!((rank(0), rank(1)), (Rank::Leading, Rank::Usual), "there is one");
        let usual = Memory::default();
        usual.prefer(1, wanted);
        assert_eq!(usual.rank(1, wanted), Rank::Usual, "as libpq does");
    }
}
