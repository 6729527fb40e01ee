//! Connections of HTTP/1.1 that are kept alive.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use pool_core::{Attempt, Driver, ErrorClass, Pool, SessionState};
use tokio::task::AbortHandle;

use crate::common::{all, ended, in_time, in_vain, pool, until};
use crate::redis::example::server::port;

#[allow(dead_code)] // its `main` is not called here
#[path = "../../examples/http.rs"]
mod example;

use example::driver::Http;
use example::server::{LARGE, Server};

async fn start(size: usize) -> (Server, Pool<Http>) {
    let server = Server::start("127.0.0.1:0").await.unwrap();
    let pool = pool(Http(server.address), size);
    (server, pool)
}

async fn read(answer: Response<Incoming>) -> usize {
    answer.into_body().collect().await.unwrap().to_bytes().len()
}

async fn greeting(pool: &Pool<Http>) {
    let answer = pool.acquire().await.unwrap().get("/").await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn one_connection_does_for_many_requests() {
    let (server, pool) = start(4).await;
    for _ in 0..20 {
        greeting(&pool).await;
    }
    assert_eq!((server.accepted(), pool.stats().opened), (1, 1));
    drop(all(&pool, 4).await);
    // A client may know of its connection before the server does.
    until(|| server.accepted() == 4).await;
    pool.close().await;
}

#[tokio::test]
async fn what_the_server_has_closed_is_not_handed_out() {
    let (server, pool) = start(1).await;
    let lease = pool.acquire().await.unwrap();
    let (id, task) = (lease.connection_id(), lease.task.abort_handle());
    drop(lease);
    // It ends those that it knows of.
    until(|| server.accepted() == 1).await;
    server.hang_up().await;
    ended(&task).await;
    assert_ne!(pool.acquire().await.unwrap().connection_id(), id);
    greeting(&pool).await;
    assert_eq!(server.accepted(), 2);
    pool.close().await;
}

#[tokio::test]
async fn a_connection_is_used_again_when_its_last_answer_has_been_read() {
    let (server, pool) = start(1).await;
    let mut lease = pool.acquire().await.unwrap();
    let id = lease.connection_id();
    let answer = lease.get("/large").await.unwrap();
    drop(lease);
    until(|| pool.state().in_maintenance == 1).await;
    assert!(pool.try_acquire().is_err(), "the answer is still being read");
    assert_eq!(read(answer).await, LARGE);
    assert_eq!(pool.acquire().await.unwrap().connection_id(), id);
    greeting(&pool).await;
    assert_eq!(server.accepted(), 1);
    pool.close().await;
}

#[tokio::test]
async fn a_connection_whose_answer_nobody_reads_is_closed() {
    let (server, pool) = start(1).await;
    drop(pool.acquire().await.unwrap().get("/large").await.unwrap());
    greeting(&pool).await;
    assert_eq!(server.accepted(), 2);
    pool.close().await;
}

#[tokio::test]
async fn a_server_may_go_away_and_come_back() {
    let address = port::free().unwrap();
    let (server, pool) = (Server::start(address).await.unwrap(), pool(Http(address), 2));
    let tasks: Vec<_> = all(&pool, 2).await.iter().map(|lease| lease.task.abort_handle()).collect();
    server.stop().await;
    for task in &tasks {
        ended(task).await;
    }
    in_vain(&pool).await;
    let server = Server::start(address).await.unwrap();
    greeting(&pool).await;
    assert_eq!(server.accepted(), 1);
    pool.close().await;
}

#[tokio::test]
async fn a_close_closes_the_sockets() {
    let (server, pool) = start(2).await;
    let tasks: Vec<_> = all(&pool, 2).await.iter().map(|lease| lease.task.abort_handle()).collect();
    pool.close().await;
    assert!(tasks.iter().all(AbortHandle::is_finished));
    // Nobody has hung up there.
    in_time(server.all_gone()).await;
}

#[tokio::test]
async fn a_connection_in_use_is_cut_off_when_patience_ends() {
    let (server, pool) = start(1).await;
    let mut lease = pool.acquire().await.unwrap();
    let task = lease.task.abort_handle();
    let using = async {
        ended(&task).await;
        assert!(lease.get("/").await.is_err());
        drop(lease);
    };
    let (cut_off, ()) = tokio::join!(pool.close_within(Duration::from_millis(1)), using);
    assert_eq!(cut_off, 1);
    in_time(server.all_gone()).await;
}

#[tokio::test]
async fn a_ping_tells_whether_the_server_answers() {
    let server = Server::start("127.0.0.1:0").await.unwrap();
    let driver = Http(server.address);
    let mut connection = driver.connect(&Attempt::default()).await.unwrap();
    driver.ping(&mut connection).await.unwrap();
    assert_eq!(driver.inspect(&mut connection), SessionState::Clean);
    server.stop().await;
    driver.ping(&mut connection).await.unwrap_err();
    assert_eq!(driver.inspect(&mut connection), SessionState::Broken);
    let refused = driver.connect(&Attempt::default()).await.map(drop).unwrap_err();
    assert_eq!(driver.classify(&refused), ErrorClass::Transient);
}
