//! What else belongs to a session: how TLS begins, old versions of it, keys with a password, the user who runs a server.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pool_postgres::{PostgresError, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;

use crate::files::{eventually, pass};
use crate::judge::{self, Judge, Outcome};
use crate::paper::{Authority, Folder, Paper, openssl};
use crate::world::{NAME, of_the_manual};

/// What comes of one attempt, which is the only one.
async fn refusal(text: &str) -> String {
    pool_testkit::secrets::listen();
    let text = format!("{text} user=postgres dbname=postgres pool_max_conns=1 pool_min_conns=0");
    match PostgresPool::connect(text.parse().unwrap()).await {
        Ok(_) => panic!("it is let in: {text}"),
        Err(error @ (PostgresError::Tls(_) | PostgresError::Acquire(_))) => error.to_string(),
        Err(other) => panic!("{other}"),
    }
}

/// An authority, and the file in which it is known.
pub(crate) fn authority() -> (Folder, Authority, String) {
    let (folder, authority) = (Folder::new(), Authority::new("the authority"));
    let root = folder.write("root.crt", &authority.certificate).display().to_string();
    (folder, authority, root)
}

#[tokio::test]
async fn certificates_of_version_1_are_taken_in_each_version_of_tls() {
    let (folder, authority, root) = authority();
    let Paper { certificate, key } = of_the_manual(&folder, &authority);
    let mut judge = Judge::start(folder.path());
    for version in ["TLSv1.2", "TLSv1.3"] {
        let builder = EphemeralPostgres::builder().tls(&certificate, &key);
        let builder = builder.setting("ssl_min_protocol_version", version);
        let server = builder.setting("ssl_max_protocol_version", version).start().unwrap();
        for more in ["sslmode=require".to_owned(), format!("sslmode=verify-full sslrootcert={root}")] {
            let text =
                format!("host={NAME} port={} user=postgres dbname=postgres gssencmode=disable {more}", server.port());
            for outcome in [judge.connect(&text), judge::connect(&text).await] {
                assert!(matches!(outcome, Outcome::Encrypted), "{version} {more}: {}", outcome.reason());
            }
        }
    }
}

#[tokio::test]
async fn a_key_with_a_password_is_refused_with_what_can_be_done() {
    let (folder, authority, root) = authority();
    let client = authority.issue("client");
    let certificate = folder.write("client.crt", &client.certificate).display().to_string();
    folder.write("plain.key", &client.key);
    openssl(&folder, "pkcs8 -topk8 -in plain.key -out new.key -passout pass:s3cr3t-battery");
    openssl(&folder, "ec -in plain.key -out old.key -aes128 -passout pass:s3cr3t-battery");
    for (file, mark) in [("new.key", "BEGIN ENCRYPTED PRIVATE KEY"), ("old.key", "Proc-Type: 4,ENCRYPTED")] {
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.contains(mark), "{text}");
        let file = folder.write(file, &text).display().to_string();
        let text = format!("host={NAME} sslmode=verify-full sslrootcert={root} sslcert={certificate} sslkey={file}");
        let refusal = refusal(&format!("{text} sslpassword=s3cr3t-battery")).await;
        assert!(refusal.contains(&file) && refusal.contains("it is encrypted, and only plain keys"), "{refusal}");
        assert!(refusal.contains("openssl pkey") && !refusal.contains("s3cr3t"), "{refusal}");
    }
}

/// Takes a connection and the request for TLS, and says nothing but that it is over. Its port, and how often it has done so.
fn rude() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((NAME, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = stream.read_exact(&mut [0; 8]);
            let _ = stream.flush();
        }
    });
    (port, count)
}

#[tokio::test]
async fn a_server_that_goes_away_when_it_is_asked_for_tls_is_told_as_that_and_another_is_tried() {
    let (port, count) = rude();
    let text = format!("host={NAME} port={port} sslmode=require pool_acquire_timeout=10");
    let (refusal, ()) = tokio::join!(refusal(&text), async {
        // What has come of the first one is known by then.
        eventually("it is tried again", async || count.load(Ordering::Relaxed) >= 2).await;
        pass(Duration::from_secs(11)).await;
    });
    assert!(refusal.contains("asking for TLS of"), "{refusal}");
    let (_folder, authority, _) = authority();
    let paper = authority.issue(NAME);
    let server = EphemeralPostgres::builder().tls(&paper.certificate, &paper.key).start().unwrap();
    let text =
        format!("host={NAME},{NAME} port={},{} user=postgres dbname=postgres sslmode=require", rude().0, server.port());
    let outcome = judge::connect(&text).await;
    assert!(matches!(outcome, Outcome::Encrypted), "{}", outcome.reason());
}

