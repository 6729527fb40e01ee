//! Tasks that use the pool in every way at once, and a thread that cleans up after them.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use pool_core::{AcquireError, Config, IdleOrder, OwnedLease, Pool};
use pool_testkit::fake::{FakeDriver, quiet};

use pool_testkit::random::Random;

type Outcome = Result<OwnedLease<FakeDriver>, AcquireError>;
type Waiting = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// There are never more connections.
pub(crate) const MOST: usize = 6;

/// What all of them share, and what they saw.
pub(crate) struct Place {
    pub(crate) pool: Pool<FakeDriver>,
    /// Leases that are dropped by another thread than the one that got them.
    pub(crate) leases: Mutex<Vec<OwnedLease<FakeDriver>>>,
    /// Acquires that are dropped by another thread than the one that polled them.
    pub(crate) abandoned: Mutex<Vec<Waiting>>,
    pub(crate) acquired: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    /// Tasks that have not ended yet.
    pub(crate) busy: AtomicUsize,
}

impl Place {
    pub(crate) fn new(pool: Pool<FakeDriver>) -> Arc<Self> {
        Arc::new(Self {
            pool,
            leases: Mutex::default(),
            abandoned: Mutex::default(),
            acquired: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
        })
    }

    /// Drops what others have left, and takes what is idle, until all tasks have ended. Outside of any runtime.
    pub(crate) fn clean_up(&self) {
        while self.busy.load(Ordering::SeqCst) > 0 {
            let (lease, waiting) = (self.leases.lock().unwrap().pop(), self.abandoned.lock().unwrap().pop());
            drop((lease, waiting));
            if let Ok(lease) = self.pool.try_acquire() {
                self.acquired.fetch_add(1, Ordering::SeqCst);
                drop(lease.take_in_hand());
            }
            std::thread::yield_now();
        }
        self.leases.lock().unwrap().clear();
        self.abandoned.lock().unwrap().clear();
    }
}

/// Budgets are short, so that calls that hang do not hold up the test; a wait that is not meant to end early is long, so that one that is never
/// woken shows.
pub(crate) fn settings(random: &mut Random) -> Config {
    let mut up_to = |most: usize| usize::try_from(random.below(most as u64 + 1)).unwrap();
    let headroom = up_to(1);
    let mut config = quiet(1 + up_to(MOST - 1 - headroom));
    (config.rotation_headroom, config.min_idle, config.lazy) = (headroom, up_to(1), up_to(1) == 0);
    config.max_uses = [None, Some(20)][up_to(1)];
    config.idle_order = [IdleOrder::Recent, IdleOrder::Fifo, IdleOrder::LeastRecentlyUsed][up_to(2)];
    config.min_size = up_to(1);
    config.acquire_timeout = Duration::from_mins(1);
    config.collect_within = [None, Some(Duration::from_millis(1))][up_to(1)];
    let short = Duration::from_millis(5);
    (config.connect_timeout, config.reset_timeout, config.close_timeout) = (short, short, short);
    (config.health_check_interval, config.health_check_timeout) = (Some(short), short);
    (config.check_after_idle, config.check_timeout) = ([None, Some(short)][up_to(1)], short);
    (config.idle_timeout, config.max_lifetime) = (Some(4 * short), Some(10 * short));
    (config.backoff_initial, config.backoff_max) = (Duration::from_millis(1), Duration::from_millis(2));
    config
}

/// One task.
pub(crate) struct User {
    pub(crate) place: Arc<Place>,
    pub(crate) random: Random,
}

