//! The driver.

use std::collections::HashMap;
use std::future::{Future, pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use pool_core::{Aborter, Attempt, Description, Driver, ErrorClass, Recorder, SessionState, Tag};
use tokio::sync::{Semaphore, watch};

use super::connection::FakeConnection;
use super::journal::{Ending, Event, Record};
use super::ledger::{Door, Ledger};
use super::script::{Call, Dice, Odds, Script, Step};

/// The error of a call that was told to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeError {
    /// The call.
    pub call: Call,
    /// What `classify` says about it.
    pub class: ErrorClass,
}

impl std::fmt::Display for FakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the fake backend refuses to {:?} ({:?})", self.call, self.class)
    }
}

impl std::error::Error for FakeError {}

/// A driver whose calls do what they are told. Clones share everything.
#[derive(Clone, Debug)]
pub struct FakeDriver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    plan: Mutex<Plan>,
    ledger: Ledger,
    held: HashMap<Call, Semaphore>,
    /// How many calls of each kind have begun.
    begun: HashMap<Call, watch::Sender<u64>>,
    /// How often a call is polled in vain first.
    vain_polls: AtomicUsize,
}

#[derive(Debug, Default)]
struct Plan {
    scripts: HashMap<Call, Script>,
    dice: Option<Dice>,
    break_after: Option<u64>,
    hosts: Vec<String>,
    /// The number of the session of connection 0, if sessions have any.
    first_session: Option<u64>,
    recorder: Option<Recorder>,
    /// What it tells of itself.
    description: Description,
    panics_when_asked: bool,
    next_id: u64,
    attempts: u64,
}

impl Default for FakeDriver {
    fn default() -> Self {
        Self::with(Plan { scripts: Call::ALL.map(|call| (call, Script::default())).into(), ..Plan::default() })
    }
}

impl FakeDriver {
    /// A driver that does everything right until it is told otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// A driver whose calls fail at random, the same way for the same seed.
    pub fn seeded(seed: u64, odds: Odds) -> Self {
        Self::with(Plan { dice: Some(Dice::new(seed, odds)), ..Plan::default() })
    }

    fn with(plan: Plan) -> Self {
        Self(Arc::new(Inner {
            plan: Mutex::new(plan),
            ledger: Ledger::default(),
            held: Call::ALL.map(|call| (call, Semaphore::new(0))).into(),
            begun: Call::ALL.map(|call| (call, watch::Sender::new(0))).into(),
            vain_polls: AtomicUsize::new(0),
        }))
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what the next calls of this kind do, one after the other.
    pub fn script(&self, call: Call, steps: impl IntoIterator<Item = Step>) {
        self.plan().scripts.entry(call).or_default().append(steps);
    }

    /// Says what all calls of this kind do from now on, instead of what was said before.
    pub fn always(&self, call: Call, step: Step) {
        self.plan().scripts.entry(call).or_default().replace(step);
    }

    /// Lets calls fail at random from now on, the same way for the same seed, instead of what was said before.
    pub fn roll(&self, seed: u64, odds: Odds) {
        self.plan().dice = Some(Dice::new(seed, odds));
    }

    /// Ends all faults, seeded ones too.
    pub fn recover(&self) {
        let mut plan = self.plan();
        plan.dice = None;
        plan.scripts.values_mut().for_each(|script| script.replace(Step::Ok));
    }

    /// Lets calls that begin from now on be pending `polls` times, and wake their task each time, before they do what they are told: each poll is another moment
    /// at which they can be dropped. An inspection is no future, and has none.
    pub fn dawdle(&self, polls: usize) {
        self.0.vain_polls.store(polls, Ordering::SeqCst);
    }

    /// Lets every connection opened from now on break after it has been inspected `n` times.
    pub fn break_after(&self, n: u64) {
        self.plan().break_after = Some(n);
    }

    /// Lets connections opened from now on go to these hosts in turn, by their ids.
    pub fn hosts<'a>(&self, hosts: impl IntoIterator<Item = &'a str>) {
        self.plan().hosts = hosts.into_iter().map(str::to_owned).collect();
    }

