//! Every kind of entry in `pg_hba.conf`, with every `require_auth` and password: who is let in is let in as with libpq.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::secrets::literal;

use crate::authority::Authority;
use crate::judge::{self, Judge, Outcome};

/// What a client may demand, the first nothing at all.
const DEMANDS: [&str; 10] = [
    "",
    "require_auth=password",
    "require_auth=md5",
    "require_auth=scram-sha-256",
    "require_auth=none",
    "require_auth=!password",
    "require_auth=!none",
    "require_auth=scram-sha-256,md5",
    "require_auth=!scram-sha-256,!md5",
    "require_auth=password,none",
];
/// Right, wrong, and none.
const PASSWORDS: [&str; 3] = ["password='s3cr3t right'", "password='s3cr3t wrong'", ""];
/// Who is asked how, and how the password is kept.
const ENTRIES: [(&str, &str, &str); 6] = [
    ("trusted", "trust", "scram-sha-256"),
    ("clear", "password", "scram-sha-256"),
    ("hashed", "md5", "md5"),
    // Whose password is kept otherwise is asked otherwise.
    ("moved", "md5", "scram-sha-256"),
    ("salted", "scram-sha-256", "scram-sha-256"),
    // Nothing fits.
    ("stuck", "scram-sha-256", "md5"),
];

fn name_of(id: &str) -> String {
    let mut command = Command::new("id");
    command.arg("-un").args(Some(id).filter(|id| !id.is_empty()));
    let output = command.output().expect("id tells names");
    String::from_utf8(output.stdout).expect("a name").trim().to_owned()
}

/// A server with all entries, and a role for the user who runs this.
async fn start(user: &str) -> EphemeralPostgres {
    let (certificate, key) = Authority::new().certificate("127.0.0.1");
    let entries = ENTRIES.map(|(role, how, _)| format!("host all {role} 127.0.0.1/32 {how}\n")).concat();
    let hba = format!("local all all peer\nhost all postgres 127.0.0.1/32 trust\n{entries}");
    let server = EphemeralPostgres::builder().hba(&hba).tls(&certificate, &key).start().unwrap();
    std::fs::set_permissions(server.socket_dir(), std::fs::Permissions::from_mode(0o755)).ok();
    let admin = PostgresPool::connect(server.url().parse().unwrap()).await.unwrap();
    let lease = admin.acquire().await.unwrap();
    for (role, _, kept) in ENTRIES {
        let password = literal("s3cr3t right");
        let create = format!("SET password_encryption = '{kept}'; CREATE ROLE {role} LOGIN PASSWORD {password}");
        lease.batch_execute(&create).await.unwrap();
    }
    if user != "postgres" {
        lease.batch_execute(&format!("CREATE ROLE \"{user}\" LOGIN")).await.unwrap();
    }
    drop(lease);
    admin.disconnect().await;
    server
}

/// What has been compared.
struct Cells {
    judge: Judge,
    all: usize,
    wrong: Vec<String>,
}

impl Cells {
    fn new() -> Self {
        Self { judge: Judge::start(Path::new("/nonexistent")), all: 0, wrong: Vec::new() }
    }

    /// Whether both are let in.
    async fn compare(&mut self, text: &str) -> bool {
        let (theirs, ours) = (self.judge.connect(text), judge::connect(text).await);
        self.all += 1;
        if !ours.is_like(&theirs) {
            let (why, reason) = (ours.reason(), theirs.reason());
            self.wrong.push(format!("{text}\n    {ours} here: {why}\n    {theirs} with libpq: {reason}"));
        }
        !matches!(ours, Outcome::Refused(_))
    }

    fn end(self, expected: usize) {
        assert!(self.wrong.is_empty(), "{} of {}:\n{}", self.wrong.len(), self.all, self.wrong.join("\n"));
        assert_eq!(self.all, expected, "all were compared");
    }
}

#[tokio::test]
async fn every_entry_lets_in_whom_it_lets_in_with_libpq() {
    pool_testkit::secrets::listen();
    let server = start(&name_of("")).await;
    let mut cells = Cells::new();
    for (role, _, _) in ENTRIES {
        for mode in ["disable", "require"] {
            let at = format!("host=127.0.0.1 port={} user={role} dbname=postgres sslmode={mode}", server.port());
            for demand in DEMANDS {
                let mut is_in = Vec::new();
                for password in PASSWORDS {
                    is_in.push(cells.compare(&format!("{at} gssencmode=disable {demand} {password}")).await);
                }
                if demand.is_empty() {
                    let (right, other) = (role != "stuck", role == "trusted");
                    assert_eq!(is_in, [right, other, other], "{role} {mode}: what a password is for");
                }
            }
        }
    }
    cells.end(ENTRIES.len() * 2 * DEMANDS.len() * PASSWORDS.len());
}

#[tokio::test]
async fn a_peer_is_known_by_its_socket_as_with_libpq() {
    pool_testkit::secrets::listen();
    let user = name_of("");
    let server = start(&user).await;
    let runs = name_of(&std::fs::metadata(server.data_dir()).unwrap().uid().to_string());
    let mut cells = Cells::new();
    let peers = [String::new(), format!("requirepeer={runs}"), "requirepeer=nobody_at_all".to_owned()];
    for role in [&*user, "clear"] {
        let folder = server.socket_dir().display();
        let at = format!("host={folder} port={} user={role} dbname=postgres gssencmode=disable", server.port());
        for (peer, is_right) in peers.iter().zip([true, true, false]) {
            for demand in DEMANDS {
                let mut is_in = Vec::new();
                for password in PASSWORDS {
                    is_in.push(cells.compare(&format!("{at} {peer} {demand} {password}")).await);
                }
                // Nobody is asked for a password.
                if ["", "require_auth=none"].contains(&demand) {
                    assert_eq!(is_in, [is_right && role == user; 3], "{role} {peer} {demand}");
                }
            }
        }
    }
    cells.end(2 * 3 * DEMANDS.len() * PASSWORDS.len());
}
