//! Those who prefer a connection, by tag, by key or by what it is; and what connections are known by.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use pool_core::{AcquireError, Fit, OwnedLease, Preference, Tag};

use super::super::ensure;
use super::super::model::Checked;
use super::super::signal::Polled;
use super::Policy;
use super::check::MARGIN;
use super::stage::Stage;
use crate::fake::{Call, Entry, Event, FakeConnection, FakeDriver};
use crate::random::Random;

type Outcome = Result<(OwnedLease<FakeDriver>, Fit), AcquireError>;

/// What somebody prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// This tenant, by a tag.
    Tenant(u64),
    /// What this key had last.
    Key(u64),
    /// Any with an even number.
    Even,
}

/// Somebody who waits.
struct Seeker {
    acquire: Polled<Outcome>,
    wish: Wish,
    came: u64,
    deadline: u64,
}

#[derive(Default)]
struct Tags {
    seekers: Vec<Seeker>,
    /// The tenant of each connection that has one, and the connection that each key had last.
    tenants: BTreeMap<u64, u64>,
    keys: BTreeMap<u64, u64>,
    hits: u64,
    misses: u64,
}

const NAME: &str = "tenant";

pub(super) fn draw(_: &mut Random) -> Box<dyn Policy> {
    Box::<Tags>::default()
}

fn tag(number: u64) -> Option<Tag> {
    Tag::new(NAME, number.to_string()).ok()
}

fn preference(wish: Wish) -> Option<Preference<FakeConnection>> {
    Some(match wish {
        Wish::Tenant(number) => Preference::tag(tag(number)?),
        Wish::Key(number) => Preference::sticky(tag(number)?),
        Wish::Even => Preference::matching(|_, connection: &FakeConnection| connection.id().is_multiple_of(2)),
    })
}

impl Tags {
    fn seek(&mut self, stage: &mut Stage, random: &mut Random) -> Checked {
        let number = random.below(3);
        let wish = random.pick(&[Wish::Tenant(number), Wish::Tenant(number), Wish::Key(number), Wish::Even]);
        let (limit, grace) = (random.below(3000) + 1, random.pick(&[0, 0, 10, 200]));
        let Some(preference) = preference(wish) else { return Ok(()) };
        let preference = preference.grace(Duration::from_millis(grace)).within(Duration::from_millis(limit));
        let pool = stage.pool.clone();
        let acquire = Polled::new(&stage.sequence, async move { pool.acquire_owned_preferring(&preference).await });
        let came = stage.clock.now();
        self.poll(stage, Seeker { acquire, wish, came, deadline: came + limit }, true)
    }

    fn poll(&mut self, stage: &mut Stage, mut seeker: Seeker, is_new: bool) -> Checked {
        match seeker.acquire.poll() {
            Poll::Pending => self.seekers.push(seeker),
            Poll::Ready(Ok((lease, fit))) => {
                let waits = stage.waiters.iter().any(|waiter| waiter.acquire.woken().is_none());
                ensure!(!is_new || !waits || stage.is_prepared, "one who prefers something overtook a waiter");
                self.serve(lease.id(), &lease, fit, &seeker)?;
                return stage.take(Box::new(lease), None, seeker.came);
            }
            Poll::Ready(Err(error)) => return self.refused(stage, &seeker, &error),
        }
        Ok(())
    }

    fn serve(&mut self, id: u64, lease: &OwnedLease<FakeDriver>, fit: Fit, seeker: &Seeker) -> Checked {
        let fits = match seeker.wish {
            Wish::Tenant(number) => self.tenants.get(&id) == Some(&number),
            Wish::Key(number) => self.keys.get(&number) == Some(&id),
            Wish::Even => id.is_multiple_of(2),
        };
        let told = matches!(fit, Fit::AtOnce | Fit::Waited);
        ensure!(fits == told, "connection {id} fits {:?}: {fits}, and the pool says {fit:?}", seeker.wish);
        if told {
            self.hits += 1;
        } else {
            self.misses += 1;
        }
        match seeker.wish {
            Wish::Tenant(number) => {
                ensure!(fit != Fit::Other, "connection {id} was not converted");
                self.tenants.insert(id, number);
            }
            Wish::Key(number) => {
                self.keys.insert(number, id);
            }
            Wish::Even => {}
        }
        self.is_known(id, &lease.tags())
    }

