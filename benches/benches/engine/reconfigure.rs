//! New settings for a pool in use. The peers have nothing of the kind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pool_core::{Driver, Pool};

use super::groups::{CONNECTIONS, Group, workers};
use super::turns::{at_once, timed};
use crate::contenders::{Ours, open};

/// Between two changes, beside callers.
const PAUSE: Duration = Duration::from_micros(100);

pub(crate) fn reconfigure(group: &mut Group<'_>) {
    let runtime = workers(1);
    let ours: Ours = runtime.block_on(open(CONNECTIONS));
    group.bench_function("alone", |bencher| bencher.iter(|| change(&ours.0)));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                change(&ours.0);
                thread::sleep(PAUSE);
            }
        });
        group.bench_function("acquire_beside_it", |bencher| {
            bencher.iter_custom(|turns| runtime.block_on(timed(at_once(&ours, turns))));
        });
        over.store(true, Ordering::Relaxed);
    });
}

/// Between two acquire timeouts.
fn change<D: Driver>(pool: &Pool<D>) {
    let mut config = (*pool.config()).clone();
    config.acquire_timeout =
        if config.acquire_timeout.as_secs() == 30 { Duration::from_secs(20) } else { Duration::from_secs(30) };
    pool.reconfigure(config).expect("the settings are in range");
}
