//! The moves of the engine, without its driver and its clock.

use std::future::poll_fn;
use std::panic::Location;
// Loom does not see these, and they order nothing in a model: nobody ever waits for them.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use pool_core::internals::{Claim, Core, Entry, Grant, IdleOrder, Joined, Left, Offered, Ticket};

/// A pool of numbers.
pub(crate) type Pool = Core<u64>;

/// Explores a model: `racers` run at the same time on what `setup` makes, and `check` looks at what comes of it.
///
/// Each racer in turn is the one that runs in the thread of the model, which loom lets run first. That is not for show: loom remembers one
/// access to each atomic, so a load that runs before another thread's load and exchange is never tried in between. In another round it
/// comes second, and is.
///
/// As many preemptions as `LOOM_MAX_PREEMPTIONS` says, or `preemptions` by default.
pub(crate) fn race<S: Send + Sync + 'static, const N: usize>(
    preemptions: usize,
    setup: fn() -> S,
    racers: [fn(&S); N],
    check: fn(S),
) {
    let mut total = 0;
    for first in 0..N {
        // Two that do the same need no round each.
        if racers[..first].iter().any(|racer| std::ptr::fn_addr_eq(*racer, racers[first])) {
            continue;
        }
        let runs = Arc::new(AtomicUsize::new(0));
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
        builder.max_branches = 5_000;
        builder.check({
            let runs = runs.clone();
            move || {
                runs.fetch_add(1, Ordering::Relaxed);
                let scene = Arc::new(setup());
                let others = (0..N).filter(|other| *other != first).map(|other| {
                    let scene = scene.clone();
                    loom::thread::spawn(move || racers[other](&scene))
                });
                let others: Vec<_> = others.collect();
                racers[first](&scene);
                for other in others {
                    other.join().unwrap();
                }
                check(Arc::into_inner(scene).expect("nobody else has it any more"));
            }
        });
        let runs = runs.load(Ordering::Relaxed);
        println!("{runs} interleavings with racer {first} first");
        total += runs;
    }
    assert!(N == 1 || total > N, "the racers do not meet");
}

/// A pool, and what the racers hand to each other out of sight of the model.
pub(crate) struct Scene {
    pub(crate) core: Pool,
    held: Mutex<Vec<Claim<u64>>>,
    tickets: Mutex<Vec<Ticket>>,
}

impl Scene {
    /// A pool with `idle` idle connections, and `held` that somebody holds.
    pub(crate) fn new(max_size: usize, idle: usize, held: usize) -> Self {
        let core = pool(max_size, idle);
        let held = (0..held).map(|number| open(&core, number as u64)).collect();
        Self { core, held: Mutex::new(held), tickets: Mutex::default() }
    }

    /// With waiters that have joined one after the other.
    pub(crate) fn with_waiters(self, waiters: usize) -> Self {
        self.with_waiters_until(waiters, NEVER)
    }

    /// As above, with this deadline.
    pub(crate) fn with_waiters_until(self, waiters: usize, deadline: u64) -> Self {
        for _ in 0..waiters {
            let ticket = join(&self.core, &Context::from_waker(Waker::noop()), deadline).expect("nothing is idle");
            self.tickets.lock().unwrap().push(ticket);
        }
        self
    }

    /// A connection that somebody holds.
    pub(crate) fn held(&self) -> Claim<u64> {
        self.held.lock().unwrap().pop().expect("the model holds one more")
    }

    /// The waiter that has waited for longest.
    pub(crate) fn waiter(&self) -> Ticket {
        self.tickets.lock().unwrap().remove(0)
    }

    /// Whether no ticket is left.
    pub(crate) fn nobody_waits(&self) -> bool {
        self.tickets.lock().unwrap().is_empty()
    }

    /// Leaves a ticket for somebody else, or for the check.
    pub(crate) fn leave_ticket(&self, ticket: Ticket) {
        self.tickets.lock().unwrap().push(ticket);
    }
}

