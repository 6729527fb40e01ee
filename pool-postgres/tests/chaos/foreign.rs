//! F106, F109: what is called in the middle of the pool's work, and panics. A call of a driver that panics cannot be had with PostgreSQL's; whoever writes down what the pool reports can.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::pin_mut;
use pool_testkit::proxy::{Admission, End};
use tracing::{Event, Metadata, Subscriber, span};

use crate::asking::{answer, eventually, in_time};
use crate::common::{Chaos, impatient};
use crate::invariants;
use crate::users::SHORT;

/// A waker that panics when it is woken.
#[derive(Default)]
struct Grumpy(AtomicU64);

impl Wake for Grumpy {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("told to panic in wake");
    }
}

/// Polls once, to be woken by such a waker, and expects no output.
fn wait_with(grumpy: &Arc<Grumpy>, future: std::pin::Pin<&mut impl Future>) {
    let waker = Waker::from(Arc::clone(grumpy));
    assert!(future.poll(&mut Context::from_waker(&waker)).is_pending());
}

#[tokio::test]
async fn f109_a_waker_that_panics_keeps_nobody_else_from_a_connection() {
    let chaos = Chaos::start(1).await;
    let grumpy = Arc::default();
    let lease = chaos.working().await;
    let mut first = Box::pin(chaos.pool.acquire());
    wait_with(&grumpy, first.as_mut());
    let pool = chaos.pool.clone();
    let second = tokio::spawn(async move { answer(&pool.acquire().await.unwrap(), 1).await.unwrap() });
    eventually("both wait", async || chaos.pool.state().waiting == 2).await;
    drop(lease);
    assert_eq!(grumpy.0.load(Ordering::Relaxed), 1, "it was woken");
    drop(first);
    assert_eq!(in_time("what it was promised goes to the next", second).await.unwrap(), 2);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.broken, stats.cancelled), (1, 0, 1), "{stats:?}");
}

/// The task of the session wakes it up, and cannot go on.
#[tokio::test]
async fn f109_a_waker_that_panics_in_a_query_costs_one_connection_at_most() {
    let chaos = Chaos::start(2).await;
    let grumpy = Arc::default();
    chaos.fill(2).await;
    let (lease, other) = (chaos.working().await, chaos.working().await);
    {
        let query = lease.query_one("SELECT 1", &[]);
        pin_mut!(query);
        wait_with(&grumpy, query.as_mut());
        eventually("it is woken", async || grumpy.0.load(Ordering::Relaxed) > 0).await;
    }
    assert_eq!(answer(&other, 1).await.unwrap(), 2);
    drop((lease, other));
    drop((chaos.working().await, chaos.working().await));
    let stats = invariants::hold(chaos).await;
    assert!(stats.broken <= 1 && stats.opened <= 3, "{stats:?}");
}

#[tokio::test]
async fn f109_a_waker_that_panics_keeps_nobody_else_waiting_for_a_close() {
    let chaos = Chaos::start(2).await;
    let grumpy = Arc::default();
    let lease = chaos.pool.acquire_owned().await.unwrap();
    let mut first = Box::pin(chaos.pool.close());
    wait_with(&grumpy, first.as_mut());
    let pool = chaos.pool.clone();
    let second = tokio::spawn(async move { pool.close().await });
    tokio::task::yield_now().await;
    drop(lease);
    in_time("the other one is told", second).await.unwrap();
    assert_eq!(grumpy.0.load(Ordering::Relaxed), 1, "it was woken");
    in_time("and so is it, when it asks", first).await;
    invariants::close(chaos).await;
}

/// Panics at whatever the pool reports, and the task of a session. What PostgreSQL's driver says when it is asked for the state of a connection is left out: a panic there is one of
/// that call.
#[derive(Clone, Default)]
struct Quarrelsome(Arc<AtomicU64>);

impl Subscriber for Quarrelsome {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        ["pool_core", "pool_postgres::wire"].iter().any(|target| metadata.target().starts_with(target))
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        // Whoever is not enabled may be told all the same, by code that asks once for all.
        if self.enabled(event.metadata()) {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("told to panic at an event");
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Attempts fail, then somebody is served; again and again.
async fn outages(chaos: &Chaos, number: usize) {
    for _ in 0..number {
        chaos.proxy.admit(Admission::Reset).await;
        let failed = chaos.pool.stats().open_failures;
        let away = async {
            eventually("attempts fail", async || chaos.pool.stats().open_failures >= failed + 2).await;
            chaos.heal().await;
        };
        tokio::join!(async { chaos.working().await.discard() }, away);
    }
}

/// Attempts that fail, a ping that fails, sessions that end: each is reported, and the report costs nobody anything.
#[tokio::test]
async fn f106_whoever_is_told_of_events_and_panics_costs_nothing() {
    let quarrelsome = Quarrelsome::default();
    let told = || quarrelsome.0.load(Ordering::Relaxed);
    // With a single one in the process, a thread that has none could decide for all that nobody listens.
    let _another = tracing::Dispatch::new(quarrelsome.clone());
    let listening = tracing::subscriber::set_default(quarrelsome.clone());
    let chaos = impatient(2).await;
    // A pool that was hurt by each report would rest for a second after it.
    in_time("all are served", outages(&chaos, 15)).await;
    let (told_before, stats) = (told(), chaos.pool.stats());
    assert!(told_before >= 3 * 15, "of two failures and a success each: {told_before}");
    chaos.fill(2).await;
    eventually("one that was on its way out is gone", async || chaos.watch.sessions().await == 2).await;
    assert_eq!(chaos.watch.terminate().await, 2);
    eventually("both are known to be lost", async || chaos.pool.stats().broken == stats.broken + 2).await;
    assert_eq!(chaos.pool.driver().ends().count("57P01"), 2, "it is counted before it is reported");
    eventually("both are reported", async || told() >= told_before + 2).await;
    let told_before = told();
    chaos.fill(2).await;
    chaos.proxy.cut_all(End::Silence).await;
    chaos.reconfigure(|config| config.health_check_interval = Some(SHORT));
    eventually("both are found by a ping", async || chaos.pool.stats().errors.pings >= 2).await;
    eventually("and so are they", async || told() > told_before).await;
    drop(listening);
    invariants::hold(chaos).await;
}
