//! Slots: one owner at a time (I2), whoever comes for what is in them.

use pool_core::internals::IdleOrder;

use crate::common::{Scene, assert_at_rest, open, race, release, releasing, retire, touch, use_once};

fn claim_the_slot(scene: &Scene) {
    if let Some(mut claim) = scene.core.table.claim_at(0) {
        touch(&scene.core, &mut claim);
        scene.core.table.publish_idle(claim);
    }
}

#[test]
fn two_claims_of_one_slot_never_both_succeed() {
    race(
        3,
        || Scene::new(1, 1, 0),
        [claim_the_slot, claim_the_slot],
        |scene| {
            let mut claim = scene.core.table.claim_at(0).expect("idle again");
            assert!(*scene.core.table.get(&claim) <= 2);
            touch(&scene.core, &mut claim);
            release(&scene.core, claim);
            assert_at_rest(&scene.core, 1);
        },
    );
}

/// A connection is reaped while somebody wants it, and the slot gets another one.
#[test]
fn a_claim_and_the_reaper_never_both_succeed() {
    let using = |scene: &Scene| {
        if let Some(mut claim) = scene.core.claim_at_once(Some(0)) {
            touch(&scene.core, &mut claim);
            release(&scene.core, claim);
        }
    };
    let replacing = |scene: &Scene| {
        let Some(claim) = scene.core.table.claim_at(0) else { return };
        retire(&scene.core, claim);
        let claim = open(&scene.core, 100);
        release(&scene.core, claim);
    };
    race(3, || Scene::new(1, 1, 0), [using, replacing], |scene| assert_at_rest(&scene.core, 1));
}

/// The janitor takes an idle connection by its name, to ping it, while somebody wants one: the caller gets another one, or this one later.
#[test]
fn a_connection_that_is_looked_after_is_only_late() {
    let looking_after = |scene: &Scene| {
        if let Some(mut claim) = scene.core.table.claim_at(0) {
            scene.core.table.show_resetting(&claim);
            touch(&scene.core, &mut claim);
            scene.core.table.show_leased(&claim);
            release(&scene.core, claim);
        }
    };
    race(
        3,
        || Scene::new(1, 1, 0),
        [looking_after, |scene| use_once(&scene.core)],
        |scene| {
            assert_at_rest(&scene.core, 1);
        },
    );
}

#[test]
fn a_vacated_slot_is_filled_by_an_opener_that_knows_nothing_of_its_past() {
    let opening = |scene: &Scene| {
        let claim = open(&scene.core, 1);
        release(&scene.core, claim);
    };
    let closing = |scene: &Scene| {
        let mut claim = scene.held();
        touch(&scene.core, &mut claim);
        retire(&scene.core, claim);
    };
    race(3, || Scene::new(2, 0, 1), [opening, closing], |scene| assert_at_rest(&scene.core, 1));
}

/// An idle slot that has a ticket.
fn in_turn() -> Scene {
    let scene = Scene::new(1, 0, 1);
    scene.core.set_idle_order(IdleOrder::Fifo);
    releasing(&scene);
    scene
}

/// Claims the slot by its name.
fn by_name(scene: &Scene) {
    if let Some(claim) = scene.core.table.claim_at(0) {
        release(&scene.core, claim);
    }
}

fn assert_in_line(scene: &Scene) {
    let claim = scene.core.table.claim_next_in_line().expect("it is idle, and has a ticket");
    release(&scene.core, claim);
    assert_at_rest(&scene.core, 1);
}

/// The line is tidied meanwhile.
#[test]
fn an_idle_slot_keeps_its_ticket_when_others_are_thrown_away() {
    let closing_by_name = |scene: &Scene| {
        if let Some(claim) = scene.core.table.claim_at(0) {
            retire(&scene.core, claim);
            release(&scene.core, open(&scene.core, 7));
        }
    };
    let tidying = |scene: &Scene| scene.core.table.tidy_line(0);
    race(3, in_turn, [closing_by_name, tidying], |scene| assert_in_line(&scene));
}

/// A slot is claimed by its name while the line of idle slots comes to its ticket: whatever happens, an idle slot is in the line afterwards.
#[test]
fn an_idle_slot_keeps_a_ticket() {
    let taking_turns = |scene: &Scene| {
        if let Some(claim) = scene.core.table.claim_next_in_line() {
            release(&scene.core, claim);
        }
    };
    race(3, in_turn, [by_name, taking_turns], |scene| assert_in_line(&scene));
}