/// A pool with `idle` idle connections.
fn pool(max_size: usize, idle: usize) -> Pool {
    let core = Pool::new(max_size, IdleOrder::Recent);
    for number in 0..idle {
        let claim = open(&core, number as u64);
        release(&core, claim);
    }
    core
}

/// Opens a connection: the last steps of an opener.
pub(crate) fn open(core: &Pool, number: u64) -> Claim<u64> {
    assert!(core.capacity.reserve(|_| true));
    let vacancy = core.table.claim_vacant().expect("a reservation implies a vacant slot");
    let claim = core.fill(vacancy, number, core.gate().glance().generation());
    core.capacity.opened();
    claim
}

/// Closes a connection: the steps of a retirement.
pub(crate) fn retire(core: &Pool, claim: Claim<u64>) {
    core.capacity.leaving();
    close_leaving(core, claim);
}

/// As `retire`, for one that is counted as leaving already.
pub(crate) fn close_leaving(core: &Pool, claim: Claim<u64>) {
    let (_number, vacancy) = core.table.take(claim);
    core.table.publish_closed(vacancy);
    core.capacity.closed();
}

/// Gives a connection back, as a lease does.
pub(crate) fn release(core: &Pool, claim: Claim<u64>) {
    follow_up(core, give_back(core, claim));
}

/// As `release`, for one who sees to the rest.
pub(crate) fn give_back(core: &Pool, claim: Claim<u64>) -> Offered<u64> {
    core.begin_release(claim).map_or_else(|unfinished| core.finish(unfinished), |_| Offered::Parked)
}

/// Does not keep a connection that was claimed to be looked at.
pub(crate) fn offer(core: &Pool, claim: Claim<u64>) {
    follow_up(core, core.offer(claim));
}

fn follow_up(core: &Pool, offered: Offered<u64>) {
    match offered {
        Offered::Parked | Offered::Paused => {}
        Offered::Handed(waker) => waker.into_iter().for_each(Waker::wake),
        Offered::Closed(claim) | Offered::Outdated(claim) => retire(core, claim),
        Offered::Excess(claim) => {
            close_leaving(core, claim);
            offer_surplus(core);
        }
    }
}

/// As `offer`, for the one who serves those who wait.
pub(crate) fn serve(core: &Pool, claim: Claim<u64>) -> bool {
    offer(core, claim);
    true
}

/// Offers every idle connection once.
pub(crate) fn offer_all_idle(core: &Pool) {
    (0..core.table.size()).filter_map(|index| core.table.claim_at(index)).for_each(|claim| offer(core, claim));
}

/// What those do who may have left a surplus idle: whoever lowers the maximum, and the janitor whenever it closes a surplus.
pub(crate) fn offer_surplus(core: &Pool) {
    if core.gate().glance().is_oversize() {
        offer_all_idle(core);
    }
}

/// An idle connection, without waiting.
pub(crate) fn at_once(core: &Pool) -> Option<Claim<u64>> {
    loop {
        let claim = core.claim_at_once(None)?;
        if core.may_keep(core.table.facts(&claim)) {
            return Some(claim);
        }
        offer(core, claim);
    }
}

/// Uses a connection, so that loom sees who touches its cell.
pub(crate) fn touch(core: &Pool, claim: &mut Claim<u64>) {
    *core.table.get_mut(claim) += 1;
}

/// A deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// The first poll of a waiter: a place in the queue, or what came before it got there.
pub(crate) fn join(core: &Pool, context: &Context<'_>, deadline: u64) -> Result<Ticket, Grant<u64>> {
    let (entry, joined, _) =
        core.join(context.waker().clone(), deadline, Location::caller(), false, |claim| serve(core, claim));
    match entry {
        Entry::Served(grant) if joined == Joined::Closed => Err(refuse(core, Some(grant))),
        Entry::Queued(ticket) if joined == Joined::Closed => Err(refuse(core, leave(core, ticket))),
        Entry::Served(grant) => Err(grant),
        Entry::Queued(ticket) => Ok(ticket),
    }
}

