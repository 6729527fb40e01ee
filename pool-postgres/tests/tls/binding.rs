//! What binds a login to its channel: by certificates with signatures of every kind, as libpq does it.
use crate::judge::{self, Judge, Outcome};
use crate::paper::{Folder, Paper, openssl};
use crate::world::{NAME, server_with_role};

/// Kinds of keys and signatures, and whether logins can be bound to them.
const KINDS: [(&str, &str, bool); 9] = [
    ("ECDSA, SHA-256", "ec -pkeyopt ec_paramgen_curve:prime256v1 -sha256", true),
    ("ECDSA, SHA-384", "ec -pkeyopt ec_paramgen_curve:secp384r1 -sha384", true),
    ("RSA, SHA-256", "rsa:2048 -sha256", true),
    ("RSA, SHA-384", "rsa:2048 -sha384", true),
    ("RSA, SHA-512", "rsa:2048 -sha512", true),
    ("RSA-PSS, SHA-256", "rsa:2048 -sha256 -sigopt rsa_padding_mode:pss", true),
    ("RSA-PSS, SHA-384", "rsa:2048 -sha384 -sigopt rsa_padding_mode:pss", true),
    ("RSA-PSS, SHA-512", "rsa:2048 -sha512 -sigopt rsa_padding_mode:pss", true),
    ("Ed25519", "ed25519", false),
];

fn paper(folder: &Folder, kind: &str) -> Paper {
    openssl(folder, &format!("req -x509 -nodes -subj /CN={NAME} -days 30 -keyout its.key -out its.crt -newkey {kind}"));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    Paper { certificate: read("its.crt"), key: read("its.key") }
}

#[tokio::test]
async fn a_login_is_bound_to_whatever_certificate_libpq_can_bind_it_to_and_else_refused() {
    let (folder, mut wrong) = (Folder::new(), Vec::new());
    let mut judge = Judge::start(folder.path());
    for (kind, arguments, can_be_bound) in KINDS {
        let server = server_with_role("host", &paper(&folder, arguments)).await;
        for binding in ["prefer", "require", "disable"] {
            let text = format!(
                "host={NAME} port={} user=app password=s3cr3t-battery dbname=postgres gssencmode=disable \
                 sslmode=require channel_binding={binding}",
                server.port()
            );
            let (theirs, ours) = (judge.connect(&text), judge::connect(&text).await);
            let is_let_in = matches!(ours, Outcome::Encrypted);
            if !ours.is_like(&theirs) || is_let_in != (can_be_bound || binding == "disable") {
                let (here, there) = (ours.reason(), theirs.reason());
                wrong.push(format!("{kind}, {binding}: {ours} here: {here}, {theirs} with libpq: {there}"));
            }
            let is_told =
                ours.reason().contains("the server offers channel binding (SCRAM-SHA-256-PLUS), and its certificate");
            assert!(is_let_in || is_told, "{kind}, {binding}: {}", ours.reason());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
