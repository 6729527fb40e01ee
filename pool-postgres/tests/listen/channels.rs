//! Names of channels, and what is sent there.

use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{Event, ListenError};

use crate::common::{eventually, pool, watcher};
use crate::stage::{all_before, last_statement, listening, next, payload};

#[tokio::test]
async fn what_is_sent_is_received_in_order_with_who_has_sent_it() {
    let (_database, pool) = pool(3).await;
    let mut subscription = pool.listener().subscribe("a").await.unwrap();
    let lease = pool.acquire().await.unwrap();
    let process: i32 = lease.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    lease.batch_execute("NOTIFY a; NOTIFY a, 'one'; NOTIFY b, 'nobody''s'").await.unwrap();
    drop(lease);
    pool.notify("a", "two").await.unwrap();
    let Event::Notification(first) = next(&mut subscription).await else { panic!("no notification") };
    assert_eq!((first.channel(), first.payload(), first.process_id()), ("a", "", process));
    assert_eq!(payload(&mut subscription).await, "one");
    assert_eq!(payload(&mut subscription).await, "two");
    pool.disconnect().await;
}

#[tokio::test]
async fn what_a_transaction_sends_is_received_when_it_commits_and_never_if_it_does_not() {
    let (_database, pool) = pool(4).await;
    let mut subscription = pool.listener().subscribe("a").await.unwrap();
    let [mut lost, mut kept] = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let lost = lost.transaction().await.unwrap();
    lost.batch_execute("NOTIFY a, 'lost'").await.unwrap();
    let kept = kept.transaction().await.unwrap();
    kept.batch_execute("NOTIFY a, 'kept'").await.unwrap();
    assert!(all_before(&mut subscription, &pool, "meanwhile").await.is_empty());
    lost.rollback().await.unwrap();
    kept.commit().await.unwrap();
    assert_eq!(all_before(&mut subscription, &pool, "last").await, ["kept"]);
}

#[tokio::test]
async fn names_are_taken_as_they_are() {
    let (_database, pool) = pool(3).await;
    pool.batch_execute("CREATE TABLE b (n int)").await.unwrap();
    let longest = "\u{e4}".repeat(31) + "x";
    assert_eq!(longest.len(), 63);
    let listener = pool.listener();
    let names = [
        "Alerts",
        "a b",
        "a\"b",
        "\"",
        "a'b",
        "a\\b",
        "a\"; DROP TABLE b; --",
        "select",
        "*",
        "\u{2603}\u{1f980}",
        " ",
        "$1",
        "a\nb",
        longest.as_str(),
    ];
    for name in names {
        let mut subscription = listener.subscribe(name).await.unwrap();
        assert_eq!(subscription.channels().collect::<Vec<_>>(), [name]);
        pool.notify(name, "here").await.unwrap();
        let Event::Notification(notification) = next(&mut subscription).await else { panic!("{name}") };
        assert_eq!((notification.channel(), notification.payload()), (name, "here"));
    }
    pool.query("SELECT * FROM b", &[]).await.expect("the table is there");
    // As PostgreSQL has it for names that are not quoted.
    let mut lower = listener.subscribe("alerts").await.unwrap();
    pool.batch_execute("NOTIFY Alerts, 'lower'").await.unwrap();
    assert_eq!(payload(&mut lower).await, "lower");
}

#[tokio::test]
async fn what_is_no_name_is_refused_before_anything_is_sent() {
    let (_database, pool) = pool(2).await;
    let listener = pool.listener();
    let error = listener.subscribe("").await.unwrap_err();
    assert_eq!(error.to_string(), "the name of a channel is empty; it has 1 to 63 bytes");
    let error = listener.subscribe(&"x".repeat(64)).await.unwrap_err();
    assert_eq!(error.to_string(), "the name of a channel has 64 bytes; it has 1 to 63");
    assert!(matches!(listener.subscribe("a\0b").await.unwrap_err(), ListenError::ZeroInChannel));
    assert!(matches!(listener.subscribe_all(["a", ""]).await.unwrap_err(), ListenError::EmptyChannel));
    assert!(matches!(listener.subscribe_all::<&str>([]).await.unwrap_err(), ListenError::NoChannel));
    assert_eq!((pool.stats().acquired, pool.state().reserved), (1, 0), "nobody has asked for a connection");
    // As the server says it.
    for (channel, payload) in
        [("x".repeat(64), String::new()), ("x".to_owned(), "y".repeat(8000)), (String::new(), String::new())]
    {
        let error = pool.notify(&channel, &payload).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some(&SqlState::INVALID_PARAMETER_VALUE), "{error}");
    }
    pool.notify("x", &"y".repeat(7999)).await.unwrap();
}

#[tokio::test]
async fn one_subscription_has_several_channels() {
    let (_database, pool) = pool(3).await;
    let mut both = pool.listener().subscribe_all(["b", "a", "b"]).await.unwrap();
    assert_eq!(both.channels().collect::<Vec<_>>(), ["a", "b"]);
    for (channel, text) in [("a", "1"), ("b", "2"), ("c", "3"), ("a", "4")] {
        pool.notify(channel, text).await.unwrap();
    }
    assert_eq!(all_before(&mut both, &pool, "last").await, ["1", "2", "4"]);
}

#[tokio::test]
async fn the_server_listens_for_what_somebody_is_subscribed_to_and_no_longer() {
    let (database, pool) = pool(3).await;
    let watch = watcher(&database).await;
    let listener = pool.listener();
    let first = listener.subscribe_all(["a", "b"]).await.unwrap();
    let [process] = listening(&watch, database.name()).await[..] else { panic!("one listens") };
    let mut second = listener.subscribe("b").await.unwrap();
    assert_eq!(last_statement(&watch, process).await, "LISTEN \"a\"; LISTEN \"b\"; SELECT pg_catalog.pg_backend_pid()");
    drop(first);
    let ends = "UNLISTEN \"a\"; SELECT pg_catalog.pg_backend_pid()";
    eventually("a is not listened for", async || last_statement(&watch, process).await == ends).await;
    pool.notify("b", "still").await.unwrap();
    assert_eq!(payload(&mut second).await, "still");
    // Again, by the same session.
    let mut third = listener.subscribe("a").await.unwrap();
    pool.notify("a", "again").await.unwrap();
    assert_eq!(payload(&mut third).await, "again");
    assert_eq!(listening(&watch, database.name()).await, [process]);
}

#[tokio::test]
async fn the_connection_goes_back_as_it_was_with_the_last_subscription() {
    let (_database, pool) = pool(2).await;
    let listener = pool.listener();
    assert_eq!(pool.state().reserved, 0, "nobody is subscribed");
    let subscriptions = [listener.subscribe("a").await.unwrap(), listener.subscribe("b").await.unwrap()];
    assert_eq!((pool.state().reserved, pool.state().leased), (1, 0));
    drop(subscriptions);
    eventually("it goes back", async || pool.state().reserved == 0).await;
    // Both of the pool, whichever it was.
    let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    for lease in &leases {
        assert!(lease.query("SELECT pg_listening_channels()", &[]).await.unwrap().is_empty());
    }
    assert_eq!((pool.stats().broken, pool.stats().closed), (0, 0));
    drop(leases);
    let mut subscription = listener.subscribe("a").await.unwrap();
    pool.notify("a", "again").await.unwrap();
    assert_eq!(payload(&mut subscription).await, "again");
    drop((subscription, listener));
    eventually("it goes back", async || pool.state().reserved == 0).await;
}
