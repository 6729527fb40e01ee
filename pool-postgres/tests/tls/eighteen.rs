//! What PostgreSQL 18 does differently, and whether it means to us what it means to libpq.

use std::time::Duration;

use pool_postgres::{PostgresConfig, PostgresPool};
use pool_testkit::postgres::{EphemeralBuilder, EphemeralPostgres};
use pool_testkit::proxy::{Direction, Frame, Proxy};
use pool_testkit::secrets::literal;

use crate::judge::{self, Judge, Outcome};
use crate::paper::{Authority, Folder, Paper};
use crate::world::NAME;

const HBA: &str =
    "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all ann 127.0.0.1/32 scram-sha-256\n";

/// Of version 18, with TLS, and the file in which its authority is known.
fn start(change: impl FnOnce(EphemeralBuilder) -> EphemeralBuilder) -> (Folder, EphemeralPostgres, String) {
    let (folder, authority) = (Folder::new(), Authority::new("the authority"));
    let Paper { certificate, key } = authority.issue(NAME);
    let builder = EphemeralPostgres::builder().with_version(18).hba(HBA).tls(&certificate, &key);
    let server = change(builder).start().unwrap();
    assert_eq!(server.version(), 18);
    let root = folder.write("root.crt", &authority.certificate).display().to_string();
    (folder, server, root)
}

fn text(port: u16, user: &str, more: &str) -> String {
    format!("host={NAME} port={port} user={user} dbname=postgres gssencmode=disable {more}")
}

async fn pool(port: u16, more: &str) -> PostgresPool {
    pool_testkit::secrets::listen();
    let text = format!("{} pool_max_conns=1 pool_min_conns=0", text(port, "postgres", more));
    PostgresPool::connect(text.parse::<PostgresConfig>().unwrap()).await.unwrap()
}

/// What comes of it for both.
async fn both(judge: &mut Judge, text: &str) -> Outcome {
    let (theirs, ours) = (judge.connect(text), judge::connect(text).await);
    let (why, reason) = (ours.reason(), theirs.reason());
    assert!(ours.is_like(&theirs), "{text}\n{ours} here: {why}\n{theirs} with libpq: {reason}");
    ours
}

/// A user goes away in the middle of a query, and the session goes on without it.
async fn abandon(pool: &PostgresPool) {
    let process = "SELECT pg_backend_pid()";
    let lease = pool.acquire().await.unwrap();
    let before: i32 = lease.query_one(process, &[]).await.unwrap().get(0);
    let sleep = lease.batch_execute("SELECT pg_sleep(3600)");
    assert!(tokio::time::timeout(Duration::from_millis(50), sleep).await.is_err());
    drop(lease);
    let after: i32 = pool.acquire().await.unwrap().query_one(process, &[]).await.unwrap().get(0);
    assert_eq!(after, before, "the query was cancelled, and not the session closed");
}

/// The server lets nobody in this way who does not name the protocol (ALPN).
#[tokio::test]
async fn tls_begins_directly() {
    let (folder, server, root) = start(|builder| builder);
    let (mut judge, mut encrypted) = (Judge::start(folder.path()), 0);
    for negotiation in ["direct", "postgres"] {
        for mode in ["prefer", "require", "verify-ca", "verify-full"] {
            let more = format!("sslmode={mode} sslnegotiation={negotiation} sslrootcert={root}");
            let outcome = both(&mut judge, &text(server.port(), "postgres", &more)).await;
            encrypted += usize::from(matches!(outcome, Outcome::Encrypted));
        }
    }
    assert_eq!(encrypted, 7, "it is refused to begin directly what need not be encrypted");
    let proxy = Proxy::postgres((NAME, server.port())).await.unwrap();
    let more = format!("sslmode=verify-full sslnegotiation=direct sslrootcert={root}");
    let pool = pool(proxy.address().port(), &more).await;
    abandon(&pool).await;
    pool.disconnect().await;
    let asked = proxy.seen().frames(Direction::ToServer, Frame::ENCRYPTION_REQUEST);
    assert!(proxy.seen().accepted >= 2, "a session, and a request to cancel");
    assert_eq!(asked, 0, "nobody is asked whether there is encryption");
}

/// From version 3.2 of the protocol on a request to cancel has a longer key.
#[tokio::test]
async fn whatever_version_of_the_protocol_is_allowed_queries_are_cancelled() {
    let (folder, server, _) = start(|builder| builder);
    let mut judge = Judge::start(folder.path());
    for more in ["", "max_protocol_version=3.0", "max_protocol_version=3.2", "max_protocol_version=latest"] {
        both(&mut judge, &text(server.port(), "postgres", more)).await;
        let pool = pool(server.port(), more).await;
        abandon(&pool).await;
        pool.disconnect().await;
    }
    let wanted = text(server.port(), "postgres", "min_protocol_version=3.2 max_protocol_version=latest");
    assert!(matches!(judge.connect(&wanted), Outcome::Plain | Outcome::Encrypted), "the server has it");
    let error = wanted.parse::<PostgresConfig>().unwrap_err().to_string();
    assert!(
        error.contains("min_protocol_version") && error.contains("version 3.0 of the protocol is spoken"),
        "{error}"
    );
}

