//! Prepared statements, asked through the pool by many callers for some time.

use std::io::{BufRead, Write, stdin, stdout};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, query_scalar};
use tokio::runtime::Builder;

use crate::seen::Tried;

/// What is asked, with a number, which comes back: at once, or after 50 ms.
const FAST: &str = "SELECT $1::int";
const SLOW: &str = "SELECT $1::int FROM pg_sleep(0.05)";

/// What a line asks for.
#[derive(Clone, Copy)]
struct Turn {
    /// What counts: neither how it begins, nor how it ends.
    begin: Instant,
    end: Instant,
    /// One of so many queries of a caller is slow; 0: none.
    slow: usize,
}

/// What a caller has seen.
#[derive(Default)]
struct Answers {
    /// How many came while it counted.
    count: u64,
    /// How many came at all.
    asked: u64,
    /// How many nanoseconds each took that was under way meanwhile, the slow ones left out.
    nanos: Vec<u64>,
}

/// For each line of standard input, has callers ask for so long, and prints what they have seen.
pub(crate) fn take(url: &str, connections: &str) -> Tried<()> {
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
    let words: Vec<u32> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [callers, warm_up, counted, slow] = words[..] else {
        return Err("a line is `CALLERS WARM_UP COUNTED SLOW`, both times in milliseconds".into());
    };
    let begin = Instant::now() + Duration::from_millis(warm_up.into());
    let turn = Turn { begin, end: begin + Duration::from_millis(counted.into()), slow: slow as usize };
    let tasks: Vec<_> = (0..callers).map(|caller| tokio::spawn(call(pool.clone(), caller as usize, turn))).collect();
    // Up to a minute, in nanoseconds.
    let (mut count, mut asked, mut nanos) = (0, 0, Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?);
    for task in tasks {
        let answers = task.await??;
        count += answers.count;
        asked += answers.asked;
        answers.nanos.into_iter().for_each(|taken| nanos.saturating_record(taken));
    }
    let recorded = nanos.iter_recorded();
    let recorded = recorded.map(|it| format!("[{},{}]", it.value_iterated_to(), it.count_at_value()));
    let recorded = recorded.collect::<Vec<_>>().join(",");
    Ok(format!(r#"{{"answers":{count},"asked":{asked},"nanos":[{recorded}]}}"#))
}

async fn call(pool: PgPool, caller: usize, turn: Turn) -> Result<Answers, sqlx::Error> {
    let mut answers = Answers::default();
    let (mut begun, mut asked) = (Instant::now(), 0_i32);
    while begun < turn.end {
        let place = caller + usize::try_from(asked).unwrap_or(0);
        let is_slow = turn.slow > 0 && place.is_multiple_of(turn.slow);
        let sql = if is_slow { SLOW } else { FAST };
        let answer: i32 = query_scalar(sql).bind(asked).fetch_one(&pool).await?;
        assert_eq!(answer, asked, "the answer to its own question");
        let answered = Instant::now();
        answers.asked += 1;
        answers.count += u64::from((turn.begin..turn.end).contains(&answered));
        if answered >= turn.begin && !is_slow {
            answers.nanos.push(u64::try_from((answered - begun).as_nanos()).unwrap_or(u64::MAX));
        }
        (begun, asked) = (answered, asked + 1);
    }
    Ok(answers)
}
