//! One cap for several pools, whatever happens to them and to the backend.

use std::time::Duration;

use pool_core::{Budget, Config, Pool};
use pool_testkit::fake::{FakeDriver, Odds, quiet};
use pool_testkit::random::Random;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::budget::prove_nothing_lost;
use crate::common::SECOND;

/// Everything that may happen to pools of a budget, drawn from a seed.
struct Chaos {
    random: Random,
    budget: Budget,
    driver: FakeDriver,
    pools: Vec<Pool<FakeDriver>>,
    callers: JoinSet<()>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let odds = Odds { fail: 80, delay: 300, hang: 20, panic: 0 };
        let (budget, driver) = (Budget::new(8).unwrap(), FakeDriver::seeded(seed, odds));
        let mut chaos = Self { random: Random::new(seed), budget, driver, pools: Vec::new(), callers: JoinSet::new() };
        (0..3).for_each(|_| chaos.join());
        chaos
    }

    fn up_to(&mut self, most: usize) -> usize {
        usize::try_from(self.random.below(most as u64 + 1)).unwrap()
    }

    fn config(&mut self) -> Config {
        let mut config = quiet(1 + self.up_to(8));
        config.min_size = self.up_to(2).min(config.max_size);
        config.min_idle = self.up_to(1);
        config.max_openers = 1 + self.up_to(3);
        config.rotation_headroom = self.up_to(2);
        config.max_lifetime = (self.up_to(1) == 0).then_some(SECOND);
        config.idle_timeout = (self.up_to(1) == 0).then_some(SECOND);
        config.connect_timeout = SECOND / 2;
        (config.reset_timeout, config.close_timeout) = (SECOND / 4, SECOND / 4);
        config
    }

    /// Another pool, if as many can be guaranteed.
    fn join(&mut self) {
        let config = self.config();
        let builder =
            Pool::builder(self.driver.clone()).config(config).seed(self.random.below(1_000)).budget(&self.budget);
        let builder = if self.up_to(1) == 0 { builder.guaranteed(self.up_to(3)) } else { builder };
        self.pools.extend(builder.build());
    }

    fn call(&mut self) {
        let place = self.up_to(self.pools.len());
        let Some(pool) = self.pools.get(place).cloned() else { return };
        let (limit, time) = (self.random.below(2_000), self.random.below(200));
        self.callers.spawn(async move {
            if let Ok(lease) = pool.acquire_timeout(Duration::from_millis(limit)).await {
                sleep(Duration::from_millis(time)).await;
                match time % 10 {
                    0 => lease.discard(),
                    1 => drop(lease.detach()),
                    2 => lease.make_dirty(),
                    _ => {}
                }
            }
        });
    }

    async fn step(&mut self) {
        match self.random.below(40) {
            0..6 => self.disturb().await,
            6 | 7 => self.pools.iter().for_each(Pool::resume),
            8..20 => sleep(Duration::from_millis(self.random.below(300))).await,
            _ => self.call(),
        }
        self.check();
    }

    async fn disturb(&mut self) {
        let place = self.up_to(self.pools.len() - 1);
        match self.up_to(5) {
            0 if self.pools.len() > 1 => self.end(place).await,
            1 if self.pools.len() < 5 => self.join(),
            2 => {
                let cap = 1 + self.up_to(11);
                drop(self.budget.resize(cap));
            }
            3 => {
                let config = self.config();
                drop(self.pools[place].reconfigure(config));
            }
            4 => self.pools[place].retire_all(),
            _ => self.pools[place].pause(),
        }
    }

    async fn end(&mut self, place: usize) {
        let pool = self.pools.swap_remove(place);
        match self.up_to(2) {
            0 => drop(pool),
            1 => drop(timeout(SECOND, pool.close()).await),
            _ => drop(pool.close_within(SECOND).await),
        }
    }

    fn check(&self) {
        let sum = self.budget.stats();
        let all: usize = sum.pools.iter().map(|pool| pool.held).sum();
        assert_eq!(sum.held, all);
        // Nobody takes one as long as there are more, so whatever is opened from now on is within this.
        self.driver.limit(sum.cap.max(sum.held));
        self.driver.ledger().check();
        for pool in &self.pools {
            let (state, share) = (pool.state(), pool.budget_share().unwrap());
            assert_eq!(share.held, state.size, "what is held is what is there: {share:?} {state:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_cap_is_kept_whatever_happens() {
    for seed in 0..40 {
        let mut chaos = Chaos::new(seed);
        for _ in 0..400 {
            chaos.step().await;
        }
        chaos.driver.recover();
        while chaos.callers.join_next().await.is_some() {}
        chaos.pools.iter().for_each(Pool::resume);
        prove_nothing_lost(&chaos.budget, &chaos.driver, &chaos.pools).await;
    }
}
