//! How much memory a result takes, whatever its size. Each in a process of its own.

use std::process::Command;
use std::{env, fs};

use bytes::Bytes;
use futures_util::TryStreamExt;
use pool_postgres::PostgresPool;
use tokio_postgres::types::Type;

use crate::again::{again, name_of};
use crate::common::{eventually, pool};

/// Says in which process it is measured.
const ALONE: &str = "POOL_RESULTS_ALONE";
/// What the largest result may cost over the process that has a pool and nothing to do.
const MOST: usize = 32 << 20;

fn rows() -> i64 {
    env::var("POOL_ROWS").map_or(300_000, |rows| rows.parse().unwrap())
}

/// A figure of this process, in bytes.
fn status(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Runs this in a process that does nothing else, on a table `t` with as many rows as wanted, and measures the most memory that it has had at any time.
fn measure<Job: AsyncFn(PostgresPool)>(what: &str, job: Job) {
    if env::var(ALONE).is_err() {
        return again(Command::new("env").arg(format!("{ALONE}=1")), name_of::<Job>());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_database, pool) = pool(2).await;
        pool.batch_execute("CREATE UNLOGGED TABLE t (id bigint, name text)").await.unwrap();
        // The peak counts from here.
        drop(fs::write("/proc/self/clear_refs", "5"));
        let before = status("VmRSS");
        job(pool.clone()).await;
        let more = status("VmHWM").saturating_sub(before);
        eprintln!("measured: {} rows {what} took {} KiB over {} KiB", rows(), more >> 10, before >> 10);
        assert!(more < MOST, "{more} bytes more");
        pool.disconnect().await;
    });
}

const SELECT: &str = "SELECT n, 'a name of some length, ' || n FROM generate_series(1, $1::bigint) n";

/// The same, for a COPY, which takes no parameters.
fn select() -> String {
    SELECT.replace("$1", &rows().to_string())
}

/// The rows from here on that make a piece.
fn piece(from: i64) -> (i64, Bytes) {
    let to = rows().min(from + 2000);
    let line = |id: i64| format!("{id}\ta name of some length, {id}\n");
    let lines = (from..to).fold(String::new(), |lines, id| lines + &line(id));
    (to, lines.into())
}

/// Now and then everybody else has a turn: the other side has always more than is wanted.
async fn slowly(row: i64) {
    if row % 100 == 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn rows_as_they_come() {
    measure("as they come", async |pool| {
        let mut stream = pool.stream(SELECT, &[&rows()]).await.unwrap();
        let mut count = 0;
        while let Some(row) = stream.try_next().await.unwrap() {
            count += 1;
            assert_eq!(row.get::<_, i64>(0), count);
            slowly(count).await;
        }
        assert_eq!(count, rows());
    });
}

/// Ten gigabytes, of which one row is wanted for now: the server waits.
#[test]
fn a_reader_that_stands_still() {
    measure("for one that stands still", async |pool| {
        let large = "SELECT repeat('x', 100000) FROM generate_series(1, 100000)";
        let mut stream = pool.stream(large, &[]).await.unwrap();
        stream.try_next().await.unwrap().expect("a row");
        let stuck = "SELECT count(*) FROM pg_stat_activity WHERE query = $1 AND wait_event = 'ClientWrite'";
        let is_stuck = async || pool.query_one(stuck, &[&large]).await.unwrap().get::<_, i64>(0) == 1;
        eventually("the server waits", is_stuck).await;
    });
}

#[test]
fn rows_in_batches() {
    measure("in batches of 5000", async |pool| {
        let mut cursor = pool.fetch_in_batches(SELECT, &[&rows()], 5000).await.unwrap();
        let mut count = 0;
        while let Some(batch) = cursor.fetch().await.unwrap() {
            for row in batch {
                count += 1;
                assert_eq!(row.get::<_, i64>(0), count);
            }
        }
        assert_eq!(count, rows());
    });
}

#[test]
fn rows_copied_out() {
    measure("copied out", async |pool| {
        let mut data = pool.copy_out(format!("COPY ({}) TO STDOUT", select())).await.unwrap();
        let mut count = 0;
        while let Some(piece) = data.try_next().await.unwrap() {
            count += i64::try_from(piece.split(|byte| *byte == b'\n').count() - 1).unwrap();
            slowly(count).await;
        }
        assert_eq!(count, rows());
    });
}

#[test]
fn rows_copied_out_in_the_binary_format() {
    measure("copied out as values", async |pool| {
        let copy = format!("COPY ({}) TO STDOUT (FORMAT binary)", select());
        let mut stream = pool.copy_out_rows(copy, &[Type::INT8, Type::TEXT]).await.unwrap();
        let mut count = 0;
        while let Some(row) = stream.try_next().await.unwrap() {
            count += 1;
            assert_eq!(row.try_get::<i64>(0).unwrap(), count);
            slowly(count).await;
        }
        assert_eq!(count, rows());
    });
}

/// The server is slower than we are, and makes us wait.
#[test]
fn rows_copied_in() {
    measure("copied in", async |pool| {
        let mut copy = pool.copy_in("COPY t FROM STDIN").await.unwrap();
        let mut from = 0;
        while from < rows() {
            let (to, data) = piece(from);
            copy.send(data).await.unwrap();
            from = to;
        }
        assert_eq!(i64::try_from(copy.finish().await.unwrap()).unwrap(), rows());
        assert_eq!(pool.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0), rows());
    });
}

#[test]
fn rows_copied_in_in_the_binary_format() {
    measure("copied in as values", async |pool| {
        let types = [Type::INT8, Type::TEXT];
        let mut copy = pool.copy_in_rows("COPY t FROM STDIN (FORMAT binary)", &types).await.unwrap();
        for id in 0..rows() {
            copy.write(&[&id, &format!("a name of some length, {id}")]).await.unwrap();
        }
        assert_eq!(i64::try_from(copy.finish().await.unwrap()).unwrap(), rows());
    });
}
