//! The futures of the driver, dropped at each of their polls: after every number of polls of the pool's tasks its runtime ends, or all budgets are over, or it is
//! closed without mercy.

use std::future::Future;
use std::pin::Pin;

use pool_core::{AcquireError, OwnedLease, PoolState};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::{advance, timeout};

use crate::calls::{SCENES, Scene};
use crate::count::{ENDING_CASES, counted};
use crate::world::{AGES, Job, Label, SOON, World, runtime};

/// What drops them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    RuntimeEnds,
    BudgetsAreOver,
    WithoutMercy,
}

/// Somebody who waits all the time, whatever becomes of the runtime.
type Survivor = Job<Result<OwnedLease<FakeDriver>, AcquireError>>;

/// How many polls of the driver's futures do nothing.
const VAIN_POLLS: usize = 2;
/// So many turns without anything new, and nothing new comes by itself.
const REST: usize = 3 * (VAIN_POLLS + 2);

/// What changes as long as something happens.
fn seen(world: &World) -> (PoolState, u64, u64) {
    let ledger = world.driver.ledger();
    (world.pool.state(), Call::ALL.map(|call| world.driver.begun(call)).iter().sum(), ledger.closed())
}

/// Lets tasks be polled so many times. Whether there was nothing to be done any more.
async fn let_run(world: &World, polls: usize) -> bool {
    let (mut before, mut since) = (seen(world), 0);
    for _ in 0..polls {
        one_turn().await;
        let now = seen(world);
        since = if now == before { since + 1 } else { 0 };
        before = now;
    }
    since >= REST
}

/// Lets one task be polled.
async fn one_turn() {
    let mut had_a_turn = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut had_a_turn, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Polls once. Nobody is woken.
fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> bool {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
}

/// Whether nothing was left to be done before the end.
fn play(scene: &Scene, (call, step): (Call, Step), ending: Ending, polls: usize) -> bool {
    let first = runtime();
    let (world, survivor, rested) = first.block_on(async {
        let world = World::new(scene.max_size, scene.config);
        let leases = (scene.arrange)(world.clone()).await;
        world.driver.dawdle(VAIN_POLLS);
        world.driver.always(call, step);
        (scene.begin)(world.clone(), leases).await;
        let pool = world.pool.clone();
        let mut survivor: Survivor = Box::pin(async move { pool.acquire_owned_timeout(AGES).await });
        let survivor = poll_once(survivor.as_mut()).then_some(survivor);
        let rested = let_run(&world, polls).await;
        (world, survivor, rested)
    });
    if ending == Ending::RuntimeEnds {
        drop(first);
        runtime().block_on(conclude(&world, survivor, (call, step)));
    } else {
        first.block_on(async {
            end(&world, ending).await;
            conclude(&world, survivor, (call, step)).await;
        });
    }
    rested
}

async fn end(world: &World, ending: Ending) {
    if ending == Ending::WithoutMercy {
        let held = timeout(AGES, world.pool.close_within(SOON)).await.expect("it ends");
        assert!(held <= world.pool.config().max_size, "{held}");
    } else {
        let config = world.pool.config();
        advance(config.connect_timeout.max(config.close_timeout) + SOON).await;
    }
}

async fn conclude(world: &World, survivor: Option<Survivor>, (call, step): (Call, Step)) {
    world.calm(call).await;
    if let Some(survivor) = survivor {
        let outcome = timeout(AGES, survivor).await.expect("the one who waits all the time gets an answer");
        let well = outcome.is_ok() || step != Step::Ok || world.pool.is_closed();
        assert!(well, "the one who waits all the time gets a connection: {:?}", outcome.err());
    }
    if step == Step::FailForGood {
        // Of a failure that nobody has heard of because the runtime had ended, the first one who comes afterwards may.
        drop(timeout(AGES, world.pool.acquire()).await.expect("it ends"));
    }
    world.prove().await;
}

fn enumerate(name: &str, ending: Ending) {
    let mut cases = 0;
    for scene in &SCENES {
        for call in Call::ALL {
            for step in Step::ALL {
                let needed = (0..1000).find(|polls| {
                    let _label = Label::new(format!("{}, {call:?} {step:?}, {ending:?} after {polls}", scene.name));
                    play(scene, (call, step), ending, *polls)
                });
                cases += needed.expect("it comes to rest") + 1;
            }
        }
    }
    counted(&ENDING_CASES, name, cases);
}

#[test]
fn a_runtime_may_end_at_any_poll() {
    enumerate("the runtime ends", Ending::RuntimeEnds);
}

#[test]
fn budgets_may_be_over_at_any_poll() {
    enumerate("the budgets are over", Ending::BudgetsAreOver);
}

#[test]
fn a_pool_may_be_closed_without_mercy_at_any_poll() {
    enumerate("it is closed without mercy", Ending::WithoutMercy);
}
