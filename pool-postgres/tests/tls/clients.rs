//! Certificates of clients: which are sent, from which files, and whom a server lets in by them, as with libpq.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::secrets::literal;

use crate::judge::{self, Judge, Outcome};
use crate::paper::{Authority, Folder, Paper, openssl};
use crate::world::NAME;

/// By a certificate in their name alone, by that and a password, by any certificate, and by none.
const HBA: &str = "local all all trust
host all postgres 127.0.0.1/32 trust
hostssl all certified 127.0.0.1/32 cert
hostssl all twofold 127.0.0.1/32 scram-sha-256 clientcert=verify-full
hostssl all known 127.0.0.1/32 trust clientcert=verify-ca
hostssl all free 127.0.0.1/32 trust
";
const ROLES: [&str; 4] = ["certified", "twofold", "known", "free"];

async fn start(folder: &Folder, authority: &Authority) -> EphemeralPostgres {
    let file = folder.share("clients.crt", &authority.certificate);
    let Paper { certificate, key } = authority.issue(NAME);
    let builder = EphemeralPostgres::builder().tls(&certificate, &key).hba(HBA);
    let server = builder.setting("ssl_ca_file", &file.display().to_string()).start().unwrap();
    let pool = PostgresPool::connect(server.url().parse().unwrap()).await.unwrap();
    let lease = pool.acquire().await.unwrap();
    for role in ROLES {
        let create = format!("CREATE ROLE {role} LOGIN PASSWORD {}", literal("s3cr3t-battery"));
        lease.batch_execute(&create).await.unwrap();
    }
    drop(lease);
    pool.disconnect().await;
    server
}

/// What a client is told of its certificate and key; in their names, it is that of the role.
fn files(folder: &Folder, authority: &Authority) -> Vec<(&'static str, String)> {
    for (name, paper) in ROLES.map(|role| (role, authority.issue(role))) {
        folder.write(&format!("{name}.crt"), &paper.certificate);
        folder.write(&format!("{name}.key"), &paper.key);
        folder.write(&format!("{name}.text.key"), &format!("This is a key.\n\n{}", paper.key));
        openssl(folder, &format!("pkey -in {name}.key -outform DER -out {name}.pkcs8.key"));
        openssl(folder, &format!("ec -in {name}.key -outform DER -out {name}.sec1.key"));
    }
    let of = |name: &str, paper: &Paper| {
        let (certificate, key) = (
            folder.write(&format!("{name}.crt"), &paper.certificate),
            folder.write(&format!("{name}.key"), &paper.key),
        );
        format!("sslcert={} sslkey={}", certificate.display(), key.display())
    };
    openssl(folder, "genrsa -traditional -out rsa.key 2048");
    openssl(folder, "rsa -in rsa.key -traditional -outform DER -out rsa.der");
    folder.write("ca.crt", &authority.certificate);
    folder.write("ca.key", &authority.key);
    openssl(folder, "req -new -key rsa.key -subj /CN=certified -out rsa.csr");
    openssl(folder, "x509 -req -in rsa.csr -days 30 -CA ca.crt -CAkey ca.key -set_serial 98 -out rsa.crt");
    openssl(folder, "x509 -in certified.crt -outform DER -out der.crt");
    folder.write("empty", "");
    folder.write("nonsense", "nonsense");
    fs::copy(folder.path().join("certified.key"), folder.path().join("wide.key")).unwrap();
    fs::set_permissions(folder.path().join("wide.key"), fs::Permissions::from_mode(0o640)).unwrap();
    for name in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
        let is_key =
            name.to_string_lossy().ends_with(".key") && !name.ends_with("wide.key") || name.ends_with("rsa.der");
        if is_key {
            fs::set_permissions(name, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    let at = folder.path().display();
    let stranger = of("stranger", &Authority::new("another one").issue("certified"));
    vec![
        ("nothing", String::new()),
        ("its own", format!("sslcert={at}/ROLE.crt sslkey={at}/ROLE.key")),
        ("its own, not to be sent", format!("sslcert={at}/ROLE.crt sslkey={at}/ROLE.key sslcertmode=disable")),
        ("its own, which has to be sent", format!("sslcert={at}/ROLE.crt sslkey={at}/ROLE.key sslcertmode=require")),
        ("nothing, which has to be sent", "sslcertmode=require".to_owned()),
        ("one of another name", of("other", &authority.issue("other"))),
        ("one of another authority", stranger),
        ("a key as DER (PKCS #8)", format!("sslcert={at}/ROLE.crt sslkey={at}/ROLE.pkcs8.key")),
        ("a key as DER (SEC 1)", format!("sslcert={at}/ROLE.crt sslkey={at}/ROLE.sec1.key")),
        ("a key as DER (PKCS #1)", format!("sslcert={at}/rsa.crt sslkey={at}/rsa.der")),
        ("a key after some text", format!("sslcert={at}/ROLE.crt sslkey={at}/ROLE.text.key")),
        ("a certificate that is not there", format!("sslcert={at}/none sslkey={at}/ROLE.key")),
        ("neither that nor its key", format!("sslcert={at}/none sslkey={at}/none")),
        ("one that is not there and has to be sent", format!("sslcert={at}/none sslkey={at}/none sslcertmode=require")),
        ("a certificate below a file", format!("sslcert={at}/ROLE.crt/none sslkey={at}/ROLE.key")),
        ("a certificate without a key", format!("sslcert={at}/ROLE.crt")),
        ("a key that is not there", format!("sslcert={at}/ROLE.crt sslkey={at}/none")),
        ("a key of another certificate", format!("sslcert={at}/ROLE.crt sslkey={at}/other.key")),
        ("a key for more than its owner", format!("sslcert={at}/certified.crt sslkey={at}/wide.key")),
        ("a folder as a key", format!("sslcert={at}/ROLE.crt sslkey={at}")),
        ("a key that is empty", format!("sslcert={at}/ROLE.crt sslkey={at}/empty")),
        ("a key that is none", format!("sslcert={at}/ROLE.crt sslkey={at}/nonsense")),
        ("a folder as a certificate", format!("sslcert={at} sslkey={at}/ROLE.key")),
        ("a certificate that is empty", format!("sslcert={at}/empty sslkey={at}/ROLE.key")),
        ("a certificate that is none", format!("sslcert={at}/nonsense sslkey={at}/ROLE.key")),
        ("a certificate as DER", format!("sslcert={at}/der.crt sslkey={at}/certified.key")),
        ("a key that is the certificate", format!("sslcert={at}/ROLE.crt sslkey={at}/ROLE.crt")),
    ]
}

/// Where it may go on without TLS: what comes out otherwise than with libpq.
async fn wrong_with_prefer(server: &EphemeralPostgres, files: &[(&str, String)], judge: &mut Judge) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, settings) in files {
        let text = format!(
            "host={NAME} port={} user=postgres dbname=postgres gssencmode=disable sslmode=prefer {}",
            server.port(),
            settings.replace("ROLE", "free")
        );
        let (theirs, ours) = (judge.connect(&text), judge::connect(&text).await);
        // On purpose: without TLS nobody would be shown what was to be shown.
        let is_stricter = matches!(theirs, Outcome::Plain) && ours.reason().contains("cannot set up TLS");
        if !ours.is_like(&theirs) && !is_stricter {
            wrong.push(format!("{name}, prefer: {ours} here: {}, {theirs} with libpq", ours.reason()));
        }
    }
    wrong
}

