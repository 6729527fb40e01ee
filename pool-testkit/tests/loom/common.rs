//! The moves of the engine, without its driver and its clock.

use std::future::poll_fn;
use std::task::{Context, Poll};

use loom::sync::Arc;
use pool_core::internals::{Claim, Core, Grant, Joined, Offered, Resumed, Ticket};

/// A pool of numbers.
pub(crate) type Pool = Core<u64, ()>;

/// Explores a model, with as many preemptions as `LOOM_MAX_PREEMPTIONS` says, or `preemptions` by default.
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

/// A pool with `idle` idle connections.
pub(crate) fn pool(max_size: usize, idle: usize) -> Arc<Pool> {
    let core = Pool::new(max_size);
    for number in 0..idle {
        let claim = open(&core, number as u64);
        release(&core, claim);
    }
    Arc::new(core)
}

/// Opens a connection: the last steps of an opener.
pub(crate) fn open(core: &Pool, number: u64) -> Claim<u64> {
    assert!(core.capacity.reserve(|_| true));
    let vacancy = core.table.claim_vacant().expect("a reservation implies a vacant slot");
    let claim = core.table.fill(vacancy, number);
    core.capacity.opened();
    claim
}

/// Closes a connection: the steps of a retirement.
pub(crate) fn retire(core: &Pool, claim: Claim<u64>) {
    let (_number, vacancy) = core.table.take(claim);
    core.table.publish_closed(vacancy);
    core.capacity.closed();
}

/// Gives a connection back, as a lease does.
pub(crate) fn release(core: &Pool, claim: Claim<u64>) {
    match core.offer(claim) {
        Offered::Parked => {}
        Offered::Handed(waker) => waker.into_iter().for_each(std::task::Waker::wake),
        Offered::Closed(claim) => retire(core, claim),
    }
}

/// Uses a connection, so that loom sees who touches its cell.
pub(crate) fn touch(core: &Pool, claim: &mut Claim<u64>) {
    *core.table.get_mut(claim) += 1;
}

/// The first poll of a waiter.
pub(crate) fn join(core: &Pool, context: &Context<'_>) -> (Ticket, bool) {
    let (ticket, joined) = core.join(context.waker().clone(), |claim| release(core, claim));
    (ticket, joined == Joined::Closed)
}

/// Leaves the queue, and passes on what came first.
pub(crate) fn leave(core: &Pool, ticket: Ticket) {
    if let Some(Grant::Slot(claim)) = core.leave(ticket) {
        release(core, claim);
    }
}

/// Waits until a grant comes. Loom reports a deadlock if none does.
pub(crate) fn wait(core: &Pool) -> Grant<u64, ()> {
    let mut ticket = None;
    loom::future::block_on(poll_fn(|context| {
        let (mine, closed) = match ticket.take() {
            Some(mine) => (mine, false),
            None => join(core, context),
        };
        if closed {
            leave(core, mine);
            return Poll::Ready(Grant::Closed);
        }
        let grant = core.poll(&mine, context.waker());
        if grant.is_none() {
            ticket = Some(mine);
        }
        grant.map_or(Poll::Pending, Poll::Ready)
    }))
}

/// As an acquire does it: at once if that works, by waiting otherwise. `None` if the pool is closed.
pub(crate) fn acquire(core: &Pool) -> Option<Claim<u64>> {
    if let Some(claim) = core.claim_at_once(None) {
        return Some(claim);
    }
    match wait(core) {
        Grant::Slot(claim) => Some(claim),
        Grant::Closed => None,
        Grant::Failed(()) => panic!("nobody fails in these models"),
    }
}

/// Joins the queue and leaves it again without looking, as a future does that is dropped after its first poll.
pub(crate) fn give_up(core: &Pool) {
    let context = Context::from_waker(std::task::Waker::noop());
    let (ticket, _) = join(core, &context);
    leave(core, ticket);
}

/// Closes the gate and sends the waiters away.
pub(crate) fn close(core: &Pool) {
    core.gate.close();
    while let Some(resumed) = core.deny(Grant::Closed) {
        if let Resumed::Delivered(Some(waker)) = resumed {
            waker.wake();
        }
    }
    (0..core.table.size()).filter_map(|index| core.table.claim_at(index)).for_each(|claim| retire(core, claim));
}

/// At the end: nobody is counted as waiting, and exactly `idle` connections are there for the taking.
pub(crate) fn assert_at_rest(core: &Pool, idle: usize) {
    assert_eq!(core.gate.glance().waiting, 0, "somebody is still counted as waiting");
    let counts = core.table.counts();
    assert_eq!((counts.idle, counts.leased, counts.resetting), (idle, 0, 0), "connections lost");
    assert_eq!(core.capacity.read().open, idle);
}
