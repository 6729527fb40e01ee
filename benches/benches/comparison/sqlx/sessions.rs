//! What the next one gets here of a session that somebody has given back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::super::sessions::{World, delay, inserted, there};
use super::Here;
use super::connects::{PATIENCE, pool};

pub(super) async fn transaction(world: &World) -> Here {
    let rows = world.rows_of(&world.ours().await, "sqlx_transaction").await;
    Here(rows == 1, there(rows))
}

pub(super) async fn begin(world: &World) -> Here {
    let (pool, outside) = (world.ours().await, world.outside("sqlx_begin").await);
    let mut lease = pool.acquire().await.expect("a session");
    {
        let mut begin = pin!(lease.begin());
        poll_fn(|context| Poll::Ready(begin.as_mut().poll(context).is_pending())).await;
    }
    drop(lease);
    let rows = inserted(&pool, &outside, "sqlx_begin").await;
    Here(rows == 1, there(rows))
}

pub(super) async fn query(world: &World) -> Here {
    let waited = delay(&world.ours().await).await;
    Here(waited < Duration::from_secs(1), format!("waits for {:.1} s", waited.as_secs_f64()))
}

pub(super) async fn setting(world: &World) -> Here {
    let pool = world.ours().await;
    let lease = pool.acquire().await.expect("a session");
    lease.batch_execute("SET search_path = somebody").await.expect("it is set");
    drop(lease);
    let lease = pool.acquire().await.expect("a session");
    let path: String = lease.query_one("SHOW search_path", &[]).await.expect("a path").get(0);
    Here(path != "somebody", format!("`{}`", path.replace('"', "")))
}

pub(super) async fn attributes(url: &str) -> Here {
    let url = format!("{url}?options=-c%20default_transaction_read_only%3Don&target_session_attrs=read-write");
    let pool = pool(&url, 1, |config| config.pool.acquire_timeout = PATIENCE);
    let refuses = pool.acquire().await.is_err();
    Here(refuses, if refuses { "an error" } else { "a session that cannot" }.to_owned())
}
