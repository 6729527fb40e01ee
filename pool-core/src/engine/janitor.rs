//! The janitor: one background task per pool that hands out all other background work and never does any itself.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::maintain::{Closing, Tended};
use super::open::Purpose;
use super::openers::Openers;
use super::panics::{caught, report};
use super::rotate::Rotation;
use super::round::Rounds;
use super::{Engine, Job};
use crate::driver::Driver;
use crate::foreign::drop_quietly;
use crate::trace::keeping_subscriber;

/// Starts a janitor on the current runtime unless one runs, there is no runtime, or there is nothing left to do.
///
/// # Panics
///
/// In a runtime without a timer.
///
/// A janitor ends with its runtime. The next caller that has to wait starts another one, which takes over what the last one left.
pub(crate) fn ensure_janitor<D: Driver>(engine: &Arc<Engine<D>>) {
    if engine.janitor.is_taken() || engine.all_closed.is_cancelled() {
        return;
    }
    let Ok(runtime) = Handle::try_current() else { return };
    // Panics in a runtime without a timer: here and now, and not in the janitor, whose panic nobody would see.
    drop(sleep(Duration::ZERO));
    if !accepts_tasks(&runtime) {
        return;
    }
    if engine.janitor.occupy(runtime_key(runtime.id())) {
        engine.show_pulse();
        // Made before the spawn: a runtime that is shutting down drops the task unpolled, and the seat must become free then.
        let duty = Duty(Arc::clone(engine));
        runtime.spawn(keeping_subscriber(Janitor::new(duty).run()));
    }
}

/// Whether the runtime has not begun to end. A janitor that is dropped where it was spawned would call those who wait for one, who spawn the next one.
fn accepts_tasks(runtime: &Handle) -> bool {
    let probe = runtime.spawn(std::future::pending::<()>());
    let accepted = !probe.is_finished();
    probe.abort();
    accepted
}

impl<D: Driver> Engine<D> {
    /// Whether a janitor runs on this runtime.
    pub(super) fn janitor_is_on(&self, runtime: tokio::runtime::Id) -> bool {
        self.janitor.occupant() == runtime_key(runtime)
    }
}

/// A number for a runtime, not 0. That two have the same one does no harm: a caller then relies on the janitor for its time.
fn runtime_key(runtime: tokio::runtime::Id) -> u64 {
    BuildHasherDefault::<Key>::default().hash_one(runtime).max(1)
}

/// An id of a runtime is a number that only a hasher gets to see.
#[derive(Default)]
struct Key(u64);

impl Hasher for Key {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |key, byte| key.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }
}

/// The janitor's seat, left on drop.
struct Duty<D: Driver>(Arc<Engine<D>>);

impl<D: Driver> Drop for Duty<D> {
    fn drop(&mut self) {
        let Self(engine) = self;
        engine.janitor.leave_first();
        // Nobody keeps their time any more. Those who can still run join again, and one of them starts the next janitor.
        let _ = engine.core.expire(u64::MAX, |waker| engine.wake(waker), |claim| engine.serve(claim));
        engine.admit();
        engine.tell();
    }
}

/// A millisecond, in nanoseconds: the step of timers.
const SOON: u64 = 1_000_000;

/// How long it rests after a turn that panicked.
const BREAK: Duration = Duration::from_secs(1);

struct Janitor<D: Driver> {
    duty: Duty<D>,
    openers: Openers,
    rotation: Rotation,
    rounds: Rounds,
}

impl<D: Driver> Janitor<D> {
    fn new(duty: Duty<D>) -> Self {
        let (rotation, rounds) = (Rotation::default(), Rounds::new(duty.0.epoch.get()));
        Self { openers: Openers::new(&duty.0), duty, rotation, rounds }
    }

    async fn run(mut self) {
        let engine = Arc::clone(&self.duty.0);
        // Owned across the await: the seat, by `self.duty`. What the janitor has dispatched lives in tasks of its own.
        keep_on(|| self.take_turn(), &engine.bell).await;
    }

