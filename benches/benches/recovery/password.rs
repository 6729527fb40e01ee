//! A password that is wrong.

use std::error::Error;
use std::time::{Duration, Instant};

use pool_core::AcquireError;
use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;
use serde::Serialize;

use super::part::{Part, count, millis};
use super::server::{NAME, start};
use crate::claim::{at_most, reported};
use crate::database::{client, settings};

const ROUNDS: usize = 20;
const RIGHT: &str = "correct-horse-battery";
const WRONG: &str = "incorrect-horse-battery";
/// What the first failure may take beyond a connect that succeeds, in milliseconds.
const MORE: f64 = 100.0;

#[derive(Debug, Serialize)]
struct Refused {
    rounds: usize,
    /// The median of connects that succeed, without a pool.
    connect_ms: f64,
    median_ms: f64,
    max_ms: f64,
    /// That did not end as they should.
    otherwise: usize,
    /// Whose texts have the password.
    told: usize,
    said: String,
}

pub(crate) async fn refuse(name: &str) -> Part {
    let hba = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    let server = start(EphemeralPostgres::builder().hba(hba)).await;
    let own = client(&server.url()).await.expect("a session");
    own.batch_execute(&format!("CREATE ROLE app LOGIN PASSWORD '{RIGHT}'")).await.expect("a role");
    let url = format!("postgres://app:{RIGHT}@127.0.0.1:{}/postgres", server.port());
    let (mut connects, mut failures, mut otherwise, mut told, mut said) = (vec![], vec![], 0, 0, String::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        drop(client(&url).await.expect("the password is right"));
        connects.push(started.elapsed());
        let (took, error) = first_acquire(server.port()).await;
        failures.push(took);
        otherwise += usize::from(!matches!(error, AcquireError::OpenFailed { .. }));
        told += usize::from(all_that_it_says(&error).contains(WRONG));
        said = error.to_string();
    }
    connects.sort_unstable();
    failures.sort_unstable();
    let refused = Refused {
        rounds: ROUNDS,
        connect_ms: millis(connects[ROUNDS / 2]),
        median_ms: millis(failures[ROUNDS / 2]),
        max_ms: millis(failures[ROUNDS - 1]),
        otherwise,
        told,
        said,
    };
    eprintln!("{name}: {refused:?}");
    let claims = vec![
        at_most(0.0, &format!("{name}, acquires that did not fail as they should"), count(otherwise)),
        at_most(0.0, &format!("{name}, errors that tell it"), count(told)),
        at_most(
            MORE,
            &format!("{name}, ms that the slowest took beyond a connect"),
            refused.max_ms - refused.connect_ms,
        ),
        reported(&format!("{name}, median until the first acquire failed, ms"), refused.median_ms),
        reported(&format!("{name}, median of a connect that succeeds, ms"), refused.connect_ms),
    ];
    Part::new(&refused, claims)
}

/// The error of the first acquire of a new pool, and how long it took from before there was a pool.
async fn first_acquire(port: u16) -> (Duration, AcquireError) {
    let mut config = settings(port, NAME);
    (config.user, config.password) = (Some("app".to_owned()), Some(WRONG.into()));
    let started = Instant::now();
    let pool = PostgresPool::connect_lazy(config).expect("settings that work");
    let error = pool.acquire().await.map(drop).expect_err("the password is wrong");
    let took = started.elapsed();
    pool.disconnect().await;
    (took, error)
}

/// Its texts, and those of all that is below it.
fn all_that_it_says(error: &AcquireError) -> String {
    let mut texts = vec![error.to_string(), format!("{error:?}")];
    let mut next = error.source();
    while let Some(cause) = next {
        texts.extend([cause.to_string(), format!("{cause:?}")]);
        next = cause.source();
    }
    texts.concat()
}
