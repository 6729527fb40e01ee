//! What goes wrong with one operation of a hundred.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pool_postgres::PostgresOwnedLease;
use pool_postgres::tokio_postgres::Error;
use pool_testkit::proxy::{Direction, End, Place, Proxy, Toxic};
use tokio::time::sleep;

use super::site::Site;

pub(crate) type Lease = Arc<PostgresOwnedLease>;

/// One of so many operations meets with a fault.
pub(crate) const FAULTY: u64 = 100;
/// For how long bytes are held.
const HELD: Duration = Duration::from_millis(20);

/// What goes wrong. Those of the network strike whichever connection is the next to be used so, as networks do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Somebody else has changed what a transaction changes; outside of one, the server says so.
    Conflict,
    /// The session is ended by an administrator.
    Terminated,
    /// What was asked arrives, and its answer does not.
    Closed,
    /// As `Closed`, by a reset before the server is ready again.
    Reset,
    /// What was asked does not arrive.
    Cut,
    /// Nobody's bytes arrive for a while.
    Held,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] =
        [Self::Conflict, Self::Terminated, Self::Closed, Self::Reset, Self::Cut, Self::Held];

    /// That of an operation, if it has one.
    pub(crate) fn of(operation: u64) -> Option<Self> {
        let kinds = Self::ALL.iter().cycle().skip(usize::try_from(operation / FAULTY % 6).unwrap_or(0));
        kinds.copied().next().filter(|_| operation.is_multiple_of(FAULTY))
    }
}

/// A fault that happens in the first attempt of an operation.
pub(crate) struct Strike<'a> {
    site: &'a Site,
    fault: Option<Fault>,
    is_due: AtomicBool,
}

impl<'a> Strike<'a> {
    pub(crate) fn new(site: &'a Site, operation: u64) -> Self {
        Self { site, fault: Fault::of(operation), is_due: AtomicBool::new(true) }
    }

    /// Lets it happen, if it has not.
    pub(crate) async fn fall(&self, lease: &Lease, in_transaction: bool) -> Result<(), Error> {
        let Some(fault) = self.fault.filter(|_| self.is_due.swap(false, Ordering::Relaxed)) else { return Ok(()) };
        let proxy = &self.site.proxy;
        match fault {
            Fault::Conflict if in_transaction => return conflict(self.site, lease).await,
            Fault::Conflict => return lease.batch_execute(REFUSAL).await,
            Fault::Terminated => return lease.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await,
            Fault::Closed => proxy.set_once(Direction::ToClient, cut(b'C', Place::Before, End::Close)),
            Fault::Reset => proxy.set_once(Direction::ToClient, cut(b'Z', Place::Before, End::Reset)),
            Fault::Cut => proxy.set_once(Direction::ToServer, cut(b'Q', Place::Before, End::Close)),
            Fault::Held => {
                let _held = Held::new(proxy);
                sleep(HELD).await;
            }
        }
        Ok(())
    }
}

fn cut(kind: u8, place: Place, end: End) -> Toxic {
    Toxic::CutAt { kind, nth: 1, place, end }
}

const REFUSAL: &str = "DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '40001'; END $$";

/// The transaction has seen what somebody changes before it does.
async fn conflict(site: &Site, lease: &Lease) -> Result<(), Error> {
    const CHANGE: &str = "UPDATE hot SET times = times + 1";
    lease.batch_execute("SELECT times FROM hot").await?;
    site.own.batch_execute(CHANGE).await.expect("nobody keeps it from that");
    lease.batch_execute(CHANGE).await
}

/// Bytes wait until this is dropped, also by a caller who gives up.
struct Held<'a>(&'a Proxy);

impl<'a> Held<'a> {
    fn new(proxy: &'a Proxy) -> Self {
        proxy.set(Direction::ToServer, Toxic::Hold);
        Self(proxy)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.clear(Direction::ToServer);
    }
}
