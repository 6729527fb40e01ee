//! Close: nobody waits for ever, and nothing stays open (I9). Replacing all connections, which ends the same way for the old ones.

use crate::common::{Scene, acquiring, assert_at_rest, close, race, release, releasing};

fn closing(scene: &Scene) {
    close(&scene.core);
}

#[test]
fn a_waiter_that_nobody_comes_to_hears_of_the_close() {
    race(3, || Scene::new(1, 0, 0), [closing, acquiring], |scene| assert_at_rest(&scene.core, 0));
}

#[test]
fn a_release_that_misses_the_close_is_found_by_it() {
    race(3, || Scene::new(1, 0, 1), [closing, releasing], |scene| assert_at_rest(&scene.core, 0));
}

fn replacing_all(scene: &Scene) {
    scene.core.gate.begin_generation();
    for index in 0..scene.core.table.size() {
        if let Some(claim) = scene.core.table.claim_at(index) {
            release(&scene.core, claim);
        }
    }
}

/// A connection comes back while all of its generation are replaced: it does not stay.
#[test]
fn a_release_and_a_new_generation_cannot_miss_each_other() {
    race(3, || Scene::new(1, 0, 1), [replacing_all, releasing], |scene| assert_at_rest(&scene.core, 0));
}