    /// Lets the fake backend number the sessions of connections that are opened from now on: this one is that of connection 0, and those of others follow.
    pub fn number_sessions_from(&self, first: u64) {
        self.plan().first_session = Some(first);
    }

    /// Opens a connection, as the pool would have it opened: to be adopted.
    pub fn open(&self) -> FakeConnection {
        let (id, wear, host) = {
            let mut plan = self.plan();
            plan.next_id += 1;
            let id = plan.next_id - 1;
            let host =
                usize::try_from(id).ok().and_then(|id| plan.hosts.get(id.checked_rem(plan.hosts.len())?)).cloned();
            (id, plan.break_after.unwrap_or(u64::MAX), host)
        };
        FakeConnection::open(id, self.ledger(), wear, host)
    }

    /// What the pool that was built last takes measurements by.
    pub fn recorder(&self) -> Option<Recorder> {
        self.plan().recorder.clone()
    }

    /// Tells this of itself from now on; `None` lets it panic when it is asked.
    pub fn describe_as(&self, description: Option<Description>) {
        let mut plan = self.plan();
        plan.panics_when_asked = description.is_none();
        plan.description = description.unwrap_or_default();
    }

    /// Lets so many share a connection, in pools that are built from now on.
    pub fn share_by(&self, users: usize) {
        self.ledger().books().shared_by = users as u64;
    }

    /// Says whether others may join from now on who share a connection.
    pub fn door(&self, door: Door) {
        self.ledger().books().door = door;
    }

    /// Notes a violation if there are ever more than `limit` connections, the ones being opened included.
    pub fn limit(&self, limit: usize) {
        self.ledger().books().limit = Some(limit);
    }

    /// Lets `n` calls go on that are told to [`Step::Hold`], now or later.
    pub fn let_go(&self, call: Call, n: usize) {
        self.0.held[&call].add_permits(n);
    }

    /// How many calls of this kind have begun.
    pub fn begun(&self, call: Call) -> u64 {
        *self.0.begun[&call].borrow()
    }

    /// Waits until `n` calls of this kind have begun since the driver was made.
    pub async fn reached(&self, call: Call, n: u64) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.0.begun[&call].subscribe().wait_for(|begun| *begun >= n).await;
    }

    /// What the fake backend saw.
    pub fn ledger(&self) -> Ledger {
        self.0.ledger.clone()
    }

    fn next(&self, call: Call) -> Step {
        let step = {
            let mut plan = self.plan();
            match &mut plan.dice {
                Some(dice) => dice.step(),
                None => plan.scripts.entry(call).or_default().step(),
            }
        };
        self.0.begun[&call].send_modify(|begun| *begun += 1);
        step
    }

    fn number_of_attempt(&self) -> u64 {
        let mut plan = self.plan();
        plan.attempts += 1;
        plan.attempts - 1
    }

    async fn play(&self, call: Call, id: u64) -> Result<(), FakeError> {
        let record = Record::begin(self.ledger(), call, id);
        let outcome = self.perform(call).await;
        record.end(outcome.as_ref().map_or_else(|error| Ending::Failed(error.class), |()| Ending::Succeeded));
        outcome
    }

    async fn perform(&self, call: Call) -> Result<(), FakeError> {
        let step = self.next(call);
        for _ in 0..self.0.vain_polls.load(Ordering::SeqCst) {
            take_turns().await;
        }
        match step {
            Step::Ok => Ok(()),
            Step::Fail => Err(FakeError { call, class: ErrorClass::Transient }),
            Step::FailForGood => Err(FakeError { call, class: ErrorClass::Permanent }),
            Step::Delay(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Step::Hold => {
                if let Ok(permit) = self.0.held[&call].acquire().await {
                    permit.forget();
                }
                Ok(())
            }
            Step::Hang => pending().await,
            Step::Panic => panic!("the fake backend was told to panic in {call:?}"),
        }
    }
}

