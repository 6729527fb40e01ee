//! A scheduler in front of the pool: keys, priorities, deadlines, shedding, batches.

mod draw;
mod order;
mod quotas;
mod requests;

use pool_core::{ScheduleConfig, Scheduler};

use super::super::ensure;
use super::super::model::Checked;
use super::Policy;
use super::check::MARGIN;
use super::stage::{Stage, Tenant};
use crate::fake::FakeDriver;
use crate::random::Random;
use quotas::Standing;
use requests::Asked;

/// One who waits for more than there can be counts as so many.
const TOO_MANY: usize = 25;

/// Requests that were told something, by the harness's own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    asked: u64,
    passed: u64,
    timeouts: u64,
    cancelled: u64,
    /// Full, of the key full, standing, hopeless, keys, impossible.
    shed: [u64; 6],
    closed: u64,
}

struct Schedule {
    config: ScheduleConfig,
    scheduler: Option<Scheduler<FakeDriver>>,
    requests: Vec<Asked>,
    counts: Counts,
    /// How things stood when nothing was left to be done.
    before: Standing,
    /// Permits that have come back in this step without a lease.
    unused: Vec<Tenant>,
    /// Whether one has been given up in this step that may have been called.
    is_vague: bool,
}

pub(super) fn draw(random: &mut Random) -> Box<dyn Policy> {
    Box::new(Schedule {
        config: draw::config(random),
        scheduler: None,
        requests: Vec::new(),
        counts: Counts::default(),
        before: Standing::default(),
        unused: Vec::new(),
        is_vague: false,
    })
}

impl Schedule {
    fn scheduler(&self) -> Result<&Scheduler<FakeDriver>, String> {
        self.scheduler.as_ref().ok_or_else(|| "there is no scheduler".to_owned())
    }

    fn reconfigure(&mut self, config: ScheduleConfig) -> Checked {
        self.scheduler()?.reconfigure(config.clone()).map_err(|error| error.to_string())?;
        self.config = config;
        Ok(())
    }

    fn counts_agree(&self) -> Checked {
        let stats = self.scheduler()?.stats();
        let shed = stats.shed;
        let counted = Counts {
            asked: self.counts.asked,
            passed: stats.passed,
            timeouts: stats.timeouts,
            cancelled: stats.cancelled,
            shed: [shed.full, shed.key_full, shed.standing, shed.hopeless, shed.keys, shed.impossible],
            closed: self.counts.closed,
        };
        ensure!(counted == self.counts, "the scheduler counted {counted:?}, its users {:?}", self.counts);
        let in_line = self.requests.iter().filter(|asked| !asked.has_passed()).count();
        let ended = counted.passed + counted.timeouts + counted.cancelled + counted.closed;
        let all = ended + counted.shed.iter().sum::<u64>() + in_line as u64;
        ensure!(all == counted.asked, "{in_line} wait, and the requests do not add up: {counted:?}");
        Ok(())
    }

    fn nobody_waits_for_ever(&self, stage: &Stage) -> Checked {
        let now = stage.clock.now();
        let waiting = || self.requests.iter().filter(|asked| !asked.is_woken());
        let late =
            waiting().find(|asked| asked.deadline + MARGIN < now && stage.is_steady()).map(|asked| asked.deadline);
        ensure!(late.is_none(), "a request waits at {now} whose deadline is {late:?}");
        let refused = stage.closed && waiting().any(|asked| !asked.has_passed());
        ensure!(!refused, "a request waits for a pool that is closed");
        Ok(())
    }
}

impl Policy for Schedule {
    fn begin(&mut self, stage: &mut Stage) -> Checked {
        self.scheduler = Some(stage.pool.schedule(self.config.clone()).map_err(|error| error.to_string())?);
        stage.is_scheduled = true;
        Ok(())
    }

    fn act(&mut self, stage: &mut Stage, random: &mut Random) -> Checked {
        (self.is_vague, self.unused) = (false, Vec::new());
        match random.below(16) {
            0 => self.reconfigure(draw::config(random)),
            1 => self.look_at(stage, random),
            2 => {
                self.cancel(stage, random);
                Ok(())
            }
            _ => self.ask(stage, random),
        }
    }

    fn look(&mut self, stage: &mut Stage) -> Result<bool, String> {
        self.take_answers(stage)
    }

    fn check(&mut self, stage: &mut Stage, _: u64) -> Checked {
        stage.partial +=
            self.requests.iter().filter(|asked| asked.has_passed()).map(|asked| asked.passes).sum::<usize>();
        self.counts_agree()?;
        self.nobody_waits_for_ever(stage)?;
        let standing = Standing::of(self.scheduler()?, &self.config, stage);
        self.books_agree(stage, &standing)?;
        self.quotas_are_kept(stage, &standing)?;
        self.nobody_is_forgotten(stage, &standing)?;
        self.before = standing;
        (self.is_vague, self.unused) = (false, Vec::new());
        Ok(())
    }

    fn calm(&mut self, _: &mut Stage) {
        self.requests.iter_mut().for_each(Asked::hurry);
    }

    fn waiting(&self, stage: &Stage) -> usize {
        let max = stage.pool.config().max_size;
        // One that was let through before the pool shrank waits until its deadline.
        let is_let_through = |asked: &Asked| asked.has_passed() || asked.is_woken();
        let turns = |asked: &Asked| if is_let_through(asked) && asked.passes > max { TOO_MANY } else { 1 };
        self.requests.iter().map(turns).sum()
    }
}
