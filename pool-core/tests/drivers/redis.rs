//! Sessions of Redis.

use std::time::Duration;

use pool_core::{AcquireError, Attempt, ConnectionId, Driver, ErrorClass, Lease, Pool, SessionState};
use redis::{AsyncCommands, RedisConnectionInfo, RedisResult, cmd, pipe};
use tokio::task::AbortHandle;

use crate::common::{all, at_rest, ended, in_time, in_vain, pool, until};

#[allow(dead_code)] // its `main` is not called here
#[path = "../../examples/redis.rs"]
pub(crate) mod example;

use example::driver::{Redis, Session};
use example::server::Server;

const PASSWORD: &str = "s3cr3t sesame";
/// Not the one that a session has by itself.
const DATABASE: i64 = 3;

fn driver(server: &Server, password: &str) -> Redis {
    let password = Some(password.to_owned());
    Redis {
        address: server.address,
        login: RedisConnectionInfo { db: DATABASE, password, ..RedisConnectionInfo::default() },
    }
}

/// A server that wants a password, and a pool of sessions that are not in the database of everybody.
fn start(size: usize) -> (Server, Pool<Redis>) {
    let server = Server::start(&["--requirepass", PASSWORD]).unwrap();
    let pool = pool(driver(&server, PASSWORD), size);
    (server, pool)
}

/// A connection beside the pool.
async fn beside(pool: &Pool<Redis>) -> Session {
    pool.driver().connect(&Attempt::default()).await.unwrap()
}

/// What the server tells of the connections that it has, those of `beside` left out.
async fn sessions(beside: &mut Session) -> usize {
    let list: String = cmd("CLIENT").arg("LIST").query_async(beside).await.unwrap();
    list.lines().count() - 1
}