/// The pool was closed before.
fn refuse(core: &Pool, grant: Option<Grant<u64>>) -> Grant<u64> {
    pass_on(core, grant);
    core.send_away(Waker::wake);
    Grant::Closed
}

/// Leaves the queue, with what came first.
pub(crate) fn leave(core: &Pool, ticket: Ticket) -> Option<Grant<u64>> {
    match core.leave(ticket) {
        Left::Nothing => None,
        Left::Grant(grant) => Some(grant),
        Left::PassedOn(offered) => {
            follow_up(core, offered);
            None
        }
        Left::Place(..) => panic!("nobody shares in these models"),
    }
}

/// Does not want what came. It looks at it first, as the engine does: after the fence of the offer it would be too late to notice that it may not.
pub(crate) fn pass_on(core: &Pool, grant: Option<Grant<u64>>) {
    if let Some(Grant::Slot(mut claim)) = grant {
        touch(core, &mut claim);
        offer(core, claim);
    }
}

/// Waits until a grant comes. Loom reports a deadlock if none does.
pub(crate) fn wait(core: &Pool, deadline: u64) -> Grant<u64> {
    let mut ticket = None;
    loom::future::block_on(poll_fn(|context| {
        if ticket.is_none() {
            match join(core, context, deadline) {
                Ok(mine) => ticket = Some(mine),
                Err(grant) => return Poll::Ready(grant),
            }
        }
        core.look(&mut ticket, context.waker()).map_or(Poll::Pending, Poll::Ready)
    }))
}

/// As an acquire does it: at once if that works, by waiting otherwise. `None` if the pool is closed.
pub(crate) fn acquire(core: &Pool) -> Option<Claim<u64>> {
    if let Some(claim) = at_once(core) {
        return Some(claim);
    }
    match wait(core, NEVER) {
        Grant::Slot(claim) => Some(claim),
        Grant::Closed => None,
        grant => panic!("nobody fails or is late in these models: {grant:?}"),
    }
}

/// A racer that gives back what is held.
pub(crate) fn releasing(scene: &Scene) {
    release(&scene.core, scene.held());
}

/// A racer that acquires, if need be by waiting, and releases, unless the pool is closed.
pub(crate) fn acquiring(scene: &Scene) {
    if let Some(claim) = acquire(&scene.core) {
        release(&scene.core, claim);
    }
}

/// As a caller does it from beginning to end, in a pool that nobody closes.
pub(crate) fn use_once(core: &Pool) {
    let mut claim = acquire(core).expect("nobody closes the pool");
    touch(core, &mut claim);
    release(core, claim);
}

/// Joins the queue and leaves it again without looking, as a future does that is dropped after its first poll.
pub(crate) fn give_up(core: &Pool) {
    let context = Context::from_waker(Waker::noop());
    let grant = match join(core, &context, NEVER) {
        Ok(ticket) => leave(core, ticket),
        Err(grant) => Some(grant),
    };
    pass_on(core, grant);
}

/// Closes the gate and sends the waiters away.
pub(crate) fn close(core: &Pool) {
    core.gate().close();
    core.send_away(Waker::wake);
    (0..core.table.size()).filter_map(|index| core.table.claim_at(index)).for_each(|claim| retire(core, claim));
}

/// At the end: nobody is counted as waiting, and exactly `idle` connections are there for the taking.
pub(crate) fn assert_at_rest(core: &Pool, idle: usize) {
    assert_eq!(core.gate().glance().waiting(), 0, "somebody is still counted as waiting");
    let counts = core.table.counts();
    assert_eq!((counts.idle, counts.leased, counts.resetting), (idle, 0, 0), "connections lost");
    assert_eq!(core.capacity.read().open, idle);
}
