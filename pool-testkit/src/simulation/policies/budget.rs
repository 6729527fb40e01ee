//! A budget that the pool shares with another one.

use std::task::Poll;
use std::time::Duration;

use pool_core::{AcquireError, Budget, OwnedLease, Pool, PoolBuilder};

use super::super::ensure;
use super::super::model::Checked;
use super::super::signal::Polled;
use super::Policy;
use super::stage::Stage;
use crate::fake::{FakeDriver, Ledger, quiet};
use crate::random::Random;

type Outcome = Result<OwnedLease<FakeDriver>, AcquireError>;

/// The other pool, with a backend that never fails, and its users.
struct Neighbour {
    driver: FakeDriver,
    pool: Pool<FakeDriver>,
    held: Vec<OwnedLease<FakeDriver>>,
    waiting: Vec<Polled<Outcome>>,
}

struct Shared {
    budget: Budget,
    guaranteed: [usize; 2],
    neighbour: Option<Neighbour>,
    /// The most that may be held: the cap, or what was held already when it was lowered.
    most: usize,
}

pub(super) fn draw(random: &mut Random) -> Box<dyn Policy> {
    let guaranteed = [random.size(3), random.size(3)];
    let cap = guaranteed.iter().sum::<usize>().max(1) + random.size(6);
    Box::new(Shared { budget: budget(cap), guaranteed, neighbour: None, most: cap })
}

/// Whether somebody waits for what is guaranteed to a pool.
fn lacks(pool: &Pool<FakeDriver>) -> bool {
    let (seen, share) = (pool.state(), pool.budget_share().unwrap_or_default());
    seen.waiting > 0 && seen.opening == 0 && share.held < share.guaranteed.min(seen.max_size)
}

/// Whether a pool has one idle beyond what is guaranteed to it, and none is on its way out.
fn spares(pool: &Pool<FakeDriver>) -> bool {
    let seen = pool.state();
    seen.idle > 0 && seen.in_maintenance == 0 && pool.budget_share().is_some_and(|share| share.held > share.guaranteed)
}

fn budget(cap: usize) -> Budget {
    match Budget::new(cap) {
        Ok(budget) => budget,
        Err(error) => unreachable!("{cap} is a cap: {error}"),
    }
}

impl Neighbour {
    fn acquire(&mut self, stage: &Stage, limit: u64) -> Checked {
        let pool = self.pool.clone();
        let acquire = async move { pool.acquire_owned_timeout(Duration::from_millis(limit)).await };
        self.poll(Polled::new(&stage.sequence, acquire))
    }

    fn poll(&mut self, mut acquire: Polled<Outcome>) -> Checked {
        match acquire.poll() {
            Poll::Pending => self.waiting.push(acquire),
            Poll::Ready(Ok(lease)) => self.held.push(lease),
            Poll::Ready(Err(AcquireError::Timeout { .. })) => {}
            Poll::Ready(Err(error)) => return Err(format!("a user of the other pool was told: {error}")),
        }
        Ok(())
    }
}

impl Shared {
    /// Nobody waits for what is guaranteed to one pool beside what the other one has idle, and beyond its own guarantee.
    fn what_is_guaranteed_is_lent(&self, stage: &Stage, time: u64) -> Checked {
        let Some(neighbour) = self.neighbour.as_ref().filter(|_| !stage.paused && !stage.closed) else { return Ok(()) };
        let (ours, theirs) = (&stage.pool, &neighbour.pool);
        // Ours wants nothing while it waits until it may try again to open one.
        let is_kept = lacks(theirs) && spares(ours) || stage.is_well(time) && lacks(ours) && spares(theirs);
        ensure!(!is_kept, "what is guaranteed is not given: {} and {}", ours.state(), theirs.state());
        Ok(())
    }

    fn resize(&mut self, cap: usize) -> Checked {
        self.budget.resize(cap).map_err(|error| error.to_string())?;
        self.most = cap.max(self.budget.stats().held);
        Ok(())
    }
}

impl Policy for Shared {
    fn build(&mut self, builder: PoolBuilder<FakeDriver>, _: &Ledger) -> PoolBuilder<FakeDriver> {
        builder.budget(&self.budget).guaranteed(self.guaranteed[0])
    }

    fn begin(&mut self, stage: &mut Stage) -> Checked {
        // What it owes lowers its maximum.
        stage.is_adapted = true;
        let driver = FakeDriver::new();
        let builder = Pool::builder(driver.clone()).config(quiet(8)).seed(7).budget(&self.budget);
        let pool = builder.guaranteed(self.guaranteed[1]).build().map_err(|error| error.to_string())?;
        self.neighbour = Some(Neighbour { driver, pool, held: Vec::new(), waiting: Vec::new() });
        Ok(())
    }

    fn act(&mut self, stage: &mut Stage, random: &mut Random) -> Checked {
        let least = self.guaranteed.iter().sum::<usize>().max(1);
        let Some(neighbour) = &mut self.neighbour else { return Ok(()) };
        match random.below(8) {
            0 => self.resize(least + random.size(8))?,
            1..4 => {
                if let Some(place) = random.size(16).checked_rem(neighbour.held.len()) {
                    drop(neighbour.held.remove(place));
                }
            }
            4 => drop(neighbour.waiting.pop()),
            _ => return neighbour.acquire(stage, random.below(2000) + 1),
        }
        Ok(())
    }

    fn look(&mut self, _: &mut Stage) -> Result<bool, String> {
        let Some(neighbour) = &mut self.neighbour else { return Ok(false) };
        let mut any = false;
        while let Some(place) = neighbour.waiting.iter().position(|acquire| acquire.woken().is_some()) {
            let acquire = neighbour.waiting.remove(place);
            neighbour.poll(acquire)?;
            any = true;
        }
        Ok(any)
    }

    fn check(&mut self, stage: &mut Stage, time: u64) -> Checked {
        self.what_is_guaranteed_is_lent(stage, time)?;
        let stats = self.budget.stats();
        ensure!(stats.held <= self.most, "{stats}, and {} may be", self.most);
        self.most = stats.cap.max(stats.held);
        let theirs = self.neighbour.as_ref().map_or(0, |neighbour| neighbour.pool.state().size);
        let (live, ours) = (stage.driver.ledger().live(), stage.pool.state().size);
        ensure!(ours + theirs <= stats.held, "{ours} and {theirs} connections: {stats}");
        ensure!(live + stage.opening.connects <= stats.held, "{live} connections: {stats}");
        if let Some(neighbour) = &self.neighbour {
            let violations = neighbour.driver.ledger().violations();
            ensure!(violations.is_empty(), "the other backend saw: {}", violations.join("; "));
        }
        Ok(())
    }

    /// The other pool needs nothing from now on, and there is enough for this one.
    fn calm(&mut self, stage: &mut Stage) {
        if let Some(neighbour) = &mut self.neighbour {
            neighbour.held.clear();
            neighbour.waiting.clear();
        }
        let enough = stage.pool.config().max_size.max(stage.most) + stage.config.rotation_headroom + 8;
        let _ = self.resize(enough);
    }

    fn waiting(&self, _: &Stage) -> usize {
        self.neighbour.as_ref().map_or(0, |neighbour| neighbour.waiting.len())
    }
}