/// Does something with a session, and says which session has the next lease, once everything is in order.
async fn same_after(pool: &Pool<Redis>, act: impl AsyncFnOnce(&mut Lease<'_, Redis>)) -> (bool, ConnectionId) {
    let mut lease = pool.acquire().await.unwrap();
    let id = lease.connection_id();
    act(&mut lease).await;
    drop(lease);
    at_rest(pool).await;
    let lease = pool.acquire().await.unwrap();
    (lease.connection_id() == id, id)
}

#[tokio::test]
async fn one_connection_does_for_many_users() {
    let (_server, pool) = start(4);
    for number in 0..20 {
        let _: () = pool.acquire().await.unwrap().set("number", number).await.unwrap();
        let told: i32 = pool.acquire().await.unwrap().get("number").await.unwrap();
        assert_eq!(told, number);
    }
    assert_eq!(pool.stats().opened, 1);
    drop(all(&pool, 4).await);
    assert_eq!(sessions(&mut beside(&pool).await).await, 4);
    pool.close().await;
}

#[tokio::test]
async fn a_session_that_the_server_has_ended_is_not_handed_out() {
    let (_server, pool) = start(1);
    let lease = pool.acquire().await.unwrap();
    let (id, task) = (lease.connection_id(), lease.task.abort_handle());
    drop(lease);
    let kill = ["KILL", "TYPE", "normal", "SKIPME", "yes"];
    let killed: i32 = cmd("CLIENT").arg(&kill).query_async(&mut beside(&pool).await).await.unwrap();
    assert_eq!(killed, 1);
    ended(&task).await;
    let mut lease = pool.acquire().await.unwrap();
    assert_ne!(lease.connection_id(), id);
    let _: () = lease.set("still", "here").await.unwrap();
    drop(lease);
    pool.close().await;
}

#[tokio::test]
async fn what_a_user_leaves_behind_is_reset_before_the_next_one() {
    let (_server, pool) = start(1);
    let mut other = beside(&pool).await;
    let (same, _) = same_after(&pool, async |lease| cmd("SELECT").arg(5).exec_async(&mut **lease).await.unwrap()).await;
    assert!(same);
    let _: () = pool.acquire().await.unwrap().set("where", "here").await.unwrap();
    assert_eq!(other.get::<_, String>("where").await.unwrap(), "here", "in the database of the pool again");

    let (same, _) = same_after(&pool, async |lease| {
        cmd("MULTI").exec_async(&mut **lease).await.unwrap();
        cmd("SET").arg("where").arg("nowhere").exec_async(&mut **lease).await.unwrap();
    })
    .await;
    assert!(same);
    assert_eq!(pool.acquire().await.unwrap().get::<_, String>("where").await.unwrap(), "here", "not in a transaction");

    let (same, _) =
        same_after(&pool, async |lease| cmd("WATCH").arg("where").exec_async(&mut **lease).await.unwrap()).await;
    assert!(same);
    let _: () = other.set("where", "there").await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let done: Option<(String,)> = pipe().atomic().get("where").query_async(&mut *lease).await.unwrap();
    assert_eq!(done, Some(("there".to_owned(),)), "what the last user watched does not stop this one");
    drop(lease);
    assert_eq!(pool.stats().opened, 1);
    pool.close().await;
}

#[tokio::test]
async fn a_session_that_may_say_more_than_it_is_asked_is_closed() {
    let (_server, pool) = start(1);
    for command in [["SUBSCRIBE", "news"], ["CLIENT", "ID"]] {
        let (same, _) = same_after(&pool, async |lease| {
            let (name, argument) = (command[0], command[1]);
            let _: redis::Value = cmd(name).arg(argument).query_async(&mut **lease).await.unwrap();
        })
        .await;
        assert!(!same, "{command:?}");
    }
    pool.close().await;
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_answered_before_the_next_one() {
    let (_server, pool) = start(1);
    let mut other = beside(&pool).await;
    let mut lease = pool.acquire().await.unwrap();
    let id = lease.connection_id();
    {
        let mut blocking = cmd("BLPOP");
        blocking.arg("list").arg(0);
        let mut popped = Box::pin(blocking.query_async::<redis::Value>(&mut *lease));
        // Until the server has it.
        while blocked(&mut other).await == 0 {
            tokio::select! { biased; _ = &mut popped => unreachable!("the list is empty"), () = tokio::task::yield_now() => {} }
        }
    }
    drop(lease);
    until(|| pool.state().in_maintenance == 1).await;
    let _: () = other.rpush("list", "one").await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    assert_eq!(lease.connection_id(), id);
    assert!(!lease.exists::<_, bool>("list").await.unwrap(), "this is its own answer");
    drop(lease);
    pool.close().await;
}

/// How many clients wait in a command that blocks.
async fn blocked(session: &mut Session) -> usize {
    let told: String = cmd("INFO").arg("clients").query_async(session).await.unwrap();
    let count = told.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    count.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_server_may_go_away_and_come_back() {
    let (server, pool) = start(2);
    let address = server.address;
    let tasks: Vec<_> = all(&pool, 2).await.iter().map(|lease| lease.task.abort_handle()).collect();
    drop(server);
    for task in &tasks {
        ended(task).await;
    }
    in_vain(&pool).await;
    let _server = Server::start_at(address, &["--requirepass", PASSWORD]).unwrap();
    let _: () = pool.acquire().await.unwrap().set("back", "again").await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once() {
    let (server, pool) = start(1);
    let wrong = crate::common::pool(driver(&server, "please"), 1);
    let error = wrong.acquire().await.map(drop).unwrap_err();
    assert!(matches!(error, AcquireError::OpenFailed { .. }), "{error}");
    assert!(!error.to_string().contains("please"), "{error}");
    let none = Redis { login: RedisConnectionInfo::default(), ..driver(&server, "") };
    let error = none.connect(&Attempt::default()).await.map(drop).unwrap_err();
    assert_eq!(none.classify(&error), ErrorClass::Permanent, "{error}");
    drop(pool.acquire().await.unwrap());
    pool.close().await;
}

#[tokio::test]
async fn after_a_close_the_server_has_no_session() {
    let (_server, pool) = start(3);
    let mut other = beside(&pool).await;
    let tasks: Vec<_> = all(&pool, 3).await.iter().map(|lease| lease.task.abort_handle()).collect();
    assert_eq!(sessions(&mut other).await, 3);
    pool.close().await;
    assert!(tasks.iter().all(AbortHandle::is_finished));
    assert_eq!(sessions(&mut other).await, 0);
}

#[tokio::test]
async fn a_session_in_use_is_cut_off_when_patience_ends() {
    let (_server, pool) = start(1);
    let mut other = beside(&pool).await;
    let mut lease = pool.acquire().await.unwrap();
    let using = async {
        let popped: RedisResult<redis::Value> = in_time(lease.blpop("list", 0.0)).await;
        popped.unwrap_err();
        drop(lease);
    };
    let (cut_off, ()) = tokio::join!(pool.close_within(Duration::from_millis(1)), using);
    assert_eq!(cut_off, 1);
    // The server notices when it reads from it.
    in_time(async { while sessions(&mut other).await > 0 {} }).await;
}

#[tokio::test]
async fn a_ping_tells_whether_the_server_answers() {
    let (server, pool) = start(1);
    let (mut session, driver) = (beside(&pool).await, pool.driver());
    driver.ping(&mut session).await.unwrap();
    assert_eq!(driver.inspect(&mut session), SessionState::Clean);
    let task = session.task.abort_handle();
    drop(server);
    driver.ping(&mut session).await.unwrap_err();
    ended(&task).await;
    assert_eq!(driver.inspect(&mut session), SessionState::Broken);
}
