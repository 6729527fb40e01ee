//! What is told of that happens again and again.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use pool_core::{Request, ScheduleConfig};
use pool_testkit::fake::{Call, FakeDriver, Step};
use pool_testkit::spans::Spans;
use tokio::time::sleep;
use tracing::Level;
use tracing::subscriber::set_default;

use crate::common::{SECOND, prove_nothing_lost, quiet_pool};

/// One more often than that is told of.
const TIMES: u64 = 50;

/// Of so many, one was told of. After a while, one more says how many were not.
fn assert_limited(spans: &Spans, words: &str, times: u64) {
    let events = spans.events(words);
    assert!(events.iter().all(|event| (event.level, event.target) == (Level::ERROR, "pool_core::engine::warnings")));
    let suppressed: Vec<_> = events.iter().map(|event| event.field("suppressed").to_owned()).collect();
    assert_eq!(suppressed, [String::new(), (times - 1).to_string()], "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_each_time_is_told_of_once_in_a_while() {
    let spans = Spans::default();
    let _listening = set_default(spans.clone());
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    driver.always(Call::Inspect, Step::Panic);
    for _ in 0..TIMES {
        drop(pool.acquire().await.unwrap());
    }
    sleep(11 * SECOND).await;
    drop(pool.acquire().await.unwrap());
    assert_limited(&spans, "inspecting a connection panicked", TIMES);
    driver.recover();
    prove_nothing_lost(&pool, &driver).await;
}

/// Panics when it is to wake somebody.
struct Grumpy;

impl Wake for Grumpy {
    fn wake(self: Arc<Self>) {
        std::panic::resume_unwind(Box::new("a waker was told to panic"));
    }
}

#[tokio::test(start_paused = true)]
async fn wakers_that_panic_are_told_of_once_in_a_while() {
    let spans = Spans::default();
    let _listening = set_default(spans.clone());
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
    let grumpy = Waker::from(Arc::new(Grumpy));
    let wait = async |is_scheduled: bool| {
        let held = pool.acquire().await.unwrap();
        let mut waiting = pin!(async {
            if is_scheduled {
                drop(scheduler.acquire(Request::new()).await.unwrap());
            } else {
                drop(pool.acquire().await.unwrap());
            }
        });
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&grumpy)).is_pending());
        drop(held);
        waiting.await;
    };
    for is_scheduled in [true, false].repeat(usize::try_from(TIMES).unwrap() / 2) {
        wait(is_scheduled).await;
    }
    sleep(11 * SECOND).await;
    wait(false).await;
    assert_limited(&spans, "a waker panicked", TIMES);
    drop(scheduler);
    prove_nothing_lost(&pool, &driver).await;
}
