//! What those see who trace the engine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pool_core::{Preference, Request, ScheduleConfig, Tag};
use pool_testkit::fake::{Call, FakeDriver, Step};
use pool_testkit::spans::{Seen, Spans};
use tokio::time::sleep;
use tracing::subscriber::{DefaultGuard, set_default};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet, quiet_pool, until};

fn listen() -> (Spans, DefaultGuard) {
    let spans = Spans::default();
    let listening = set_default(spans.clone());
    (spans, listening)
}

/// The last acquire.
fn last(spans: &Spans) -> Seen {
    spans.named("pool.acquire").pop().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_acquire_says_what_has_come_of_it_and_how_long_it_waited() {
    let (spans, _listening) = listen();
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let outcome = || {
        let seen = last(&spans);
        assert_eq!((seen.target, seen.is_closed), ("pool_core::span", true), "{seen:?}");
        assert!(seen.field("place").contains("spans.rs"), "{seen:?}");
        (seen.field("outcome").to_owned(), seen.field("wait_us").parse::<u64>().unwrap())
    };
    let held = pool.acquire().await.unwrap();
    assert_eq!(outcome().0, "waited", "for the first connection");
    assert_eq!(last(&spans).field("connection"), held.connection_id().to_string());
    assert!(pool.try_acquire().is_err());
    assert_eq!(outcome(), ("shed".to_owned(), 0));
    assert_eq!(last(&spans).field("otel.status_code"), "ERROR");
    assert!(pool.acquire_timeout(3 * SECOND).await.is_err());
    assert_eq!(outcome(), ("timeout".to_owned(), 3_000_000));
    assert!(tokio::time::timeout(SECOND, pool.acquire()).await.is_err());
    assert_eq!(outcome(), ("cancelled".to_owned(), 1_000_000));
    drop(held);
    drop(pool.acquire().await.unwrap());
    assert_eq!(outcome(), ("immediate".to_owned(), 0));
    drop(pool.try_acquire().unwrap());
    assert_eq!(outcome(), ("immediate".to_owned(), 0));
    let preference = Preference::sticky(Tag::new("user", "7").unwrap());
    for fits in [false, true] {
        let before = pool.stats();
        drop(pool.acquire_preferring(&preference).await.unwrap());
        let counted = pool.stats();
        assert_eq!((counted.immediate - before.immediate, counted.waited), (1, before.waited), "{fits}");
        assert_eq!(outcome(), ("immediate".to_owned(), 0), "whether it fits or not: {fits}");
    }
    assert_eq!(spans.named("pool.acquire").len(), 8, "one for each");
    prove_nothing_lost(&pool, &driver).await;
    assert!(pool.acquire().await.is_err());
    assert_eq!(outcome().0, "refused");
}

#[tokio::test(start_paused = true)]
async fn a_span_that_somebody_is_in_is_the_parent_and_who_waits_is_the_cause_of_an_attempt() {
    let (spans, _listening) = listen();
    let driver = FakeDriver::new();
    driver.hosts(["db:5432"]);
    let pool = quiet_pool(&driver, 2);
    let request = tracing::debug_span!("request");
    let one = tracing::Instrument::instrument(async { pool.acquire().await.unwrap() }, request.clone()).await;
    let (request, acquire) = (spans.named("request").remove(0), last(&spans));
    assert_eq!(acquire.parent, Some(request.id));
    let opening = spans.named("pool.open").remove(0);
    assert_eq!((opening.parent, opening.follows), (None, vec![acquire.id]), "it is the pool's, and because of it");
    assert!(opening.entered > 0, "and what the driver says is inside of it");
    let two = pool.acquire().await.unwrap();
    until(&pool, |state| state.opening == 0).await;
    let openings = spans.named("pool.open");
    let opening = openings.last().unwrap();
    assert_eq!(opening.follows, [last(&spans).id], "each has its own");
    assert_eq!((opening.field("outcome"), opening.field("attempt"), opening.field("host")), ("opened", "1", "db:5432"));
    assert_eq!(opening.field("connection"), two.connection_id().to_string());
    drop((one, two));
    prove_nothing_lost(&pool, &driver).await;
    assert!(spans.all().iter().filter(|span| span.name != "request").all(|span| span.is_closed), "{:#?}", spans.all());
}

/// As in a service whose `main` is in a span: its tasks run inside of that, if they run in the same thread.
#[tokio::test(start_paused = true)]
async fn what_is_done_in_the_background_is_inside_of_nobody() {
    let (spans, _listening) = listen();
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let main = tracing::debug_span!("main").entered();
    drop(pool.acquire().await.unwrap());
    assert!(last(&spans).parent.is_some());
    assert_eq!(spans.named("pool.open").remove(0).parent, None);
    drop(main);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_says_how_and_not_what_the_driver_says() {
    let (spans, _listening) = listen();
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Fail, Step::FailForGood, Step::Panic, Step::Hang]);
    let pool = quiet_pool(&driver, 1);
    drop(pool.acquire().await);
    for _ in 0..4 {
        sleep(5 * SECOND).await;
        if let Ok(lease) = pool.acquire().await {
            drop(lease);
        }
    }
    let said: Vec<_> = spans
        .named("pool.open")
        .into_iter()
        .map(|seen| {
            let of = |name: &str| seen.field(name).to_owned();
            (of("attempt"), of("outcome"), of("class"))
        })
        .collect();
    let text = |all: [&str; 3]| (all[0].to_owned(), all[1].to_owned(), all[2].to_owned());
    let wanted = [
        ["1", "failed", "transient"],
        ["2", "failed", "permanent"],
        ["3", "panicked", "transient"],
        ["4", "timeout", "transient"],
        ["5", "opened", ""],
    ];
    assert_eq!(said, wanted.map(text));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_request_says_how_long_it_stood_in_line() {
    let (spans, _listening) = listen();
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
    let held = scheduler.acquire(Request::new()).await.unwrap();
    assert!(scheduler.acquire(Request::new().within(2 * SECOND)).await.is_err());
    drop(held);
    let said: Vec<_> = spans.named("pool.schedule").iter().map(|seen| seen.field("outcome").to_owned()).collect();
    assert_eq!(said[0], "admitted");
    assert!(["timeout", "shed"].contains(&said[1].as_str()), "{said:?}");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn tasks_keep_the_subscriber_under_which_they_began() {
    let (spans, listening) = listen();
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    config.min_size = 1;
    let pool = pool_with(&driver, config);
    // The janitor has not run yet.
    drop(listening);
    until(&pool, |state| state.idle == 1).await;
    let opening = spans.named("pool.open");
    assert_eq!(opening.len(), 1);
    assert_eq!((opening[0].field("outcome"), &opening[0].follows[..]), ("opened", &[][..]), "nobody is the cause");
    prove_nothing_lost(&pool, &driver).await;
}

/// Panics whenever it is told anything about a span.
struct Rude;

impl tracing::Subscriber for Rude {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes()
    }
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "pool_core::span"
    }
    fn new_span(&self, attributes: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        // Every other one is made, and is no good.
        let pool = attributes.metadata().name();
        assert_ne!(pool, "pool.schedule", "a subscriber was told to panic");
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {
        panic!("a subscriber was told to panic");
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {
        panic!("a subscriber was told to panic");
    }
    fn event(&self, _: &tracing::Event<'_>) {
        panic!("a subscriber was told to panic");
    }
    fn enter(&self, _: &tracing::span::Id) {
        panic!("a subscriber was told to panic");
    }
    fn exit(&self, _: &tracing::span::Id) {
        panic!("a subscriber was told to panic");
    }
    fn try_close(&self, _: tracing::span::Id) -> bool {
        panic!("a subscriber was told to panic");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_costs_nobody_a_connection() {
    let _listening = set_default(Rude);
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Fail]);
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    assert!(pool.try_acquire().is_err());
    assert!(pool.acquire_timeout(3 * SECOND).await.is_err());
    let mut waiting = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiting));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(waiting))).is_ok());
    drop(held);
    let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
    drop(scheduler.acquire(Request::new()).await.unwrap());
    drop(pool.acquire().await.unwrap());
    let preference = Preference::sticky(Tag::new("user", "7").unwrap()).grace(Duration::from_millis(1));
    drop(pool.acquire_preferring(&preference).await.unwrap());
    assert_eq!(pool.state().idle, 1);
    drop(scheduler);
    prove_nothing_lost(&pool, &driver).await;
}
