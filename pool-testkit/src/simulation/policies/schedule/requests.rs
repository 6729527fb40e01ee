//! Those who ask, and what they are told.

use std::task::Poll;
use std::time::Duration;

use pool_core::{AcquireError, Priority, Request, ScheduledLease, Shed};

use super::super::super::clock::millis;
use super::super::super::ensure;
use super::super::super::model::Checked;
use super::super::super::signal::Polled;
use super::super::stage::{Stage, Tenant};
use super::quotas::Standing;
use super::{Schedule, draw};
use crate::fake::FakeDriver;
use crate::random::Random;

type Outcome = Result<Vec<ScheduledLease<FakeDriver>>, AcquireError>;

/// A request that has not been answered.
pub(super) struct Asked {
    ask: Polled<Outcome>,
    pub(super) tenant: Tenant,
    pub(super) priority: Priority,
    pub(super) passes: usize,
    /// When it came: a number, and a moment.
    pub(super) joined: u64,
    pub(super) started: u64,
    pub(super) deadline: u64,
    slow: bool,
    /// Its turn may have been taken back, and then it is where it is by when it looked.
    pub(super) rejoined: bool,
    /// When it was let through.
    passed: Option<u64>,
    /// How many connections it has got so far, by the pool's count.
    got: u64,
}

impl Asked {
    pub(super) fn has_passed(&self) -> bool {
        self.passed.is_some()
    }

    pub(super) fn woken(&self) -> Option<u64> {
        self.ask.woken()
    }

    pub(super) fn is_woken(&self) -> bool {
        self.woken().is_some()
    }

    pub(super) fn hurry(&mut self) {
        self.slow = false;
    }
}

fn place(why: &Shed) -> usize {
    match why {
        Shed::Full { .. } => 0,
        Shed::KeyFull { .. } => 1,
        Shed::Standing => 2,
        Shed::Hopeless { .. } => 3,
        Shed::Keys { .. } => 4,
        _ => 5,
    }
}

/// One that was let through has what it wanted.
fn serve(stage: &mut Stage, asked: &Asked, leases: Vec<ScheduledLease<FakeDriver>>) -> Checked {
    let count = leases.len();
    ensure!(count == asked.passes, "{} connections were wanted, and {count} came", asked.passes);
    let Some(since) = asked.passed else { return Err("a request was served that was not let through".into()) };
    let mut leases = leases.into_iter();
    leases.try_for_each(|lease| stage.take(Box::new(lease), Some(asked.tenant), since))
}

impl Schedule {
    /// Somebody wants one, or several.
    pub(super) fn ask(&mut self, stage: &mut Stage, random: &mut Random) -> Checked {
        let (tenant, priority) = (draw::tenant(random), draw::priority(random));
        let passes = random.pick(&[1, 1, 1, 1, 1, 2, 2, 3]);
        let limit = random.pick(&[1, 20, 100, 500, 2000, 10_000]) + random.below(100);
        let slow = random.once_in(6);
        let mut request = Request::new().priority(priority).within(Duration::from_millis(limit));
        if let Some(number) = tenant {
            request = request.key(draw::key(number));
        }
        let scheduler = self.scheduler()?.clone();
        let ask = async move {
            if passes == 1 {
                return scheduler.acquire(request).await.map(|lease| vec![lease]);
            }
            scheduler.acquire_many(request, passes).await
        };
        let (joined, started) = (stage.sequence.next(), stage.clock.now());
        let ask = Polled::new(&stage.sequence, ask);
        self.counts.asked += 1;
        let deadline = started + limit;
        let asked = Asked {
            ask,
            tenant,
            priority,
            passes,
            joined,
            started,
            deadline,
            slow,
            rejoined: false,
            passed: None,
            got: 0,
        };
        let before = Standing::of(self.scheduler()?, &self.config, stage);
        self.poll(stage, asked, Some(&before))
    }

    /// One looks; if it has only just come, with how things stood before.
    fn poll(&mut self, stage: &mut Stage, mut asked: Asked, before: Option<&Standing>) -> Checked {
        let (passed, acquired) = (self.scheduler()?.stats().passed, stage.pool.stats().acquired);
        let woken = asked.woken().unwrap_or(u64::MAX);
        let outcome = asked.ask.poll();
        asked.got += stage.pool.stats().acquired - acquired;
        if self.scheduler()?.stats().passed > passed {
            ensure!(!asked.has_passed(), "a request was let through twice");
            asked.passed = Some(stage.clock.now());
            self.counts.passed += 1;
            self.nobody_is_overtaken(stage, &asked, woken)?;
        }
        match outcome {
            Poll::Pending => {
                asked.rejoined |= woken != u64::MAX && stage.pool.stats().uncollected > 0;
                self.requests.push(asked);
                Ok(())
            }
            Poll::Ready(Ok(leases)) => serve(stage, &asked, leases),
            Poll::Ready(Err(error)) => self.refuse(stage, &asked, &error, before),
        }
    }