impl Drop for User {
    fn drop(&mut self) {
        self.place.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

impl User {
    pub(crate) async fn run(mut self, turns: usize) {
        for _ in 0..turns {
            match self.random.below(20) {
                0..8 => self.use_one().await,
                8..10 => self.be_in_a_hurry().await,
                10..14 => self.change_its_mind().await,
                14 => self.abandon().await,
                15..17 => self.spoil_one().await,
                17 => self.leave_one_to_others().await,
                _ => self.operate().await,
            }
        }
    }

    async fn operate(&mut self) {
        let pool = &self.place.pool;
        match self.random.below(12) {
            0 => pool.retire_all(),
            1 => pool.retire_all_over(Duration::from_millis(20)),
            2 => {
                let id = self.acquire().await.connection_id();
                pool.evict(id);
            }
            3 => self.pause().await,
            4 => drop(pool.warm_up(MOST, Duration::ZERO, Duration::from_millis(2)).await),
            _ => drop(pool.reconfigure(settings(&mut self.random)).unwrap()),
        }
    }

    /// Others may resume, or pause again, before this does.
    async fn pause(&self) {
        self.place.pool.pause();
        // Those who hold a connection may wait for another task to be rid of it.
        let _ = tokio::time::timeout(Duration::from_millis(2), self.place.pool.drained()).await;
        self.place.pool.resume();
    }

    async fn acquire(&self) -> OwnedLease<FakeDriver> {
        let outcome = self.place.pool.acquire_owned().await;
        self.place.acquired.fetch_add(1, Ordering::SeqCst);
        outcome.unwrap_or_else(|error| panic!("a wake-up or a connection was lost: {error}"))
    }

    async fn hold(&mut self, lease: &OwnedLease<FakeDriver>) {
        let in_hand = lease.take_in_hand();
        for _ in 0..self.random.below(4) {
            tokio::task::yield_now().await;
        }
        drop(in_hand);
    }

    async fn use_one(&mut self) {
        let lease = self.acquire().await;
        self.hold(&lease).await;
    }

    async fn be_in_a_hurry(&mut self) {
        let limit = Duration::from_micros(self.random.below(3000));
        match self.place.pool.acquire_owned_timeout(limit).await {
            Ok(lease) => {
                self.place.acquired.fetch_add(1, Ordering::SeqCst);
                self.hold(&lease).await;
            }
            Err(AcquireError::Timeout { .. }) => {
                self.place.timeouts.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => panic!("nobody has reason to say: {error}"),
        }
    }

    /// Polls an acquire a few times, whatever comes of it.
    async fn poll(&mut self, waiting: &mut Waiting) -> Option<Outcome> {
        let mut left = 1 + self.random.below(4);
        poll_fn(|context| match waiting.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                left -= 1;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await
    }

    fn wait(&self) -> Waiting {
        let pool = self.place.pool.clone();
        Box::pin(async move { pool.acquire_owned().await })
    }

    /// Leaves again, if it has to wait, or does something else first.
    async fn change_its_mind(&mut self) {
        let mut waiting = self.wait();
        match self.poll(&mut waiting).await {
            Some(outcome) => self.place.note(&outcome),
            None if self.random.below(4) == 0 => self.leave_it_aside(waiting).await,
            None => self.place.note_cancelled(),
        }
    }

    async fn abandon(&mut self) {
        let mut waiting = self.wait();
        if let Some(outcome) = self.poll(&mut waiting).await {
            return self.place.note(&outcome);
        }
        self.place.note_cancelled();
        self.place.abandoned.lock().unwrap().push(waiting);
    }

    /// Comes back to it later: what it is handed may be taken back meanwhile.
    async fn leave_it_aside(&mut self, waiting: Waiting) {
        tokio::time::sleep(Duration::from_millis(self.random.below(20))).await;
        let outcome = waiting.await;
        self.place.note(&outcome);
    }

    async fn spoil_one(&mut self) {
        let lease = self.acquire().await;
        match self.random.below(3) {
            0 => lease.make_dirty(),
            1 => lease.break_it(),
            _ => lease.discard(),
        }
    }

    async fn leave_one_to_others(&mut self) {
        let lease = self.acquire().await;
        self.place.leases.lock().unwrap().push(lease);
    }
}

impl Place {
    fn note(&self, outcome: &Outcome) {
        assert!(outcome.is_ok(), "a wake-up or a connection was lost: {outcome:?}");
        self.acquired.fetch_add(1, Ordering::SeqCst);
    }

    fn note_cancelled(&self) {
        self.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}