    fn is_known(&self, id: u64, tags: &[Tag]) -> Checked {
        let (told, known) = (tags.iter().map(|tag| tag.value().to_owned()).collect::<Vec<_>>(), self.tenants.get(&id));
        let known: Vec<_> = known.iter().map(ToString::to_string).collect();
        ensure!(told == known, "connection {id} has the tags {told:?}, and should have {known:?}");
        Ok(())
    }

    fn refused(&mut self, stage: &mut Stage, seeker: &Seeker, error: &AcquireError) -> Checked {
        match error {
            AcquireError::Timeout { .. } => {
                let now = stage.clock.now();
                ensure!(now >= seeker.deadline, "a wait ended at {now}, its deadline is {}", seeker.deadline);
            }
            AcquireError::Closed => ensure!(stage.closed, "one who prefers something was told that the pool is closed"),
            AcquireError::Convert { .. } => {
                ensure!(matches!(seeker.wish, Wish::Tenant(_)), "nobody wanted a conversion: {error}");
                self.misses += 1;
                // It had a connection for as long as that took.
                stage.unseen += 1;
            }
            AcquireError::BreakerOpen { .. } | AcquireError::OpenFailed { .. } | AcquireError::Hook { .. } => {}
            other => return Err(format!("one who prefers something was told: {other}")),
        }
        Ok(())
    }

    /// Somebody notes a tag on what he has, or takes it off.
    fn write(&mut self, stage: &Stage, random: &mut Random) {
        let Some(place) = random.size(16).checked_rem(stage.held.len()) else { return };
        let held = &stage.held[place];
        let (number, id) = (random.below(3), held.id);
        match tag(number) {
            Some(tag) if random.once_in(2) => {
                held.lease.tag(tag);
                self.tenants.insert(id, number);
            }
            _ => {
                held.lease.untag(NAME);
                self.tenants.remove(&id);
            }
        }
    }
}

impl Policy for Tags {
    fn begin(&mut self, stage: &mut Stage) -> Checked {
        // Its own are not in the books: who is dropped in the hands of a hook or a driver is counted in several ways.
        stage.is_scheduled = true;
        Ok(())
    }

    fn act(&mut self, stage: &mut Stage, random: &mut Random) -> Checked {
        match random.below(8) {
            0 => self.write(stage, random),
            1 => {
                if let Some(place) = random.size(16).checked_rem(self.seekers.len()) {
                    drop(self.seekers.remove(place));
                    stage.unseen += 1;
                }
            }
            _ => return self.seek(stage, random),
        }
        Ok(())
    }

    fn hear(&mut self, stage: &mut Stage, entry: &Entry) -> Checked {
        match entry.event {
            Event::Begun(Call::Close, id) => {
                self.tenants.remove(&id);
                self.keys.retain(|_, last| *last != id);
            }
            // Whatever comes of it, it is not that any more; unless somebody has it by now.
            Event::Begun(Call::Convert, id) if stage.held.iter().all(|held| held.id != id) => {
                self.tenants.remove(&id);
            }
            _ => {}
        }
        Ok(())
    }

    fn look(&mut self, stage: &mut Stage) -> Result<bool, String> {
        let mut any = false;
        while let Some(place) = self.seekers.iter().position(|seeker| seeker.acquire.woken().is_some()) {
            let seeker = self.seekers.remove(place);
            self.poll(stage, seeker, false)?;
            any = true;
        }
        Ok(any)
    }

    fn check(&mut self, stage: &mut Stage, _: u64) -> Checked {
        // In the hands of a hook, or of the driver.
        stage.partial += self.seekers.len();
        let (now, steady) = (stage.clock.now(), stage.is_steady());
        let late = self.seekers.iter().find(|seeker| steady && seeker.deadline + MARGIN < now);
        ensure!(
            late.is_none(),
            "somebody waits at {now} who prefers something, until {:?}",
            late.map(|it| it.deadline)
        );
        stage.held.iter().try_for_each(|held| self.is_known(held.id, &held.lease.tags()))?;
        let stats = stage.pool.stats();
        ensure!(stats.preferred >= self.hits, "{} had what they preferred: {stats:#?}", self.hits);
        ensure!(stats.missed >= self.misses, "{} had not what they preferred: {stats:#?}", self.misses);
        Ok(())
    }

    fn waiting(&self, _: &Stage) -> usize {
        self.seekers.len()
    }
}
