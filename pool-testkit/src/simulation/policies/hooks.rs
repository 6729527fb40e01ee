//! Hooks that fail, hang, panic, and say anything; and what their connections have seen when somebody gets them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pool_core::{ConnectionFacts, HandOut, HookError, HookPoint, Hooks, PoolBuilder};

use super::super::ensure;
use super::super::model::Checked;
use super::Policy;
use super::stage::Stage;
use crate::fake::{Answer, Call, Entry, Event, FakeConnection, FakeDriver, Ledger};
use crate::random::Random;

const POINTS: [HookPoint; 5] = [
    HookPoint::BeforeOpen,
    HookPoint::AfterOpen,
    HookPoint::BeforeHandOut,
    HookPoint::OnRelease,
    HookPoint::BeforeClose,
];

/// What a hook does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Pass,
    Delay(u64),
    Fail,
    /// As `Fail`, but before a hand-out the connection stays.
    Refuse,
    /// As `Fail`, but before a hand-out the caller gets another one.
    Another,
    Hang,
    Panic,
}

fn deed(random: &mut Random) -> Deed {
    let time = random.below(60) + 1;
    let deeds =
        [Deed::Delay(time), Deed::Delay(time), Deed::Fail, Deed::Refuse, Deed::Another, Deed::Hang, Deed::Panic];
    random.pick(&deeds)
}

/// What they do next.
#[derive(Debug, Default)]
struct Plan {
    next: HashMap<HookPoint, VecDeque<Deed>>,
    /// One in so many goes wrong.
    storm: Option<(u64, Random)>,
}

impl Plan {
    fn deed(&mut self, point: HookPoint) -> Deed {
        let next = self.next.get_mut(&point).and_then(VecDeque::pop_front);
        let drawn = |(times, random): &mut (u64, Random)| random.once_in(*times).then(|| deed(random));
        next.or_else(|| self.storm.as_mut().and_then(drawn)).unwrap_or(Deed::Pass)
    }
}

type Shared = Arc<Mutex<Plan>>;

fn lock(plan: &Shared) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hooks of the pool.
struct Told {
    points: Vec<HookPoint>,
    timeout: Duration,
    plan: Shared,
    ledger: Ledger,
    calls: AtomicU64,
}

/// A call that is under way.
struct Record<'a> {
    ledger: &'a Ledger,
    point: HookPoint,
    id: u64,
    answer: Option<Answer>,
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let unsaid = if std::thread::panicking() { Answer::Panicked } else { Answer::Dropped };
        self.ledger.note(Event::HookEnded(self.point, self.id, self.answer.unwrap_or(unsaid)));
    }
}

impl Told {
    async fn call(&self, point: HookPoint, connection: Option<&FakeConnection>) -> Deed {
        let _in_hand = connection.map(FakeConnection::take_in_hand);
        let id = connection.map_or_else(|| self.calls.fetch_add(1, Ordering::SeqCst), FakeConnection::id);
        self.ledger.note(Event::HookBegun(point, id));
        let mut record = Record { ledger: &self.ledger, point, id, answer: None };
        let deed = lock(&self.plan).deed(point);
        match deed {
            Deed::Delay(time) => tokio::time::sleep(Duration::from_millis(time)).await,
            Deed::Hang => pending().await,
            Deed::Panic => panic!("a hook was told to panic"),
            _ => {}
        }
        record.answer = Some(match deed {
            Deed::Pass | Deed::Delay(_) => Answer::Passed,
            Deed::Refuse if point == HookPoint::BeforeHandOut => Answer::Refused,
            _ => Answer::Failed,
        });
        deed
    }

    async fn outcome(&self, point: HookPoint, connection: Option<&FakeConnection>) -> Result<(), HookError> {
        match self.call(point, connection).await {
            Deed::Pass | Deed::Delay(_) => Ok(()),
            _ => Err("a hook was told to fail".into()),
        }
    }
}

impl Hooks<FakeConnection> for Told {
    fn points(&self) -> &[HookPoint] {
        &self.points
    }

    fn timeout(&self, _: HookPoint) -> Duration {
        self.timeout
    }

    async fn before_open(&self) -> Result<(), HookError> {
        self.outcome(HookPoint::BeforeOpen, None).await
    }

    async fn after_open(&self, connection: &mut FakeConnection, _: &ConnectionFacts) -> Result<(), HookError> {
        self.outcome(HookPoint::AfterOpen, Some(connection)).await
    }

    async fn before_hand_out(&self, connection: &mut FakeConnection, _: &ConnectionFacts) -> HandOut {
        match self.call(HookPoint::BeforeHandOut, Some(connection)).await {
            Deed::Fail => HandOut::CloseAndRefuse("a hook was told to refuse".into()),
            Deed::Refuse => HandOut::Refuse("a hook was told to refuse".into()),
            Deed::Another => HandOut::CloseAndTryAnother,
            _ => HandOut::Use,
        }
    }

    async fn on_release(&self, connection: &mut FakeConnection, _: &ConnectionFacts) -> Result<(), HookError> {
        self.outcome(HookPoint::OnRelease, Some(connection)).await
    }

    async fn before_close(&self, connection: &mut FakeConnection, _: &ConnectionFacts) {
        self.call(HookPoint::BeforeClose, Some(connection)).await;
    }
}