#[tokio::test]
async fn passwords_are_bound_to_the_channel_however_tls_begins() {
    let (folder, server, root) = start(|builder| builder);
    let admin = pool(server.port(), "").await;
    let ann = format!("CREATE ROLE ann LOGIN PASSWORD {}", literal("s3cr3t bound"));
    admin.acquire().await.unwrap().batch_execute(&ann).await.unwrap();
    admin.disconnect().await;
    let (mut judge, mut refused) = (Judge::start(folder.path()), Vec::new());
    let verified = format!("sslmode=verify-full sslrootcert={root}");
    for way in ["sslmode=disable", &verified, &format!("{verified} sslnegotiation=direct")] {
        for binding in ["disable", "prefer", "require"] {
            for password in ["s3cr3t bound", "s3cr3t free"] {
                let more = format!("{way} channel_binding={binding} password='{password}'");
                let outcome = both(&mut judge, &text(server.port(), "ann", &more)).await;
                if matches!(outcome, Outcome::Refused(_)) && password == "s3cr3t bound" {
                    refused.push((way.to_owned(), binding));
                } else {
                    assert_eq!(matches!(outcome, Outcome::Refused(_)), password == "s3cr3t free", "{more}");
                }
            }
        }
    }
    assert_eq!(refused, [("sslmode=disable".to_owned(), "require")]);
}

#[tokio::test]
async fn what_a_server_is_is_known_from_what_it_reports() {
    let builder = EphemeralPostgres::builder().with_version(18).hba(HBA).replicated();
    let mut primary = builder.start().unwrap();
    let (folder, standby) = (Folder::new(), primary.standby().unwrap());
    let mut judge = Judge::start(folder.path());
    let mut fit = [Vec::new(), Vec::new()];
    for wanted in ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] {
        for (server, fit) in [&primary, &standby].iter().zip(&mut fit) {
            let more = format!("target_session_attrs={wanted}");
            if !matches!(both(&mut judge, &text(server.port(), "postgres", &more)).await, Outcome::Refused(_)) {
                fit.push(wanted);
            }
        }
    }
    assert_eq!(fit[0], ["any", "read-write", "primary", "prefer-standby"]);
    assert_eq!(fit[1], ["any", "read-only", "standby", "prefer-standby"]);
    let proxy = Proxy::postgres((NAME, primary.port())).await.unwrap();
    let pool = pool(proxy.address().port(), "sslmode=disable target_session_attrs=read-write").await;
    let asked: u64 = b"QP".iter().map(|kind| proxy.seen().frames(Direction::ToServer, *kind)).sum();
    assert_eq!((proxy.seen().accepted, asked), (1, 0), "nothing is asked");
    pool.disconnect().await;
}

/// Version 18 tells whenever `search_path` changes, and that may be long.
#[tokio::test]
async fn a_search_path_that_is_reported_does_no_harm() {
    let server = EphemeralPostgres::builder().with_version(18).start().unwrap();
    let proxy = Proxy::postgres((NAME, server.port())).await.unwrap();
    let reports = || proxy.seen().frames(Direction::ToClient, b'S');
    let pool = pool(proxy.address().port(), "sslmode=disable options='-c search_path=a,b'").await;
    let lease = pool.acquire().await.unwrap();
    let before = reports();
    let long = (0..400).map(|number| format!("schema_{number}")).collect::<Vec<_>>().join(", ");
    for path in ["c", &long, ""] {
        lease.execute("SELECT set_config('search_path', $1, false)", &[&path]).await.unwrap();
        let is: String = lease.query_one("SHOW search_path", &[]).await.unwrap().get(0);
        assert_eq!(is, path);
    }
    assert_eq!(reports() - before, 3);
    // In a transaction that is rolled back by the pool it is told twice.
    lease.batch_execute("BEGIN; SET LOCAL search_path = d").await.unwrap();
    drop(lease);
    let lease = pool.acquire().await.unwrap();
    let is: String = lease.query_one("SHOW search_path", &[]).await.unwrap().get(0);
    // As it was when the session began: what its user has set is undone.
    assert_eq!((is.as_str(), reports() - before, pool.stats().closed), ("a,b", 5, 0));
    drop(lease);
    pool.disconnect().await;
}

#[tokio::test]
async fn a_server_that_wants_a_token_is_refused() {
    let oauth = "host all ann 127.0.0.1/32 oauth issuer=\"https://issuer.invalid\" scope=openid\n";
    let hba = format!("host all postgres 127.0.0.1/32 trust\n{oauth}");
    let builder = EphemeralPostgres::builder().with_version(18).hba(&hba);
    let server = builder.setting("oauth_validator_libraries", "nobody").start().unwrap();
    let folder = Folder::new();
    let mut judge = Judge::start(folder.path());
    for more in ["", "require_auth=scram-sha-256", "require_auth=!oauth", "require_auth=oauth"] {
        for password in ["", "password=s3cr3t"] {
            let more = format!("{more} {password}");
            let outcome = both(&mut judge, &text(server.port(), "ann", &more)).await;
            assert!(matches!(outcome, Outcome::Refused(_)), "{more}");
            let told = "the server asks for OAUTHBEARER to log in, which is not supported";
            // That method is refused when the configuration is read.
            assert!(more.contains("require_auth=oauth") || outcome.reason().contains(told), "{}", outcome.reason());
        }
    }
}
