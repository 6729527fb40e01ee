//! Slots: one owner at a time (I2).

use loom::thread;

use crate::common::{assert_at_rest, explore, open, pool, release, retire, touch};

#[test]
fn two_claims_of_one_slot_never_both_succeed() {
    explore(3, || {
        let core = pool(1, 1);
        let users: Vec<_> = (0..2)
            .map(|_| {
                let core = core.clone();
                thread::spawn(move || {
                    let Some(mut claim) = core.table.claim_idle(Some(0)) else { return };
                    touch(&core, &mut claim);
                    core.table.publish_idle(claim);
                })
            })
            .collect();
        for user in users {
            user.join().unwrap();
        }
        let mut claim = core.table.claim_at(0).expect("idle again");
        assert!(*core.table.get(&claim) <= 2);
        touch(&core, &mut claim);
        release(&core, claim);
        assert_at_rest(&core, 1);
    });
}

#[test]
fn a_slot_changes_its_connection_between_two_owners() {
    explore(3, || {
        let core = pool(1, 1);
        let replacing = thread::spawn({
            let core = core.clone();
            move || {
                let Some(claim) = core.claim_at_once(None) else { return };
                retire(&core, claim);
                let claim = open(&core, 100);
                release(&core, claim);
            }
        });
        if let Some(mut claim) = core.claim_at_once(Some(0)) {
            touch(&core, &mut claim);
            release(&core, claim);
        }
        replacing.join().unwrap();
        assert_at_rest(&core, 1);
    });
}

#[test]
fn a_vacated_slot_is_filled_by_an_opener_that_knows_nothing_of_its_past() {
    explore(3, || {
        let core = pool(2, 0);
        let mut claim = open(&core, 0);
        let opener = thread::spawn({
            let core = core.clone();
            move || {
                let claim = open(&core, 1);
                release(&core, claim);
            }
        });
        touch(&core, &mut claim);
        retire(&core, claim);
        opener.join().unwrap();
        assert_at_rest(&core, 1);
    });
}