/// What one connection has seen.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is so or not, whatever the others are
struct Seen {
    set_up: bool,
    /// It may go to somebody now.
    prepared: bool,
    /// Somebody had it, and no hook has seen it since.
    used: bool,
    /// Where its hook failed: nobody gets it any more.
    spoilt: Option<HookPoint>,
    left: bool,
}

struct Hooked {
    points: Vec<HookPoint>,
    timeout: Duration,
    plan: Shared,
    connections: BTreeMap<u64, Seen>,
}

pub(super) fn draw(random: &mut Random) -> Box<dyn Policy> {
    let points = POINTS.into_iter().filter(|_| random.below(3) > 0).collect();
    let timeout = Duration::from_millis(random.pick(&[20, 50, 200]));
    Box::new(Hooked { points, timeout, plan: Shared::default(), connections: BTreeMap::new() })
}

impl Hooked {
    fn has(&self, point: HookPoint) -> bool {
        self.points.contains(&point)
    }

    fn seen(&mut self, id: u64) -> &mut Seen {
        self.connections.entry(id).or_default()
    }

    fn begun(&mut self, point: HookPoint, id: u64) -> Checked {
        ensure!(self.has(point), "the hook {point} was called, which was not asked for");
        let (sets_up, follows) = (self.has(HookPoint::AfterOpen), self.has(HookPoint::OnRelease));
        let seen = self.seen(id);
        let well = seen.spoilt.is_none() && !seen.left;
        match point {
            HookPoint::BeforeClose => {
                ensure!(!seen.left, "connection {id} saw the hook {point} twice");
                seen.left = true;
            }
            HookPoint::BeforeHandOut => {
                ensure!(well && (seen.set_up || !sets_up), "connection {id} is to be handed out: {seen:?}");
                ensure!(!(follows && seen.used), "connection {id} is to be handed out: {seen:?}");
            }
            HookPoint::OnRelease => ensure!(well, "connection {id} saw the hook {point}: {seen:?}"),
            _ => {}
        }
        Ok(())
    }

    fn ended(&mut self, point: HookPoint, id: u64, answer: Answer) {
        let seen = self.seen(id);
        match (point, answer) {
            (HookPoint::BeforeClose, _) => {}
            (HookPoint::AfterOpen, Answer::Passed) => seen.set_up = true,
            (HookPoint::BeforeHandOut, Answer::Passed) => (seen.prepared, seen.used) = (true, true),
            (HookPoint::BeforeHandOut, Answer::Refused) => seen.used = true,
            (HookPoint::OnRelease, Answer::Passed) => seen.used = false,
            _ => seen.spoilt = Some(point),
        }
    }

    fn lent(&mut self, id: u64) -> Checked {
        let [sets_up, prepares, follows] =
            [HookPoint::AfterOpen, HookPoint::BeforeHandOut, HookPoint::OnRelease].map(|point| self.has(point));
        let seen = self.seen(id);
        let well = seen.spoilt.is_none() && !seen.left;
        let ready = if prepares { seen.prepared } else { !(follows && seen.used) };
        ensure!(well && ready && (seen.set_up || !sets_up), "connection {id} was handed out: {seen:?}");
        (seen.prepared, seen.used) = (false, true);
        Ok(())
    }

    fn closes(&mut self, id: u64) -> Checked {
        let says_goodbye = self.has(HookPoint::BeforeClose);
        let seen = self.seen(id);
        // One that was never in the pool leaves without.
        let leaves = seen.left || seen.spoilt == Some(HookPoint::AfterOpen);
        ensure!(!says_goodbye || leaves, "connection {id} is closed without its hook: {seen:?}");
        Ok(())
    }
}

impl Policy for Hooked {
    fn build(&mut self, builder: PoolBuilder<FakeDriver>, ledger: &Ledger) -> PoolBuilder<FakeDriver> {
        let (points, timeout, plan) = (self.points.clone(), self.timeout, Arc::clone(&self.plan));
        builder.hooks(Told { points, timeout, plan, ledger: ledger.clone(), calls: AtomicU64::new(0) })
    }

    fn begin(&mut self, stage: &mut Stage) -> Checked {
        stage.is_prepared = self.has(HookPoint::BeforeHandOut);
        Ok(())
    }

    fn act(&mut self, stage: &mut Stage, random: &mut Random) -> Checked {
        let point = random.pick(&POINTS);
        let mut plan = lock(&self.plan);
        match random.below(8) {
            0 => plan.storm = Some((random.below(8) + 2, random.split())),
            1 => *plan = Plan::default(),
            _ => plan.next.entry(point).or_default().push_back(deed(random)),
        }
        // What was told may be done much later.
        stage.healthy_since = None;
        Ok(())
    }

    fn hear(&mut self, stage: &mut Stage, entry: &Entry) -> Checked {
        match entry.event {
            Event::HookBegun(HookPoint::BeforeOpen, _) => stage.opening.hooks += 1,
            Event::HookEnded(HookPoint::BeforeOpen, ..) => stage.opening.hooks -= 1,
            Event::HookBegun(point, id) => return self.begun(point, id),
            Event::HookEnded(point, id, answer) => self.ended(point, id, answer),
            Event::Lent(id) => return self.lent(id),
            Event::Begun(Call::Close, id) => return self.closes(id),
            _ => {}
        }
        Ok(())
    }

    fn check(&mut self, _: &mut Stage, _: u64) -> Checked {
        Ok(())
    }

    fn calm(&mut self, _: &mut Stage) {
        *lock(&self.plan) = Plan::default();
    }
}
