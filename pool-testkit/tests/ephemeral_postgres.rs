//! The real server for tests does what the tests rely on.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pool_testkit::postgres::{EphemeralPostgres, PgBouncer};

/// Runs a statement and returns the bytes of the answer, up to the server's `ReadyForQuery`.
fn ask(port: u16, database: &str, statement: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let startup =
        [&196_608_i32.to_be_bytes()[..], b"user\0postgres\0database\0", database.as_bytes(), b"\0\0"].concat();
    stream.write_all(&[&i32::try_from(startup.len() + 4).unwrap().to_be_bytes()[..], &startup].concat())?;
    until_ready(&mut stream)?;
    let length = i32::try_from(statement.len() + 5).unwrap().to_be_bytes();
    stream.write_all(&[b"Q", &length[..], statement.as_bytes(), b"\0"].concat())?;
    until_ready(&mut stream)
}

fn until_ready(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        stream.read_exact(&mut body)?;
        all.extend_from_slice(&body);
        if head[0] == b'Z' {
            return Ok(all);
        }
    }
}

fn says(answer: &[u8], text: &str) -> bool {
    answer.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Looks again and again until it holds, for a minute at most.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_server_answers_and_is_new_enough() {
    let server = EphemeralPostgres::start().unwrap();
    assert!(server.version() >= 15);
    assert!(says(&ask(server.port(), "postgres", "SELECT 6 * 7").unwrap(), "42"));
}

#[test]
fn two_servers_run_side_by_side() {
    let (one, other) = (EphemeralPostgres::start().unwrap(), EphemeralPostgres::start().unwrap());
    ask(one.port(), "postgres", "CREATE TABLE only_here ()").unwrap();
    assert!(says(&ask(other.port(), "postgres", "SELECT * FROM only_here").unwrap(), "does not exist"));
}

#[test]
fn committed_data_outlives_a_kill() {
    let mut server = EphemeralPostgres::start().unwrap();
    ask(server.port(), "postgres", "CREATE TABLE kept AS SELECT 4711 AS number").unwrap();
    server.kill9().unwrap();
    assert!(ask(server.port(), "postgres", "SELECT 1").is_err(), "nobody answers");
    server.restart().unwrap();
    assert!(says(&ask(server.port(), "postgres", "SELECT number FROM kept").unwrap(), "4711"));
    server.stop().unwrap();
    server.restart().unwrap();
    assert!(says(&ask(server.port(), "postgres", "SELECT number FROM kept").unwrap(), "4711"));
}

#[test]
fn a_paused_server_keeps_its_clients_waiting() {
    let mut server = EphemeralPostgres::start().unwrap();
    server.pause().unwrap();
    let port = server.port();
    let asking = std::thread::spawn(move || ask(port, "postgres", "SELECT 6 * 7").unwrap());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap(); // SSLRequest: answered at once by a server that runs
    assert!(stream.read_exact(&mut [0]).is_err(), "nobody answers");
    assert!(!asking.is_finished());
    server.resume().unwrap();
    assert!(says(&asking.join().unwrap(), "42"));
}

#[test]
fn settings_reach_the_server() {
    let server = EphemeralPostgres::builder().setting("work_mem", "7MB").start().unwrap();
    assert!(says(&ask(server.port(), "postgres", "SHOW work_mem").unwrap(), "7MB"));
}

#[test]
fn a_setting_that_the_server_refuses_is_explained_by_its_log() {
    let error = EphemeralPostgres::builder().setting("work_mem", "much").start().unwrap_err();
    assert!(error.to_string().contains("work_mem"), "{error}");
}

#[test]
fn databases_are_separate_and_go_away() {
    let server = EphemeralPostgres::start().unwrap();
    let (one, other) = (server.create_database().unwrap(), server.create_database().unwrap());
    assert_ne!(one.name(), other.name());
    ask(server.port(), one.name(), "CREATE TABLE only_here ()").unwrap();
    assert!(says(&ask(server.port(), other.name(), "SELECT * FROM only_here").unwrap(), "does not exist"));
    let name = one.name().to_owned();
    drop(one);
    assert!(says(
        &ask(server.port(), "postgres", &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")).unwrap(),
        "0"
    ));
}

#[test]
fn dropping_a_server_leaves_nothing_behind() {
    let server = EphemeralPostgres::start().unwrap();
    let (port, folder) = (server.port(), server.socket_dir().to_owned());
    assert!(folder.exists());
    drop(server);
    assert!(!folder.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

/// Not a test of its own: the process that the next test kills. On its own it starts nothing.
#[test]
fn victim() {
    if std::env::var_os("POOL_TESTKIT_VICTIM").is_none() {
        return;
    }
    let server = EphemeralPostgres::start().unwrap();
    println!("\nvictim {} {}", server.port(), server.socket_dir().display());
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
}

#[test]
fn nothing_is_left_after_a_sigkill() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env("POOL_TESTKIT_VICTIM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .map_while(Result::ok)
        .find(|line| line.starts_with("victim "))
        .expect("the victim says where its server is");
    let mut words = line.split(' ').skip(1);
    let (port, folder): (u16, &Path) = (words.next().unwrap().parse().unwrap(), Path::new(words.next().unwrap()));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok() && folder.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the server's files are gone", || !folder.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "and so is the server");
}

#[test]
fn a_killed_server_starts_again_every_time() {
    let mut server = EphemeralPostgres::start().unwrap();
    for round in 0..8 {
        server.kill9().unwrap();
        server.restart().unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
}

#[test]
fn a_standby_has_what_its_primary_has_and_goes_on_without_it() {
    let mut primary = EphemeralPostgres::builder().replicated().start().unwrap();
    let standby = primary.standby().unwrap();
    ask(primary.port(), "postgres", "CREATE TABLE t AS SELECT 'kept' AS word").unwrap();
    standby.catch_up(&primary).unwrap();
    assert!(says(&ask(standby.port(), "postgres", "SELECT word FROM t").unwrap(), "kept"));
    assert!(says(&ask(standby.port(), "postgres", "DROP TABLE t").unwrap(), "25006"));
    assert!(primary.promote().is_err(), "it is no standby");
    primary.kill9().unwrap();
    standby.promote().unwrap();
    assert!(says(&ask(standby.port(), "postgres", "DROP TABLE t").unwrap(), "DROP TABLE"));
    primary.follow(&standby).unwrap();
    primary.restart().unwrap();
    assert!(says(&ask(primary.port(), "postgres", "DROP TABLE t").unwrap(), "25006"));
}

#[test]
fn a_server_is_of_the_version_that_is_asked_for() {
    let server = EphemeralPostgres::builder().with_version(18).start().unwrap();
    assert_eq!(server.version(), 18);
    assert!(says(&ask(server.port(), "postgres", "SHOW server_version").unwrap(), "18."));
}

#[test]
fn pgbouncer_stands_in_front_of_a_server() {
    let server = EphemeralPostgres::start().unwrap();
    let mut bouncer = PgBouncer::in_front_of(&server).start().unwrap();
    assert!(bouncer.version().starts_with("PgBouncer 1."), "{}", bouncer.version());
    assert!(says(&ask(bouncer.port(), "postgres", "SELECT 6 * 7").unwrap(), "42"));
    assert!(says(&ask(bouncer.port(), "pgbouncer", "SHOW POOLS").unwrap(), "session"), "it has a console");
    bouncer.kill9().unwrap();
    assert!(ask(bouncer.port(), "postgres", "SELECT 1").is_err(), "nobody answers");
    bouncer.restart().unwrap();
    assert!(says(&ask(bouncer.port(), "postgres", "SELECT 6 * 7").unwrap(), "42"));
    let error = PgBouncer::in_front_of(&server).setting("pool_mode", "swimming").start().unwrap_err();
    assert!(error.to_string().contains("invalid value"), "{error}");
}
