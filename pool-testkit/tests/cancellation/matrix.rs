//! Every future in every situation under every fault.

use std::time::Duration;

use pool_testkit::cancel::{Cut, for_each_cancellation};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::count::{METHOD_CASES, counted};
use crate::methods::{METHODS, Method};
use crate::situations::{SITUATIONS, Situation};
use crate::world::{Label, SOON, World, runtime};

/// One fault of the driver: what calls of this kind do.
type Fault = (Call, Step);

fn faults() -> impl Iterator<Item = Fault> {
    Call::ALL.into_iter().flat_map(|call| Step::ALL.into_iter().map(move |step| (call, step)))
}

/// Drops a future once, proves that nothing is lost, and tells whether it had ended before.
async fn play(method: &Method, situation: &Situation, (call, step): Fault, cut: Cut) -> bool {
    let world = World::new(situation.max_size, situation.config);
    let leases = (situation.arrange)(world.clone()).await;
    world.disturb(call, step);
    let letting_go = tokio::spawn(let_go_later(world.driver.clone(), call));
    let meanwhile = tokio::spawn((situation.meanwhile)(world.clone(), leases));
    let ended = (method.call)(world.pool.clone(), cut).await;
    if step == Step::Ok {
        look_after_it(&world, situation, meanwhile).await;
    } else {
        world.calm(call).await;
        meanwhile.await.unwrap();
    }
    letting_go.abort();
    world.calm(call).await;
    world.prove().await;
    ended
}

/// What was told to wait may go on after a while.
async fn let_go_later(driver: FakeDriver, call: Call) {
    sleep(2 * SOON).await;
    driver.let_go(call, 100);
}

/// Looks closely, since nothing is wrong.
async fn look_after_it(world: &World, situation: &Situation, meanwhile: JoinHandle<Option<Duration>>) {
    if situation.name == "nothing is open" {
        nobody_wants_anything(world).await;
    }
    let waited = meanwhile.await.unwrap();
    // A wait that somebody else's end has made longer would show here: time passes only if everybody waits.
    if situation.name.starts_with("another one") && !world.pool.is_closed() {
        assert_eq!(waited.map(|waited| waited.as_millis()), Some(0), "the other one was served at once");
    }
}

/// What is being opened is opened; nothing else is, since nobody is there.
async fn nobody_wants_anything(world: &World) {
    let begun = || usize::try_from(world.driver.begun(Call::Connect)).unwrap();
    let (before, opening) = (begun(), world.pool.state().opening);
    sleep(2 * SOON).await;
    assert!(begun() <= before + opening, "{} more than the {opening} under way", begun() - before);
}

fn enumerate(name: &str) {
    let method = METHODS.iter().find(|method| method.name == name).unwrap();
    let mut cases = 0;
    for situation in &SITUATIONS {
        for fault in faults() {
            cases += for_each_cancellation(|cut| {
                let _label = Label::new(format!("{name} while {}, {fault:?}, {cut:?}", situation.name));
                runtime().block_on(play(method, situation, fault, cut))
            });
        }
    }
    counted(&METHOD_CASES, name, cases);
}

#[test]
fn acquire_loses_nothing() {
    enumerate("acquire");
}

#[test]
fn acquire_timeout_loses_nothing() {
    enumerate("acquire_timeout");
}

#[test]
fn acquire_owned_loses_nothing() {
    enumerate("acquire_owned");
}

#[test]
fn acquire_owned_timeout_loses_nothing() {
    enumerate("acquire_owned_timeout");
}

#[test]
fn share_loses_nothing() {
    enumerate("share");
}

#[test]
fn share_timeout_loses_nothing() {
    enumerate("share_timeout");
}

#[test]
fn share_at_loses_nothing() {
    enumerate("share_at");
}

#[test]
fn share_owned_loses_nothing() {
    enumerate("share_owned");
}

#[test]
fn share_owned_timeout_loses_nothing() {
    enumerate("share_owned_timeout");
}

#[test]
fn acquire_preferring_loses_nothing() {
    enumerate("acquire_preferring");
}

#[test]
fn acquire_owned_preferring_loses_nothing() {
    enumerate("acquire_owned_preferring");
}

#[test]
fn ready_loses_nothing() {
    enumerate("ready");
}

#[test]
fn warm_up_loses_nothing() {
    enumerate("warm_up");
}

#[test]
fn drained_loses_nothing() {
    enumerate("drained");
}

#[test]
fn close_loses_nothing() {
    enumerate("close");
}

#[test]
fn close_within_loses_nothing() {
    enumerate("close_within");
}

#[test]
fn wanted_back_loses_nothing() {
    enumerate("wanted_back");
}

#[test]
fn close_all_loses_nothing() {
    enumerate("close_all");
}

#[test]
fn check_health_loses_nothing() {
    enumerate("check_health");
}

#[test]
fn scheduler_acquire_loses_nothing() {
    enumerate("Scheduler::acquire");
}

#[test]
fn scheduler_acquire_preferring_loses_nothing() {
    enumerate("Scheduler::acquire_preferring");
}

#[test]
fn scheduler_acquire_many_loses_nothing() {
    enumerate("Scheduler::acquire_many");
}
