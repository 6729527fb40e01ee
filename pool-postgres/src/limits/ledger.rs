//! What is counted of all connections of a driver, those that are gone included.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::slow::{Listener, Warnings};
use super::stats::{Counters, ITEMS, Item};
use crate::diagnosis::CLASSES;
use crate::server::Server;
use crate::tap::Session;

/// What is counted of all connections, and who wants to know of slow requests.
pub(crate) struct Ledger {
    books: Mutex<Books>,
    pub(super) listener: Mutex<Option<Listener>>,
    pub(super) warnings: Warnings,
    /// Of a listener that panics.
    pub(super) panics: Warnings,
    /// Of sessions in which something was left.
    left_behind: Warnings,
    /// Of requests that could not be cancelled.
    pub(super) not_cancelled: Warnings,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            books: Mutex::default(),
            listener: Mutex::default(),
            warnings: Warnings::new(1),
            panics: Warnings::new(1),
            left_behind: Warnings::new(10),
            not_cancelled: Warnings::new(1),
        }
    }
}

/// Locked when a connection begins or ends, and by whoever looks.
#[derive(Default)]
struct Books {
    open: Vec<Arc<Account>>,
    /// Of connections that are gone.
    closed: Totals,
}

/// One connection, as far as it counts.
pub(crate) struct Account {
    counters: Arc<Counters>,
    session: Arc<Session>,
    server: Arc<Server>,
}

/// What is counted, and only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) items: [u64; ITEMS],
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Errors of servers, by their class.
    pub(crate) errors: [u64; CLASSES.len()],
}

impl Totals {
    fn and(mut self, account: &Account) -> Self {
        let traffic = account.session.traffic();
        self.items.iter_mut().zip(account.counters.snapshot()).for_each(|(all, more)| *all += more);
        self.errors.iter_mut().zip(traffic.errors()).for_each(|(all, more)| *all += more);
        (self.sent, self.received) = (self.sent + traffic.sent(), self.received + traffic.received());
        self
    }
}

impl Account {
    /// What the session is doing.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Where it is.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Counts, whether there still is a connection or not.
    pub(super) fn add_late(self: &Arc<Self>, item: Item) {
        let mut books = self.server.settings.ledger.books();
        // Under the lock, so that it is not closed meanwhile.
        if books.open.iter().any(|account| Arc::ptr_eq(account, self)) {
            self.counters.add(item);
        } else {
            books.closed.items[item as usize] += 1;
        }
    }

    /// How many statements it keeps prepared.
    pub(crate) fn kept(&self) -> u64 {
        self.counters.kept()
    }
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// If somebody may be warned of what was left behind in a session: how many times that was not done since the last one.
    pub(crate) fn may_warn(&self) -> Option<u64> {
        self.left_behind.ask()
    }

    /// What has been counted so far; and the connections that there are are shown one by one.
    pub(crate) fn read(&self, mut look: impl FnMut(&Account)) -> Totals {
        let books = self.books();
        books.open.iter().fold(books.closed, |totals, account| {
            look(account);
            totals.and(account)
        })
    }

    /// What has been counted so far.
    pub(crate) fn totals(&self) -> Totals {
        self.read(|_| {})
    }
}

/// What is counted of one connection, for as long as there is one.
pub(crate) struct Tally {
    account: Arc<Account>,
}

impl Tally {
    pub(crate) fn new(server: &Arc<Server>, session: &Arc<Session>) -> Self {
        let (server, session) = (Arc::clone(server), Arc::clone(session));
        let account = Arc::new(Account { counters: Arc::default(), session, server });
        account.server.settings.ledger.books().open.push(Arc::clone(&account));
        Self { account }
    }

    pub(crate) fn add(&self, item: Item) {
        self.account.counters.add(item);
    }

    /// What counts as long as there is a connection.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.account.counters)
    }

    /// For one who counts when the connection may be gone.
    pub(crate) fn account(&self) -> Arc<Account> {
        Arc::clone(&self.account)
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.account.server.settings.ledger
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.account.counters.fmt(f)
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let mut books = self.ledger().books();
        books.open.retain(|account| !Arc::ptr_eq(account, &self.account));
        books.closed = books.closed.and(&self.account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QueryStats;
    use crate::config::{Host, PostgresConfig};
    use crate::server::Settings;
    use crate::socket::Place;

    #[test]
    fn what_was_counted_outlives_its_connection() {
        let settings = Arc::new(Settings::with_tls(None, PostgresConfig::default()));
        let server = Arc::new(Server::new(&settings, &Host::default(), Place::Unix("s".to_owned())));
        let (ledger, session) = (&settings.ledger, Arc::<Session>::default());
        let (one, other) = (Tally::new(&server, &session), Tally::new(&server, &Arc::default()));
        one.add(Item::Answered);
        one.add(Item::SlaMissed);
        one.counters().keep(3);
        other.add(Item::TimedOut);
        session.traffic().note_sent(7, 0);
        session.traffic().note_received(9, 0);
        session.traffic().note_error("23505");
        let wanted = QueryStats { queries: 2, failed: 1, timed_out: 1, sla_missed: 1, ..QueryStats::default() };
        let all = ledger.totals();
        assert_eq!(QueryStats::of(&all.items), wanted);
        assert_eq!((all.sent, all.received, all.errors.iter().sum::<u64>()), (7, 9, 1));
        let kept = || {
            let (mut kept, mut open) = (0, 0);
            let totals = ledger.read(|account| (kept, open) = (kept + account.kept(), open + 1));
            (totals, kept, open)
        };
        assert_eq!(kept(), (all, 3, 2));
        drop(one);
        assert_eq!(kept(), (all, 0, 1), "what is counted stays, and what there is does not");
        let late = other.account();
        late.add_late(Item::Cancelled);
        drop(other);
        assert_eq!(kept(), (ledger.totals(), 0, 0));
        late.add_late(Item::Cancelled);
        let wanted = QueryStats { cancelled: 2, ..wanted };
        assert_eq!(QueryStats::of(&ledger.totals().items), wanted, "nobody is too late");
    }
}
