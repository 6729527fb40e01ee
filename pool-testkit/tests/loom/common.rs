//! The moves of the engine, without its driver and its clock.

use std::future::poll_fn;
use std::task::{Context, Poll};

use loom::sync::Arc;
use pool_core::internals::{Claim, Core, Entry, Grant, Joined, Left, Offered, Ticket};

/// A pool of numbers.
pub(crate) type Pool = Core<u64>;

/// Explores a model, with as many preemptions as `LOOM_MAX_PREEMPTIONS` says, or `preemptions` by default.
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 5_000;
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
    core.capacity.leaving();
    close_leaving(core, claim);
}

fn close_leaving(core: &Pool, claim: Claim<u64>) {
    let (_number, vacancy) = core.table.take(claim);
    core.table.publish_closed(vacancy);
    core.capacity.closed();
}

/// Gives a connection back, as a lease does.
pub(crate) fn release(core: &Pool, claim: Claim<u64>) {
    follow_up(core, core.offer(claim));
}

fn follow_up(core: &Pool, offered: Offered<u64>) {
    match offered {
        Offered::Parked => {}
        Offered::Handed(waker) => waker.into_iter().for_each(std::task::Waker::wake),
        Offered::Closed(claim) => retire(core, claim),
        Offered::Excess(claim) => close_leaving(core, claim),
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
    let (entry, joined) = core.join(context.waker().clone(), deadline, |claim| release(core, claim));
    match entry {
        Entry::Served(grant) => Err(grant),
        Entry::Queued(ticket) if joined == Joined::Closed => Err(leave(core, ticket).unwrap_or(Grant::Closed)),
        Entry::Queued(ticket) => Ok(ticket),
    }
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
    }
}

/// Does not want what came.
pub(crate) fn pass_on(core: &Pool, grant: Option<Grant<u64>>) {
    if let Some(Grant::Slot(claim)) = grant {
        release(core, claim);
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
    if let Some(claim) = core.claim_at_once(None) {
        return Some(claim);
    }
    match wait(core, NEVER) {
        Grant::Slot(claim) => Some(claim),
        Grant::Closed => None,
        grant => panic!("nobody fails or is late in these models: {grant:?}"),
    }
}

/// Joins the queue and leaves it again without looking, as a future does that is dropped after its first poll.
pub(crate) fn give_up(core: &Pool) {
    let context = Context::from_waker(std::task::Waker::noop());
    let grant = match join(core, &context, NEVER) {
        Ok(ticket) => leave(core, ticket),
        Err(grant) => Some(grant),
    };
    pass_on(core, grant);
}

/// Closes the gate and sends the waiters away.
pub(crate) fn close(core: &Pool) {
    core.gate.close();
    core.send_away(std::task::Waker::wake);
    (0..core.table.size()).filter_map(|index| core.table.claim_at(index)).for_each(|claim| retire(core, claim));
}

/// At the end: nobody is counted as waiting, and exactly `idle` connections are there for the taking.
pub(crate) fn assert_at_rest(core: &Pool, idle: usize) {
    assert_eq!(core.gate.glance().waiting(), 0, "somebody is still counted as waiting");
    let counts = core.table.counts();
    assert_eq!((counts.idle, counts.leased, counts.resetting), (idle, 0, 0), "connections lost");
    assert_eq!(core.capacity.read().open, idle);
}