    fn refuse(&mut self, stage: &mut Stage, asked: &Asked, error: &AcquireError, before: Option<&Standing>) -> Checked {
        if asked.has_passed() {
            self.fail(stage, asked);
            let known = matches!(
                error,
                AcquireError::Timeout { .. }
                    | AcquireError::Closed
                    | AcquireError::BreakerOpen { .. }
                    | AcquireError::OpenFailed { .. }
                    | AcquireError::Hook { .. }
            );
            ensure!(known, "a request that was let through was told: {error}");
            return Ok(());
        }
        match error {
            AcquireError::Timeout { .. } => {
                let now = stage.clock.now();
                ensure!(now >= asked.deadline, "a wait ended at {now}, its deadline is {}", asked.deadline);
                self.counts.timeouts += 1;
                Ok(())
            }
            AcquireError::Closed => {
                ensure!(stage.closed, "a request was told that the pool is closed");
                self.counts.closed += 1;
                Ok(())
            }
            AcquireError::Shed { why, .. } => {
                self.counts.shed[place(why)] += 1;
                self.is_rightly_shed(stage, asked, why, before)
            }
            other => Err(format!("a request in the line was told: {other}")),
        }
    }

    /// One that was let through got nothing, and what it had goes back.
    fn fail(&mut self, stage: &mut Stage, asked: &Asked) {
        stage.unseen += asked.got;
        self.unused.extend(vec![asked.tenant; asked.passes]);
    }

    fn is_rightly_shed(&self, stage: &Stage, asked: &Asked, why: &Shed, before: Option<&Standing>) -> Checked {
        let waited = stage.clock.now() - asked.started;
        let right = match why {
            Shed::Full { .. } => self.config.max_waiting.is_some(),
            Shed::KeyFull { waiting, .. } => {
                Standing::quota(&self.config, asked.tenant).max_waiting.is_some_and(|max| *waiting >= max)
            }
            // It may have been called when other settings were in force.
            Shed::Standing => waited >= 2 * millis(draw::LEAST_TARGET),
            Shed::Hopeless { expected, left } => self.config.foresee && expected > left,
            // One whose turn was taken back comes anew.
            Shed::Keys { max } => before.map_or(stage.pool.stats().uncollected > 0, |before| before.keys() >= *max),
            _ => true,
        };
        ensure!(right, "turned away after {waited} ms: {why}");
        // Not one of those who find no place among the keys.
        let counts = !matches!(why, Shed::Keys { .. } | Shed::Standing);
        let in_vain = before.is_some_and(|before| counts && self.could_pass(before, asked));
        ensure!(!in_vain, "turned away, though it could have been let through at once: {why}");
        Ok(())
    }

    /// Everybody who was woken looks, but for those who are slow. `true` if anybody was.
    pub(super) fn take_answers(&mut self, stage: &mut Stage) -> Result<bool, String> {
        let mut any = false;
        while let Some(place) = self.next_woken() {
            let asked = self.requests.remove(place);
            self.poll(stage, asked, None)?;
            any = true;
        }
        Ok(any)
    }

    fn next_woken(&self) -> Option<usize> {
        let quick = self.requests.iter().enumerate().filter(|(_, asked)| !asked.slow);
        let woken = quick.filter_map(|(place, asked)| Some((asked.woken()?, place)));
        woken.min().map(|(_, place)| place)
    }

    /// One that is slow looks.
    pub(super) fn look_at(&mut self, stage: &mut Stage, random: &mut Random) -> Checked {
        let slow: Vec<_> = (0..self.requests.len()).filter(|place| self.requests[*place].slow).collect();
        if slow.is_empty() {
            return Ok(());
        }
        let asked = self.requests.remove(random.pick(&slow));
        self.poll(stage, asked, None)
    }

    /// One is given up.
    pub(super) fn cancel(&mut self, stage: &mut Stage, random: &mut Random) {
        if self.requests.is_empty() {
            return;
        }
        let asked = self.requests.remove(random.size(self.requests.len() as u64));
        if asked.has_passed() {
            self.fail(stage, &asked);
        } else {
            self.counts.cancelled += 1;
            self.is_vague |= asked.is_woken();
        }
        drop(asked);
    }
}
