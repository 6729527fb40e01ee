//! Close: nobody waits for ever, and nothing stays open (I9).

use loom::thread;

use crate::common::{acquire, assert_at_rest, close, explore, open, pool, release};

#[test]
fn a_waiter_hears_of_the_close_or_gets_its_connection() {
    explore(3, || {
        let core = pool(1, 0);
        let held = open(&core, 0);
        let waiter = thread::spawn({
            let core = core.clone();
            move || {
                if let Some(claim) = acquire(&core) {
                    release(&core, claim);
                }
            }
        });
        close(&core);
        release(&core, held);
        waiter.join().unwrap();
        assert_at_rest(&core, 0);
    });
}

#[test]
fn a_release_that_misses_the_close_is_found_by_it() {
    explore(3, || {
        let core = pool(1, 0);
        let held = open(&core, 0);
        let closing = thread::spawn({
            let core = core.clone();
            move || close(&core)
        });
        release(&core, held);
        closing.join().unwrap();
        assert_at_rest(&core, 0);
    });
}
