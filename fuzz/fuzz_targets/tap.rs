//! Whatever a server says, whole or in pieces, the pool goes on: nothing panics, what is known of the session is what a plain reading of the same bytes knows, and a session that
//! cannot be put in order is given up in time.
//!
//! The first byte is the length of the pieces; the rest is what a server says that has let the client in.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pool_postgres::pool_core::{Attempt, Driver};
use pool_postgres::{PostgresConfig, PostgresConnection, PostgresDriver, SessionStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

const LOGIN: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x07\0\0\0\x08Z\0\0\0\x05I";
const CANCEL_REQUEST: usize = 16;
const MOMENT: Duration = Duration::from_millis(20);

struct World {
    runtime: Runtime,
    listener: UnixListener,
    driver: PostgresDriver,
}

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("fuzz-tap-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the socket");
    folder
});

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let path = FOLDER.join(".s.PGSQL.5432");
    let _ = std::fs::remove_file(&path);
    let listener = runtime.block_on(async { UnixListener::bind(path) }).expect("a socket");
    let text = format!("host={} user=fuzz sslmode=disable", FOLDER.display());
    let config: PostgresConfig = text.parse().expect("settings");
    World { runtime, listener, driver: PostgresDriver::new(config).expect("a driver") }
});

/// The status of the last answer, and whether all that has come is whole messages.
fn read(mut bytes: &[u8]) -> (Option<u8>, bool) {
    let mut status = None;
    while let [kind, a, b, c, d, rest @ ..] = bytes {
        let body = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(4);
        if rest.len() < body {
            return (status, false);
        }
        if *kind == b'Z' {
            status = rest.first().filter(|_| body > 0).copied();
        }
        bytes = &rest[body..];
    }
    (status, bytes.is_empty())
}

/// What is known of a session that was told this is what it was told.
fn agrees(connection: &PostgresConnection, said: &[u8]) {
    let activity = connection.activity();
    let all = (LOGIN.len() + said.len()) as u64;
    assert!(activity.bytes_received <= all, "{activity:?}");
    let (Some(status), true) = read(said) else { return };
    let is_over = connection.is_closed() || activity.status == SessionStatus::Active;
    if activity.bytes_received < all || is_over {
        return;
    }
    let known = match activity.status {
        SessionStatus::Idle => b'I',
        SessionStatus::Failed => b'E',
        _ => status,
    };
    assert_eq!(known, status, "{activity:?}");
}

async fn converse(world: &World, piece: usize, said: &[u8]) {
    let attempt = Attempt::default();
    let serving = async {
        loop {
            let (mut stream, _) = world.listener.accept().await.expect("a client");
            // Whoever asks to cancel something says so in fewer bytes, and may have gone.
            let read = stream.read(&mut [0; 4096]).await.unwrap_or(0);
            if read > CANCEL_REQUEST && stream.write_all(LOGIN).await.is_ok() {
                return stream;
            }
        }
    };
    let (connection, stream) = tokio::join!(world.driver.connect(&attempt), serving);
    let Ok(mut connection) = connection else { return };
    let (mut theirs, mut writing) = stream.into_split();
    let writes = async {
        for part in said.chunks(piece) {
            if writing.write_all(part).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    // It hears what is asked, and says what it says.
    let hears = async { while theirs.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {} };
    let asks = async {
        let _ = timeout(MOMENT, async { tokio::join!(connection.batch_execute("SELECT 1"), writes) }).await;
        let _ = world.driver.inspect(&mut connection);
        agrees(&connection, said);
        let _ = timeout(MOMENT, world.driver.reset(&mut connection)).await;
        let _ = world.driver.inspect(&mut connection);
        drop(connection);
    };
    tokio::select! {
        () = asks => {}
        () = async { hears.await; std::future::pending().await } => {}
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, said)) = bytes.split_first() else { return };
    let world = &*WORLD;
    world.runtime.block_on(converse(world, usize::from(*piece).max(1), said));
});
