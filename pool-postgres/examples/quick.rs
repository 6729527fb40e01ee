#![allow(missing_docs)]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use pool_postgres::{PostgresConfig, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;

const SQL: &str = "SELECT $1::int4";

fn round<F: Future<Output = ()> + Send + 'static>(rt: &tokio::runtime::Runtime, callers: usize, make: impl Fn(usize, Arc<AtomicU64>, Instant) -> F) -> f64 {
    let count = Arc::new(AtomicU64::new(0));
    let ends = Instant::now() + Duration::from_millis(700);
    let started = Instant::now();
    rt.block_on(async {
        let tasks: Vec<_> = (0..callers).map(|n| tokio::spawn(make(n, Arc::clone(&count), ends))).collect();
        for t in tasks { t.await.unwrap(); }
    });
    count.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

fn main() {
    let only: Option<String> = std::env::args().nth(1);
    let rounds: usize = std::env::args().nth(2).map_or(6, |r| r.parse().unwrap());
    let server = EphemeralPostgres::start().unwrap();
    let url = server.url().to_owned();
    let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (callers, conns) in [(64, 8), (256, 8), (256, 2)] {
        let mut config: PostgresConfig = url.parse().unwrap();
        (config.pool.max_size, config.pool.min_size) = (conns, conns);
        config.multiplexing.max_in_flight = 128;
        let pool = rt.block_on(async { let p = PostgresPool::connect(config).await.unwrap(); p.warm_up(conns, Duration::ZERO, Duration::from_secs(5)).await.unwrap(); p });
        let mux = pool.multiplexed();
        let clients: Vec<_> = rt.block_on(async {
            let mut all = Vec::new();
            for _ in 0..conns {
                let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                let statement = client.prepare(SQL).await.unwrap();
                all.push(Arc::new((client, statement)));
            }
            all
        });
        let mut sums = [0.0; 3];
        for _ in 0..rounds {
            if only.as_deref().is_none_or(|o| o == "bare") {
            sums[0] += round(&rt, callers, |n, count, ends| {
                let client = Arc::clone(&clients[n % conns]);
                async move {
                    let mut done = 0;
                    while Instant::now() < ends { let row = client.0.query_one(&client.1, &[&(n as i32)]).await.unwrap(); assert_eq!(row.get::<_, i32>(0), n as i32); done += 1; }
                    count.fetch_add(done, Ordering::Relaxed);
                }
            }); }
            if only.as_deref().is_none_or(|o| o == "mux") {
            sums[1] += round(&rt, callers, |n, count, ends| {
                let mux = mux.clone();
                async move {
                    let mut done = 0;
                    while Instant::now() < ends { let row = mux.query_one(SQL, &[&(n as i32)]).await.unwrap(); assert_eq!(row.get::<_, i32>(0), n as i32); done += 1; }
                    count.fetch_add(done, Ordering::Relaxed);
                }
            }); }
            if only.as_deref().is_none_or(|o| o == "own") {
            sums[2] += round(&rt, callers, |n, count, ends| {
                let pool = pool.clone();
                async move {
                    let mut done = 0;
                    while Instant::now() < ends { let row = pool.query_one(SQL, &[&(n as i32)]).await.unwrap(); assert_eq!(row.get::<_, i32>(0), n as i32); done += 1; }
                    count.fetch_add(done, Ordering::Relaxed);
                }
            }); }
        }
        let r = rounds as f64;
        println!("{callers} callers {conns} conns: bare {:.0} mux {:.0} own {:.0}; mux/bare {:.3} mux/own {:.3}; apart {:?}", sums[0]/r, sums[1]/r, sums[2]/r, sums[1]/sums[0], sums[1]/sums[2], mux.kept_apart());
        rt.block_on(pool.disconnect());
    }
}