#[tokio::test]
async fn a_client_shows_the_certificate_that_it_shows_with_libpq_and_is_let_in_by_it() {
    let (folder, authority) = (Folder::new(), Authority::new("the authority"));
    let server = start(&folder, &authority).await;
    let files = files(&folder, &authority);
    let (mut judge, mut wrong, mut let_in) = (Judge::start(folder.path()), Vec::new(), Vec::new());
    for (name, settings) in &files {
        for role in ROLES {
            for password in ["", " password=s3cr3t-battery"] {
                let text = format!(
                    "host={NAME} port={} user={role} dbname=postgres gssencmode=disable sslmode=require {}{password}",
                    server.port(),
                    settings.replace("ROLE", role)
                );
                let (theirs, ours) = (judge.connect(&text), judge::connect(&text).await);
                if matches!(ours, Outcome::Encrypted) {
                    let_in.push((*name, role, !password.is_empty()));
                }
                if !ours.is_like(&theirs) {
                    let (here, there) = (ours.reason(), theirs.reason());
                    wrong.push(format!(
                        "{name}, {role}{password}:\n {ours} here: {here}\n {theirs} with libpq: {there}"
                    ));
                }
            }
        }
    }
    wrong.extend(wrong_with_prefer(&server, &files, &mut judge).await);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    who_is_let_in(&let_in);
}

/// By which files, as which role, and with a password.
type LetIn = (&'static str, &'static str, bool);

/// What the entries of the roles say, so that it is not nobody who is let in.
fn who_is_let_in(let_in: &[LetIn]) {
    let of_rsa = "a key as DER (PKCS #1)";
    assert!(let_in.contains(&(of_rsa, "certified", false)));
    for (role, needs_password) in [("certified", false), ("twofold", true), ("known", false), ("free", false)] {
        assert!(let_in.contains(&("its own", role, true)), "{role}");
        assert_eq!(let_in.contains(&("its own", role, false)), !needs_password, "{role}");
        assert_eq!(let_in.contains(&("one of another name", role, true)), ["known", "free"].contains(&role), "{role}");
        assert_eq!(let_in.contains(&("nothing", role, true)), role == "free", "{role}");
    }
}

#[tokio::test]
async fn a_certificate_that_has_to_be_sent_is_one_that_the_server_asks_for() {
    let (folder, authority) = (Folder::new(), Authority::new("the authority"));
    let Paper { certificate, key } = authority.issue(NAME);
    // It knows no authority, so it asks nobody for a certificate.
    let server = EphemeralPostgres::builder().tls(&certificate, &key).start().unwrap();
    let client = authority.issue("postgres");
    let certificate = folder.write("client.crt", &client.certificate).display().to_string();
    let key = folder.write("client.key", &client.key).display().to_string();
    let mut judge = Judge::start(folder.path());
    for (mode, is_let_in) in [("disable", true), ("allow", true), ("require", false)] {
        let text = format!(
            "host={NAME} port={} user=postgres dbname=postgres gssencmode=disable sslmode=require sslcertmode={mode} \
             sslcert={certificate} sslkey={key}",
            server.port()
        );
        let (theirs, ours) = (judge.connect(&text), judge::connect(&text).await);
        let both = format!("{mode}: {ours} here: {}, {theirs} with libpq: {}", ours.reason(), theirs.reason());
        assert!(ours.is_like(&theirs) && matches!(ours, Outcome::Encrypted) == is_let_in, "{both}");
    }
}
