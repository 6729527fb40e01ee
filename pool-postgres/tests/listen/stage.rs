//! What the tests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pool_postgres::{Event, PostgresPool, Subscription};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(20);

/// What comes next, which has to come.
pub(crate) async fn next(subscription: &mut Subscription) -> Event {
    let event = timeout(LIMIT, subscription.recv()).await.expect("something comes");
    event.expect("it goes on")
}

/// The payload of what comes next, which has to be a notification.
pub(crate) async fn payload(subscription: &mut Subscription) -> String {
    match next(subscription).await {
        Event::Notification(notification) => notification.payload().to_owned(),
        other => panic!("{other:?} is no notification"),
    }
}

/// One gap comes next.
pub(crate) async fn one_gap(subscription: &mut Subscription) {
    assert_eq!(next(subscription).await, Event::Gap { outages: 1 });
}

/// All that comes before this payload, in short, which is sent now: there is nothing else.
pub(crate) async fn all_before(subscription: &mut Subscription, pool: &PostgresPool, last: &str) -> Vec<String> {
    let channel = subscription.channels().next().unwrap().to_owned();
    pool.notify(&channel, last).await.unwrap();
    let mut all = Vec::new();
    loop {
        match next(subscription).await {
            Event::Notification(notification) if notification.payload() == last => return all,
            Event::Notification(notification) => all.push(notification.payload().to_owned()),
            Event::Gap { outages } => all.push(format!("gap {outages}")),
            other => all.push(format!("{other:?}")),
        }
    }
}

/// The processes at the server that listen, in this database.
pub(crate) async fn listening(watch: &tokio_postgres::Client, database: &str) -> Vec<i32> {
    let sql =
        "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND query LIKE '%LISTEN%' AND pid <> pg_backend_pid()";
    let rows = watch.query(sql, &[&database]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// The statement that the process has had last.
pub(crate) async fn last_statement(watch: &tokio_postgres::Client, process: i32) -> String {
    let sql = "SELECT query FROM pg_stat_activity WHERE pid = $1 AND state = 'idle'";
    let row = watch.query_opt(sql, &[&process]).await.unwrap();
    row.map(|row| row.get(0)).unwrap_or_default()
}

/// Sends 1, 2, 3 and so on, one after the other, until it is stopped.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    task: JoinHandle<u64>,
}

impl Traffic {
    pub(crate) fn start(pool: PostgresPool, channel: &'static str) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let task = tokio::spawn(async move {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                // It may have been sent, or not.
                let _ = pool.notify(channel, &number.to_string()).await;
                counter.store(number, Ordering::Relaxed);
            }
            number
        });
        Self { stop, sent, task }
    }

    /// How many have been sent, or tried.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The last number.
    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}
