//! Notices that a borrower has caused and did not wait for: they are told to the log and to nobody else, and none of them comes when the session is somebody else's.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use pool_postgres::PostgresPool;
use tokio::time::timeout;

use crate::common::{config, database};
use crate::load::{Chance, drops};

/// A session each, so that it is known whose a notice is.
const POOLS: usize = 4;
/// Who compete for each.
const USERS: u64 = 3;

/// Whose each session is.
static OWNERS: [AtomicU64; POOLS] = [const { AtomicU64::new(0) }; POOLS];
static HEARD: AtomicU64 = AtomicU64::new(0);
/// Those that came when the session was somebody else's.
static STRAY: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Hears every line that is logged. What a statement says is put together by the server, so that the statement itself does not look like it.
pub(crate) fn hear(line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let Some((_, marker)) = text.split_once("notice<").filter(|_| text.contains("pool_postgres::wire")) else { return };
    let numbers = marker.split_once('>').and_then(|(numbers, _)| numbers.split_once(' '));
    let Some((pool, owner)) = numbers.and_then(|(pool, owner)| Some((pool.parse().ok()?, owner.parse().ok()?))) else {
        return STRAY.lock().unwrap().push(text.into_owned());
    };
    let _: (usize, u64) = (pool, owner);
    HEARD.fetch_add(1, Ordering::Relaxed);
    let is_owner = OWNERS[pool].load(Ordering::SeqCst);
    if is_owner != owner {
        STRAY.lock().unwrap().push(format!("while it was {is_owner}'s: {text}"));
    }
}

/// Borrows again and again, and drops what is under way.
async fn borrow(pool: &PostgresPool, number: usize, user: u64) -> u64 {
    let (mut chance, mut dropped) = (Chance(0xba5e + user + 10 * number as u64), 0);
    for turn in 0..drops().div_ceil(POOLS as u64 * USERS) {
        let owner = 1 + user + USERS * turn;
        let lease = pool.acquire().await.expect("a session");
        OWNERS[number].store(owner, Ordering::SeqCst);
        let says = format!(
            "DO $$ BEGIN FOR n IN 1..300 LOOP RAISE NOTICE 'notice<% %>', {number}, {owner}; PERFORM pg_sleep(0); END LOOP; END $$"
        );
        let moment = Duration::from_micros(chance.below(15_000));
        dropped += u64::from(timeout(moment, lease.batch_execute(&says)).await.is_err());
        // Whoever is next is the owner as soon as he has the session.
    }
    dropped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_the_notices_of_somebody_else() {
    pool_testkit::secrets::listen_too(crate::hear);
    let database = database();
    let mut config = config(database.url(), 1);
    // However slow the machine is.
    (config.pool.reset_timeout, config.pool.acquire_timeout) = (Duration::from_mins(2), Duration::from_mins(2));
    let pools = join_all((0..POOLS).map(|_| PostgresPool::connect(config.clone()))).await;
    let pools: Vec<_> = pools.into_iter().map(Result::unwrap).collect();
    let users =
        pools.iter().enumerate().flat_map(|(number, pool)| (0..USERS).map(move |user| (pool.clone(), number, user)));
    let users = users.map(|(pool, number, user)| tokio::spawn(async move { borrow(&pool, number, user).await }));
    let dropped: u64 = join_all(users).await.into_iter().map(Result::unwrap).sum();
    for pool in &pools {
        // What is still under way belongs to the last one.
        drop(pool.acquire().await.unwrap());
        let stats = pool.stats();
        assert_eq!((stats.opened, stats.broken), (1, 0), "no session is lost: {stats:?}");
    }
    let (heard, stray) = (HEARD.load(Ordering::Relaxed), STRAY.lock().unwrap().clone());
    println!("{dropped} of {} were dropped, {heard} notices were heard", drops());
    assert!(stray.is_empty(), "{} of {heard}: {:?}", stray.len(), stray.first());
    assert!(dropped >= drops() / 4 && heard > drops(), "{dropped}, {heard}");
}
