//! The certificates of the operating system, and the files that a user has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pool_postgres::PostgresConfig;
use pool_testkit::postgres::EphemeralPostgres;

use crate::again::{again, name_of};
use crate::judge::{self, Judge, Outcome, POOL};
use crate::lists::folder;
use crate::paper::{self, Authority, Folder, Paper};
use crate::world::NAME;

/// Names the certificates of the operating system, for OpenSSL as for us.
const SYSTEM: &str = "SSL_CERT_FILE";
/// Is set in a process that has one test.
const ALONE: &str = "POOL_TEST_ALONE";

/// Runs a test in a process of its own, where the operating system has its certificates in a file that is not there yet.
fn alone<F: AsyncFnOnce(PathBuf)>(case: F) {
    if std::env::var_os(ALONE).is_some() {
        let file = std::env::var_os(SYSTEM).expect("a file of the test's own").into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.unwrap().block_on(case(file));
    }
    let folder = Folder::new();
    let mut command = Command::new("env");
    command.env(ALONE, "1").env(SYSTEM, folder.path().join("system.crt"));
    again(&mut command, name_of::<F>());
}

/// What comes of it for us, with the files of a user.
async fn connect_from(home: &Path, text: &str) -> Outcome {
    let home = home.to_str().map(str::to_owned);
    let lookup = |name: &str| home.clone().filter(|_| name == "HOME");
    judge::attempt(PostgresConfig::resolve_from(&format!("{text} {POOL}"), lookup)).await
}

/// What the user has, what is said, and what becomes of it; on purpose, another thing than with libpq.
type Case<'a> = (&'a [&'a str], String, bool, bool);

#[test]
fn what_the_system_and_the_user_have_counts_where_it_counts_for_libpq() {
    alone(async |system: PathBuf| {
        let (home, authority) = (Folder::new(), Authority::new("the authority"));
        let params = paper::draft(NAME);
        let Paper { certificate, key } = authority.sign(&params);
        let server = EphemeralPostgres::builder().tls(&certificate, &key).start().unwrap();
        fs::write(system, &authority.certificate).unwrap();
        let (clears, revokes) =
            (authority.revoke(&[], 2100), authority.revoke(&[params.serial_number.as_ref().unwrap()], 2100));
        let (own, client) = (home.path().join(".postgresql"), authority.issue("client"));
        fs::create_dir_all(&own).unwrap();
        let texts = [
            ("root.crt", &authority.certificate),
            ("root.crl", &revokes),
            ("postgresql.crt", &client.certificate),
            ("postgresql.key", &client.key),
        ];
        let in_folder = folder(&home, "clears.d", &[&clears]);
        let empty = folder(&home, "empty.d", &[]);
        let in_file = format!("sslcrl={}", home.write("clears.crl", &clears).display());
        let denied = format!("sslcrl={}", home.write("revokes.crl", &revokes).display());
        let and = |one: &str, other: &str| format!("{one} {other}");
        let (full, system) = ("sslmode=verify-full", "sslrootcert=system");
        let cases: [Case<'_>; 17] = [
            (&[], full.to_owned(), false, false),
            (&["root.crt"], full.to_owned(), true, false),
            (&["root.crt", "root.crl"], full.to_owned(), false, false),
            (&["root.crt", "root.crl"], and(full, &in_folder), true, false),
            (&["root.crt", "root.crl"], and(full, &in_file), true, false),
            (&["root.crt", "root.crl"], and(full, "sslcrldir=/nonexistent"), false, false),
            (&["root.crt", "root.crl"], and(full, "sslcrl=/nonexistent"), true, false),
            (&["postgresql.crt"], "sslmode=require".to_owned(), false, false),
            (&["postgresql.key"], "sslmode=require".to_owned(), true, false),
            (&["postgresql.crt", "postgresql.key"], "sslmode=require".to_owned(), true, false),
            (&[], system.to_owned(), true, false),
            (&["root.crl"], system.to_owned(), true, false),
            (&["root.crt", "root.crl"], system.to_owned(), true, false),
            (&[], and(system, &in_folder), true, false),
            (&[], and(system, &in_file), true, false),
            (&[], and(system, &denied), false, true),
            (&[], and(system, &empty), false, true),
        ];
        let (mut judge, mut wrong) = (Judge::start(home.path()), Vec::new());
        for (files, more, is_let_in, is_on_purpose) in cases {
            for (name, text) in texts {
                let _ = fs::remove_file(own.join(name));
                if files.contains(&name) {
                    home.write(&format!(".postgresql/{name}"), text);
                }
            }
            let port = server.port();
            let text = format!("host={NAME} port={port} user=postgres dbname=postgres gssencmode=disable {more}");
            let (theirs, ours) = (judge.connect(&text), connect_from(home.path(), &text).await);
            if ours.is_like(&theirs) == is_on_purpose || matches!(ours, Outcome::Encrypted) != is_let_in {
                let (here, there) = (ours.reason(), theirs.reason());
                wrong.push(format!("{files:?} {more}: {ours} here: {here}, {theirs} with libpq: {there}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