/// Lets everybody else have a turn. Not tokio's own, which comes back only when the runtime has nothing else to do.
async fn take_turns() {
    let mut had_a_turn = false;
    poll_fn(|context| {
        if std::mem::replace(&mut had_a_turn, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// One attempt to connect, counted until it ends in any way.
struct Attempting(Ledger);

impl Attempting {
    fn new(ledger: Ledger) -> Self {
        {
            let mut books = ledger.books();
            books.connecting += 1;
            books.note_peak();
        }
        Self(ledger)
    }
}

impl Drop for Attempting {
    fn drop(&mut self) {
        self.0.books().connecting -= 1;
    }
}

impl Driver for FakeDriver {
    type Connection = FakeConnection;
    type Error = FakeError;

    fn attach(&self, recorder: Recorder) {
        self.plan().recorder = Some(recorder);
    }

    fn describe(&self, description: &mut Description) {
        description.clone_from(&self.plan().description);
        assert!(!self.plan().panics_when_asked, "the driver was told to panic when it is asked");
    }

    async fn connect(&self, attempt: &Attempt) -> Result<FakeConnection, FakeError> {
        attempt.authenticating("logging in at the fake backend");
        let attempting = Attempting::new(self.ledger());
        let number = self.number_of_attempt();
        self.play(Call::Connect, number).await?;
        drop(attempting);
        Ok(self.open())
    }

    fn inspect(&self, connection: &mut FakeConnection) -> SessionState {
        let _in_hand = connection.take_in_hand();
        let step = self.next(Call::Inspect);
        let fails = matches!(step, Step::Panic | Step::Fail | Step::FailForGood | Step::Hang);
        if fails || connection.wear() {
            self.ledger().note(Event::FoundBroken(connection.id()));
            assert!(step != Step::Panic, "the fake backend was told to panic in Inspect");
            return SessionState::Broken;
        }
        if connection.is_dirty() { SessionState::Dirty } else { SessionState::Clean }
    }

    async fn reset(&self, connection: &mut FakeConnection) -> Result<(), FakeError> {
        let _in_hand = connection.take_in_hand();
        self.play(Call::Reset, connection.id()).await?;
        connection.clean();
        Ok(())
    }

    fn ping(&self, connection: &mut FakeConnection) -> impl Future<Output = Result<(), FakeError>> + Send {
        let (in_hand, id) = (connection.take_in_hand(), connection.id());
        async move {
            let _in_hand = in_hand;
            self.play(Call::Ping, id).await
        }
    }

    fn reset_keeps(&self, _: &Tag) -> bool {
        true
    }

    async fn convert(&self, connection: &mut FakeConnection, wanted: &Tag) -> Result<(), FakeError> {
        let _in_hand = connection.take_in_hand();
        self.play(Call::Convert, connection.id()).await?;
        connection.convert(wanted);
        Ok(())
    }

    async fn close(&self, connection: FakeConnection) {
        // A close that fails closes all the same.
        let _ = self.play(Call::Close, connection.id()).await;
        drop(connection);
    }

    fn host<'a>(&'a self, connection: &'a FakeConnection) -> Option<&'a str> {
        connection.host()
    }

    fn session_id(&self, connection: &FakeConnection) -> Option<u64> {
        self.plan().first_session.map(|first| first + connection.id())
    }

    fn aborter(&self, connection: &FakeConnection) -> Option<Aborter> {
        Some(connection.aborter())
    }

    fn shared_by(&self) -> usize {
        let (door, users) = {
            let ledger = self.ledger();
            let books = ledger.books();
            (books.door, books.shared_by)
        };
        // Without the lock: it may panic.
        if door.is_open() { usize::try_from(users).unwrap_or(usize::MAX) } else { 0 }
    }

    fn takes_another(&self, _: &FakeConnection) -> bool {
        let door = self.ledger().books().door;
        door.is_open()
    }

    fn classify(&self, error: &FakeError) -> ErrorClass {
        error.class
    }
}
