//! One prepared statement, asked through the pool by many.

use std::io::{BufRead, Write, stdin, stdout};
use std::time::Instant;

use hdrhistogram::Histogram;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, query_scalar};
use tokio::runtime::Builder;

use crate::seen::Tried;

/// For each line of standard input, has so many callers ask so many times each, and prints what they have seen.
pub(crate) fn answer(url: &str, connections: &str) -> Tried<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let connections = connections.parse()?;
    let options = PgPoolOptions::new().max_connections(connections).min_connections(connections);
    let pool = runtime.block_on(options.connect(url))?;
    for line in stdin().lock().lines() {
        let told = runtime.block_on(turn(&pool, &line?))?;
        let mut out = stdout().lock();
        writeln!(out, "{told}")?;
        out.flush()?;
    }
    Ok(())
}

async fn turn(pool: &PgPool, line: &str) -> Tried<String> {
    let (callers, times) = line.split_once(' ').ok_or("a line is `CALLERS TIMES`")?;
    let (callers, times): (u32, i32) = (callers.parse()?, times.parse()?);
    // Up to a minute, in nanoseconds.
    let mut taken = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let begun = Instant::now();
    let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(ask(pool.clone(), times))).collect();
    for task in tasks {
        for nanos in task.await?? {
            taken.saturating_record(nanos);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let micros = |quantile| std::time::Duration::from_nanos(taken.value_at_quantile(quantile)).as_secs_f64() * 1e6;
    let (p50, p99, p999) = (micros(0.5), micros(0.99), micros(0.999));
    let answers = taken.len();
    Ok(format!(r#"{{"answers":{answers},"seconds":{seconds:.6},"p50":{p50:.1},"p99":{p99:.1},"p999":{p999:.1}}}"#))
}

/// How many nanoseconds each answer took.
async fn ask(pool: PgPool, times: i32) -> Result<Vec<u64>, sqlx::Error> {
    let mut taken = Vec::new();
    for n in 0..times {
        let begun = Instant::now();
        let answer: i32 = query_scalar("SELECT $1::int").bind(n).fetch_one(&pool).await?;
        taken.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        assert_eq!(answer, n, "the answer to its own question");
    }
    Ok(taken)
}