    /// Does what there is to be done. Returns when to come again, unless that was all.
    fn take_turn(&mut self) -> Option<Instant> {
        let engine = &self.duty.0;
        // Before it hears of attempts that have failed.
        self.openers.follow(engine);
        drain_jobs(engine, &mut self.openers, &mut self.rotation);
        find_surplus(engine);
        keep_time(engine);
        let fresh_start = self.openers.hear(engine);
        let round = self.rounds.make(engine);
        serve_the_rest(engine);
        self.rotation.go_on(engine, &mut self.openers, round || fresh_start);
        self.openers.start(engine);
        // A turn that panics is no sign of life.
        engine.show_pulse();
        if self.duty.0.note_end() { None } else { Some(self.next_wake_up()) }
    }

    fn next_wake_up(&self) -> Instant {
        let opener = self.openers.next_wake_up(&self.duty.0, Instant::now());
        let alarm = self.duty.0.clock.moment(self.duty.0.alarm.rings_at());
        let rotation = self.rotation.next_wake_up(&self.duty.0);
        [opener, rotation, Some(alarm)].into_iter().flatten().fold(self.rounds.next(), Instant::min)
    }
}

impl<D: Driver> Drop for Janitor<D> {
    fn drop(&mut self) {
        // Before the seat is free: the next one begins with nothing.
        self.rotation.give_up(&self.duty.0);
        self.duty.0.want_no_shares();
    }
}

/// Takes one turn after the other, whenever the bell rings or it is time to, until there is nothing left to be done. A turn that panics, which none should, is the
/// last one for a while: who waits would start another janitor at once, which may do no better.
///
/// Cancel safety: nothing is owned while it waits.
async fn keep_on(mut turn: impl FnMut() -> Option<Instant>, bell: &Notify) {
    loop {
        match caught(&mut turn) {
            Ok(Some(next)) => drop(timeout_at(next, bell.notified()).await),
            Ok(None) => return,
            Err(message) => {
                report(
                    || tracing::error!(panic = message, pause = ?BREAK, "the janitor of a pool panicked; it goes on"),
                );
                sleep(BREAK).await;
            }
        }
    }
}

/// Takes back the idle connections that are too many, as long as there may be any: a release may have left one while somebody who saw a surplus
/// leave took it for the last.
fn find_surplus<D: Driver>(engine: &Engine<D>) {
    if engine.core.gate().glance().is_oversize() {
        engine.offer_all_idle();
    }
}

/// Serves those for whom the connections that were checked have not been enough.
fn serve_the_rest<D: Driver>(engine: &Engine<D>) {
    if engine.unserved.is_up() {
        engine.unserved.lower();
        engine.core.serve(|claim| engine.serve(claim));
    }
}

/// Ends the waits whose time is over.
fn keep_time<D: Driver>(engine: &Engine<D>) {
    let now = engine.clock.now();
    if engine.alarm.rings_at() > now {
        return;
    }
    engine.alarm.silence();
    let earliest = engine.core.expire(now, |waker| engine.wake(waker), |claim| engine.serve(claim));
    engine.admit();
    // One that is due and was not ended: somebody is on the way to it at this moment.
    engine.alarm.advance(earliest.max(now + SOON));
}

fn drain_jobs<D: Driver>(engine: &Arc<Engine<D>>, openers: &mut Openers, rotation: &mut Rotation) {
    while let Some(job) = engine.jobs.pop() {
        match job {
            Job::Close(claim) => engine.tasks.spawn(Closing::new(engine, claim).close()),
            Job::Reset(claim) => engine.tasks.spawn(Tended::new(engine, claim).reset()),
            Job::Returned(claim) => engine.tasks.spawn(Tended::new(engine, claim).release()),
            Job::Check(claim) => engine.tasks.spawn(Tended::to_be_checked(engine, claim).ping()),
            Job::OpenerDone(purpose, failure) => {
                if purpose == Purpose::Rotation {
                    rotation.done(engine, failure.is_none());
                }
                match &failure {
                    None => openers.recovered(engine),
                    Some(failure) => openers.failed(engine, failure),
                }
                drop_quietly(failure);
                engine.tell();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_panics_is_followed_by_another_after_a_break() {
        let (started, bell, mut turns) = (Instant::now(), Notify::new(), Vec::new());
        let turn = || {
            turns.push(started.elapsed());
            bell.notify_one();
            match turns.len() {
                1 | 3 => panic!("on purpose"),
                2 => Some(Instant::now() + 60 * BREAK),
                _ => None,
            }
        };
        keep_on(turn, &bell).await;
        assert_eq!(turns, [0, 1, 1, 2].map(|breaks| breaks * BREAK), "however often somebody rings meanwhile");
    }
}
