//! What of a password stays in the memory of a process that has no use for it any more.

use std::fs::{self, File};
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::time::Duration;

use pool_postgres::{Credentials, Host, PostgresConfig, PostgresPool};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use crate::common::alone;

/// A password of which each byte is changed, so that it is in memory only where somebody has put it.
const MASKED: &[u8; 61] =
    b"&f6'f!edgfa`cbml$/?->#\x227,%8362= edgfa`cbml\x14\x17\x16\x11\x10\x13\x12\x1d\x1c\x1f\x1e\x19\x18\x1b\x1a\x05\x04\x07\x06";
/// The part that is looked for: of what grows, what is left behind may lack the beginning or the end.
const PART: std::ops::Range<usize> = 16..28;
const MASK: u8 = 0x55;

/// The password, after a beginning and before an end; overwritten when it is dropped.
fn text(beginning: &str, end: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(beginning.len() + MASKED.len() + end.len()));
    text.push_str(beginning);
    text.extend(MASKED.iter().map(|byte| char::from(byte ^ MASK)));
    text.push_str(end);
    text
}

/// How often the password is in the memory that this process can write to.
fn times() -> usize {
    let mut memory = File::open("/proc/self/mem").expect("its own memory");
    let map = fs::read_to_string("/proc/self/maps").expect("a list of regions");
    let mut count = 0;
    for region in map.lines().filter(|line| line.split(' ').nth(1).is_some_and(|may| may.starts_with("rw"))) {
        let bounds = region.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let [start, end] = [bounds.0, bounds.1].map(|bound| u64::from_str_radix(bound, 16).expect("an address"));
        // Of the right size at once: what it grew out of would have the password, too.
        let mut part = Zeroizing::new(vec![0; usize::try_from(end - start).unwrap()]);
        memory.seek(SeekFrom::Start(start)).expect("an address");
        let mut read = 0;
        // What cannot be read is none of this program's.
        while let Ok(more @ 1..) = memory.read(&mut part[read..]) {
            read += more;
        }
        count += times_in(&part);
    }
    count
}

fn times_in(memory: &[u8]) -> usize {
    let (first, others) = MASKED[PART].split_first().expect("it is not empty");
    let is_it =
        |rest: &[u8]| rest.len() >= others.len() && rest.iter().zip(others).all(|(is, masked)| is ^ MASK == *masked);
    let (mut rest, mut count) = (memory, 0);
    // The standard library looks for a byte quickly in a debug build, too.
    while rest.skip_until(first ^ MASK).is_ok_and(|skipped| skipped > 0) {
        count += usize::from(is_it(rest));
    }
    count
}

/// A configuration from each source, of a password in no other place.
fn configurations(folder: &std::path::Path) -> Vec<PostgresConfig> {
    let file = folder.join("services.conf").display().to_string();
    fs::write(&file, text("[s]\npassword=", "\n").as_bytes()).unwrap();
    let service = |name: &str| (name == "PGSERVICEFILE").then(|| file.clone());
    let variable = |name: &str| (name == "PGPASSWORD").then(|| text("", "").to_string());
    vec![
        text("postgres://u:", "@127.0.0.1:1/d").parse().unwrap(),
        text("postgres://u:%73", "@127.0.0.1:1/d").parse().unwrap(),
        text("password=", " host=127.0.0.1").parse().unwrap(),
        text("host=127.0.0.1 password='a ", "'").parse().unwrap(),
        PostgresConfig::resolve_from("service=s", service).unwrap(),
        PostgresConfig::resolve_from("", variable).unwrap(),
    ]
}

#[test]
fn a_password_of_a_provider_is_overwritten_when_nobody_needs_it() {
    alone("", async || {
        let provider = async |_| Ok(Credentials::new(text("", "").to_string()).user("u"));
        let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut config = PostgresConfig::default();
        config.hosts = vec![Host::new("127.0.0.1", silent.local_addr().unwrap().port())];
        config.user = Some("u".to_owned());
        (config.pool.min_size, config.pool.max_size) = (0, 1);
        assert_eq!(times(), 0, "before");
        let builder = PostgresPool::builder_with_credentials(config, provider).unwrap();
        let pool = PostgresPool::from(builder.build().unwrap());
        let user = tokio::spawn({
            let pool = pool.clone();
            async move { pool.acquire().await.map(drop) }
        });
        let (mut stream, _) = silent.accept().await.unwrap();
        // It asks for TLS, knows what it will log in with, and nobody answers.
        stream.read_exact(&mut [0; 8]).await.unwrap();
        assert_eq!(times(), 2, "what the provider has said, and what this attempt was told of it");
        drop((stream, silent));
        pool.disconnect().await;
        assert!(user.await.unwrap().is_err(), "the pool is closed");
        drop(pool);
        assert_eq!(times(), 0, "of a pool");
    });
}

#[test]
fn a_password_is_overwritten_when_nobody_needs_it() {
    alone("", async || {
        let folder = std::env::temp_dir().join(format!("pool-alone-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(times(), 0, "before");
        let configs = configurations(&folder);
        assert!(times() >= configs.len(), "each has one, and they can be found");
        drop(configs);
        assert_eq!(times(), 0, "of configurations");
        for mut config in configurations(&folder) {
            config.hosts = vec![Host::new("127.0.0.1", 1)];
            (config.pool.breaker_failures, config.pool.breaker_after) = (Some(1), Duration::from_millis(1));
            let pool = PostgresPool::connect_lazy(config.clone()).unwrap();
            assert!(pool.acquire().await.is_err(), "nobody is there");
            let _ = (format!("{config:?} {config}"), format!("{pool:?}"));
            pool.disconnect().await;
        }
        assert_eq!(times(), 0, "of pools");
        assert!(text("sslmode=maybe password=", "").parse::<PostgresConfig>().is_err());
        assert!(text("password='", "").parse::<PostgresConfig>().is_err());
        assert!(text("postgres://u:", "%zz@h").parse::<PostgresConfig>().is_err());
        assert_eq!(times(), 0, "of errors");
        fs::remove_dir_all(&folder).unwrap();
    });
}
