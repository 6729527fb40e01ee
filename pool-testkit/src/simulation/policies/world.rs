//! Plays a scenario with policies.

use std::time::Duration;

use tokio::time::{Instant, advance, sleep, sleep_until};

use super::super::ensure;
use super::super::model::Checked;
use super::super::play::Played;
use super::super::scenario::{End, Scenario, Step};
use super::stage::Stage;
use super::{POLICIES, Policy};
use crate::fake::{Call, Entry, Event};
use crate::random::Random;

/// A pool with policies.
pub(in super::super) struct World {
    stage: Stage,
    policies: Vec<Box<dyn Policy>>,
    /// Where each is in the table.
    places: Vec<usize>,
    random: Random,
    /// What happened in the last step.
    journal: Vec<Entry>,
}

/// After every step, so that the background gets its turn.
const A_MOMENT: Duration = Duration::from_millis(1);
/// So often those look who were woken while time passes.
const A_WHILE: Duration = Duration::from_millis(50);
/// How often everybody looks once more before it is no rest.
const TURNS: usize = 30;
/// Within so many quarters of a second, and two more for each who waits, everybody is served, once everything is well and given back.
const SOON: usize = 8;
/// Long enough for everything to come to rest.
const A_LONG_TIME: u64 = 10_000;

impl Played for World {
    async fn begin(scenario: &Scenario) -> Result<Self, String> {
        let draw = |(place, seed): &(usize, u64)| POLICIES[*place](&mut Random::new(*seed));
        let mut policies: Vec<_> = scenario.policies.iter().map(draw).collect();
        let stage = Stage::new(scenario, &mut policies)?;
        let places = scenario.policies.iter().map(|(place, _)| *place).collect();
        let random = Random::new(scenario.seed ^ 1);
        let mut world = Self { stage, policies, places, random, journal: Vec::new() };
        for policy in &mut world.policies {
            policy.begin(&mut world.stage)?;
        }
        world.stage.set_limit();
        world.rest(0).await?;
        Ok(world)
    }

    async fn step(&mut self, step: &Step) -> Checked {
        self.journal.clear();
        self.stage.returned.clear();
        self.act(step)?;
        self.stage.set_limit();
        match step {
            Step::Sleep(time) => self.rest(*time).await,
            Step::Jump(time) => {
                advance(Duration::from_millis(*time)).await;
                self.stage.jumped_at = Some(self.stage.clock.now());
                self.rest(0).await
            }
            _ => self.rest(0).await,
        }
    }

    /// All is well from now on: whoever waits is served, or gives up, and nothing may be missing.
    async fn end(&mut self) -> Checked {
        self.journal.clear();
        self.calm();
        if self.random.once_in(3) {
            while !self.stage.waiters.is_empty() {
                self.stage.cancel(0);
            }
        }
        self.serve_all().await?;
        self.rest(A_LONG_TIME).await?;
        if !self.stage.closed {
            self.have_all().await?;
        }
        self.stage.close(&Step::Close);
        self.give_back_all();
        self.rest(0).await?;
        self.rest(1000).await?;
        let (live, size) = (self.stage.driver.ledger().live(), self.stage.pool.state().size);
        ensure!((live, size) == (0, 0), "{live} connections are left after the close, {size} by the pool");
        ensure!(self.stage.closes.is_empty(), "a close goes on");
        Ok(())
    }

    fn describe(&self, say: &mut dyn FnMut(&str)) {
        for entry in &self.journal {
            say(&format!("    {} ms: {:?}", self.stage.clock.at(entry.at), entry.event));
        }
        say(&format!("  {} ms: {}", self.stage.clock.now(), self.stage.pool.state()));
    }
}

impl World {
    fn act(&mut self, step: &Step) -> Checked {
        match step {
            Step::Policy(place, roll) => {
                let Some(at) = self.places.iter().position(|other| other == place) else { return Ok(()) };
                self.policies[at].act(&mut self.stage, &mut Random::new(*roll))
            }
            Step::Reconfigure(config) => {
                let mut config = (**config).clone();
                let mut random = self.random.split();
                for policy in &self.policies {
                    policy.settings(&mut config, &mut random);
                }
                self.stage.reconfigure(config)
            }
            step => self.stage.act(step),
        }
    }

    fn hear(&mut self) -> Checked {
        for entry in self.stage.driver.ledger().take_journal() {
            match entry.event {
                Event::Begun(Call::Connect, _) => self.stage.opening.connects += 1,
                Event::Ended(Call::Connect, ..) => self.stage.opening.connects -= 1,
                _ => {}
            }
            for policy in &mut self.policies {
                policy.hear(&mut self.stage, &entry)?;
            }
            self.journal.push(entry);
        }
        Ok(())
    }

    /// Everybody who was woken looks. `true` if anybody was.
    fn look(&mut self) -> Result<bool, String> {
        let mut any = self.stage.look()?;
        for policy in &mut self.policies {
            any |= policy.look(&mut self.stage)?;
        }
        self.hear()?;
        Ok(any)
    }

    /// Time passes, and whatever is to happen in the background happens. Then everything has to be as it should.
    async fn rest(&mut self, time: u64) -> Checked {
        let end = Instant::now() + Duration::from_millis(time).max(A_MOMENT);
        while Instant::now() < end {
            sleep_until(end.min(Instant::now() + A_WHILE)).await;
            self.hear()?;
            // Whoever is woken meanwhile does not wait for the end.
            if Instant::now() < end {
                self.look()?;
            }
        }
        for _ in 0..TURNS {
            if !self.look()? {
                return self.check(time);
            }
            sleep(A_MOMENT).await;
            self.hear()?;
        }
        // A hook may go on sending its callers to other connections.
        Ok(())
    }

    fn check(&mut self, time: u64) -> Checked {
        self.stage.partial = 0;
        for policy in &mut self.policies {
            policy.check(&mut self.stage, time)?;
        }
        self.stage.check(time)
    }

    fn calm(&mut self) {
        self.stage.driver.recover();
        self.stage.healthy_since = Some(self.stage.clock.now());
        self.stage.hold_up(false);
        self.stage.waiters.iter_mut().for_each(|waiter| waiter.slow = false);
        for policy in &mut self.policies {
            policy.calm(&mut self.stage);
        }
    }

    fn give_back_all(&mut self) {
        while !self.stage.held.is_empty() {
            self.stage.release(0, End::Clean);
        }
        while !self.stage.sharers.is_empty() {
            self.stage.part(0, End::Clean);
        }
    }

    fn waiting(&self) -> usize {
        self.stage.waiters.len() + self.policies.iter().map(|policy| policy.waiting(&self.stage)).sum::<usize>()
    }

    async fn serve_all(&mut self) -> Checked {
        for _ in 0..SOON + 2 * self.waiting() {
            self.stage.returned.clear();
            self.give_back_all();
            self.rest(250).await?;
            if self.waiting() == 0 && self.stage.in_use() == 0 {
                return Ok(());
            }
        }
        let state = self.stage.pool.state();
        Err(format!("somebody waits in vain, though all is well and everything is given back: {state:?}"))
    }

    /// As many connections as there may be can be had at once.
    async fn have_all(&mut self) -> Checked {
        let max_size = self.stage.pool.config().max_size;
        for _ in 0..max_size {
            self.stage.acquire(A_LONG_TIME, false)?;
        }
        while !self.stage.waiters.is_empty() {
            self.rest(1).await?;
        }
        let held = self.stage.held.len();
        ensure!(held == max_size, "only {held} of {max_size} connections can be had: {:?}", self.stage.pool.state());
        Ok(())
    }
}