#[tokio::test]
async fn a_session_by_a_unix_socket_is_with_the_server_of_the_user_who_is_required() {
    let (folder, _, _) = authority();
    let server = EphemeralPostgres::start().unwrap();
    let owner = std::fs::metadata(server.socket_dir()).unwrap().uid();
    let owner = nix::unistd::User::from_uid(owner.into()).unwrap().unwrap().name;
    let mut judge = Judge::start(folder.path());
    for (required, is_let_in) in [(owner.as_str(), true), ("daemon", false), ("nobody there", false)] {
        let text = format!(
            "host={} port={} user=postgres dbname=postgres gssencmode=disable requirepeer='{required}'",
            server.socket_dir().display(),
            server.port()
        );
        let (theirs, ours) = (judge.connect(&text), judge::connect(&text).await);
        assert!(ours.is_like(&theirs), "{required}: {ours} here: {}, {theirs} with libpq", ours.reason());
        assert_eq!(matches!(ours, Outcome::Plain), is_let_in, "{required}: {}", ours.reason());
        assert!(is_let_in || ours.reason().contains(&format!("requirepeer is {required:?}")), "{}", ours.reason());
    }
}

#[tokio::test]
async fn what_is_said_of_tls_does_not_count_for_a_unix_socket() {
    let (folder, authority, _) = authority();
    let paper = authority.issue(NAME);
    let server = EphemeralPostgres::builder().tls(&paper.certificate, &paper.key).start().unwrap();
    let (socket, port) = (server.socket_dir().display().to_string(), server.port());
    let mut judge = Judge::start(folder.path());
    let (first, second) = (format!("{socket},{NAME}"), format!("{NAME},{socket}"));
    for (hosts, is_let_in) in [(socket, true), (first, true), (NAME.to_owned(), false), (second, false)] {
        for more in [
            "sslmode=verify-full",
            "sslmode=verify-ca",
            "sslmode=verify-full sslrootcert=/nonexistent",
            "sslmode=verify-ca sslrootcert=/nonexistent sslcert=/dev/null",
        ] {
            let text = format!("host={hosts} port={port} user=postgres dbname=postgres gssencmode=disable {more}");
            let (theirs, ours) = (judge.connect(&text), judge::connect(&text).await);
            let both = format!("{hosts} {more}: {ours} here: {}, {theirs} with libpq", ours.reason());
            assert!(ours.is_like(&theirs) && matches!(ours, Outcome::Plain) == is_let_in, "{both}");
        }
    }
}

#[tokio::test]
async fn files_that_come_later_are_used_where_a_unix_socket_had_no_need_of_them() {
    let (folder, authority, _) = authority();
    let paper = authority.issue(NAME);
    let server = EphemeralPostgres::builder().tls(&paper.certificate, &paper.key).start().unwrap();
    let root = folder.path().join("later.crt").display().to_string();
    let (nobody, port) = (folder.path().display(), server.port());
    let text = format!(
        "host={nobody},{NAME} port={port} user=postgres dbname=postgres sslmode=prefer sslrootcert={root} \
         pool_max_conns=1 pool_min_conns=0"
    );
    let pool: PostgresPool = PostgresPool::builder(text.parse().unwrap()).unwrap().build().unwrap().into();
    let refused = pool.acquire().await.map(drop).unwrap_err().to_string();
    assert!(refused.contains(&format!("asking for TLS of {NAME}:{port} failed: cannot set up TLS")), "{refused}");
    folder.write("later.crt", &authority.certificate);
    eventually("they are read", async || pool.acquire().await.is_ok()).await;
    let asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(pool.acquire().await.unwrap().query_one(asked, &[]).await.unwrap().get::<_, bool>(0));
    pool.disconnect().await;
}
