//! How the pools of the roles follow what becomes of the servers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use pool_core::trace::report;

use super::ServerRole;
use crate::connection::PostgresConnection;
use crate::follow::Follow;
use crate::memory::Memory;
use crate::pool::PostgresPool;
use crate::server::Server;
use crate::socket::Place;

/// For how long it is remembered that connections to a place were retired.
const REMEMBERED: Duration = Duration::from_mins(10);

/// The pools, and what was noticed of the servers.
pub(super) struct Inner {
    pools: [PostgresPool; 3],
    memory: Arc<Memory>,
    noticed: Noticed,
}

/// What was noticed of the servers. It may be so before the pools have all been made.
#[derive(Clone, Default)]
pub(super) struct Noticed(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    /// Where the primary is that was connected to last.
    primary: Option<Place>,
    /// Where those were that were connected to before it, and may be there still.
    former: Vec<Place>,
    /// When the connections of a role to a place were retired last, since the server was not what it had been.
    retired: HashMap<(ServerRole, Place), Instant>,
}

impl Noticed {
    /// Never held across an await, nor while a pool is called.
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    /// The primary is here now. Where it was before, if that was elsewhere.
    fn move_to(&mut self, now: &Place) -> Option<&Place> {
        if self.primary.as_ref() == Some(now) {
            return None;
        }
        self.former.retain(|place| place != now);
        self.former.extend(self.primary.replace(now.clone()));
        self.former.last()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("pools", &self.pools).finish_non_exhaustive()
    }
}

impl Inner {
    pub(super) fn new(pools: [PostgresPool; 3], memory: Arc<Memory>, noticed: Noticed) -> Self {
        Self { pools, memory, noticed }
    }

    pub(super) fn pool(&self, role: ServerRole) -> &PostgresPool {
        let [primary, replica, prefer_replica] = &self.pools;
        match role {
            ServerRole::Primary => primary,
            ServerRole::Replica => replica,
            ServerRole::PreferReplica => prefer_replica,
        }
    }

    /// A primary has been connected to.
    fn follow_primary(&self, server: &Server) {
        let gone: Vec<_> = {
            let former = &mut self.noticed.lock().former;
            // There may be several that can be written to, one after the other by chance.
            former.extract_if(.., |place| self.memory.is_no_primary(place)).collect()
        };
        for place in gone {
            self.pool(ServerRole::Primary).retire_host_for_driver(&place.to_string());
        }
        if self.memory.take_standby(&server.place) {
            for role in [ServerRole::Replica, ServerRole::PreferReplica] {
                self.pool(role).retire_host_for_driver(&server.address);
            }
        }
    }

    /// The server of a connection is not what it was when that was opened.
    fn follow_change(&self, role: ServerRole, connection: &PostgresConnection) {
        let server = connection.server();
        if self.noticed.lock().is_news(role, connection) {
            let (host, address) = (connection.host(), &*server.address);
            report(
                || tracing::info!(host, address, %role, "its connections are retired, since the server is not what it was"),
            );
            self.pool(role).retire_host_for_driver(address);
        }
    }
}

impl Notes {
    /// Whether connections of a role to a place have to be retired, since one of them has shown that they have to. Those that were opened since the last time go to a server that is what it has to be.
    fn is_news(&mut self, role: ServerRole, connection: &PostgresConnection) -> bool {
        let (key, accepted_at) = ((role, connection.server().place.clone()), connection.accepted_at());
        // Of one that has gone since, nothing is worse than to be retired twice.
        self.retired.retain(|_, at| at.elapsed() < REMEMBERED);
        let is_news = self.retired.get(&key).is_none_or(|before| *before < accepted_at);
        if is_news {
            self.retired.insert(key, Instant::now());
        }
        is_news
    }
}

/// What the pool of a role does about what its connections show.
pub(super) struct Following {
    role: ServerRole,
    noticed: Noticed,
    /// Set when all pools have been made. Weak, since the pools have this.
    inner: Arc<OnceLock<Weak<Inner>>>,
}

impl Following {
    pub(super) fn new(role: ServerRole, noticed: Noticed, inner: Arc<OnceLock<Weak<Inner>>>) -> Self {
        Self { role, noticed, inner }
    }

    fn inner(&self) -> Option<Arc<Inner>> {
        self.inner.get().and_then(Weak::upgrade)
    }
}

impl Follow for Following {
    fn on_found(&self, server: &Server) {
        if self.role != ServerRole::Primary {
            return;
        }
        // Whoever listens to the log is not called with the lock.
        let before = self.noticed.lock().move_to(&server.place).cloned();
        if let Some(before) = before {
            report(
                || tracing::info!(host = &*server.name, address = %server.place, %before, "there is another primary"),
            );
        }
        if let Some(inner) = self.inner() {
            inner.follow_primary(server);
        }
    }

    fn on_changed(&self, connection: &PostgresConnection) {
        if let Some(inner) = self.inner() {
            inner.follow_change(self.role, connection);
        }
    }
}
