//! Connection strings and environments, of all kinds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use pool_testkit::secrets::MARK;

use crate::results::Question;

/// A folder with a service file and a password file.
pub(crate) fn home() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libpq-home");
    std::fs::create_dir_all(&home).unwrap();
    let services = format!(
        "# services\n[one]\nhost=192.0.2.1\nport=6001\nuser=from service\n\n[two]\n  dbname = x\n[three]\nsslmode=require\nsslmode=disable\npassword={MARK} x\n[four]\nservice=one\n[five]\nnonsense=1\n[six]\nhost\n"
    );
    // Beside it, and then in its place: a test in another process may be reading it.
    let draft = home.join(format!("services-{}", std::process::id()));
    std::fs::write(&draft, services).unwrap();
    std::fs::rename(draft, home.join(".pg_service.conf")).unwrap();
    home
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,6}",
        1 => select(vec!["", "a b", "it's", r"back\slash", "p@ss", "ä", "%41", "a=b", "a/b", "a,b", " x ", "\t", "'", "a?b", "a&b", "100%", "\\"]).prop_map(str::to_owned),
    ]
}

/// One that is found if it is shown.
fn secret() -> impl Strategy<Value = String> {
    word().prop_map(|word| format!("{MARK}{word}"))
}

fn host() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        3 => select(vec!["127.0.0.1", "192.0.2.7", "::1", "db.invalid", "localhost"]).prop_map(str::to_owned),
        1 => select(vec!["", "/run/pg", "/tmp", "@abstract", "fe80::1%eth0", " h", "[::1]"]).prop_map(str::to_owned),
    ];
    vec(one, 1..4).prop_map(|hosts| hosts.join(","))
}

fn port() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        4 => select(vec!["5432", "1", "65535", "6000"]).prop_map(str::to_owned),
        1 => select(vec!["", "0", "65536", "-1", "x", " 77 ", "+5", "0x10", "5 5"]).prop_map(str::to_owned),
    ];
    vec(one, 1..4).prop_map(|ports| ports.join(","))
}

/// A keyword, and a value that may be one of its own.
fn pair() -> impl Strategy<Value = (String, String)> {
    let of = |keyword: &'static str, values: &'static [&'static str]| {
        (Just(keyword.to_owned()), select(values).prop_map(str::to_owned)).boxed()
    };
    prop_oneof![
        3 => (Just("host".to_owned()), host()),
        2 => (Just("port".to_owned()), port()),
        1 => (Just("hostaddr".to_owned()), vec(select(vec!["127.0.0.1", "::1", "", "x", "1.2.3"]), 1..3).prop_map(|list| list.join(","))),
        2 => (select(vec!["user", "dbname", "application_name", "fallback_application_name", "options", "requirepeer", "krbsrvname", "oauth_issuer"]).prop_map(str::to_owned), word()),
        1 => (select(vec!["password", "sslpassword", "oauth_client_secret"]).prop_map(str::to_owned), secret()),
        2 => prop_oneof![
            of("sslmode", &["disable", "allow", "prefer", "require", "verify-ca", "verify-full", "", "x", "Require"]),
            of("sslnegotiation", &["postgres", "direct", "", "x"]),
            of("sslrootcert", &["system", "/ca.pem", ""]),
            of("sslcertmode", &["disable", "allow", "require", "", "x"]),
            of("channel_binding", &["disable", "prefer", "require", "", "x"]),
            of("target_session_attrs", &["any", "read-write", "read-only", "primary", "standby", "prefer-standby", "", "x"]),
            of("load_balance_hosts", &["disable", "random", "", "x"]),
            of("ssl_min_protocol_version", &["TLSv1", "TLSv1.1", "TLSv1.2", "tlsv1.3", "", "x"]),
            of("ssl_max_protocol_version", &["TLSv1.2", "TLSv1.3", "", "x"]),
            of("require_auth", &["scram-sha-256", "!md5,!password", "none", "", "x", "md5,md5", "!md5,md5", "gss"]),
            of("gssencmode", &["disable", "prefer", "x", ""]),
            of("replication", &["true", "database", "off", "x"]),
            of("client_encoding", &["UTF8", "auto", "LATIN1"]),
            of("min_protocol_version", &["3.0", "3.2", "latest", "x"]),
            of("max_protocol_version", &["3.0", "3.2", "latest", "3.1", "x"]),
            of("service", &["one", "two", "three", "four", "five", "six", "none", ""]),
            of("requiressl", &["1", "0", "x"]),
        ],
        1 => (select(vec!["keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "connect_timeout", "tcp_user_timeout", "sslsni"]).prop_map(str::to_owned), select(vec!["0", "1", "5", " 90 ", "+7", "-3", "x", ""]).prop_map(str::to_owned)),
        1 => (select(vec!["sslcert", "sslkey", "sslcrl", "sslcrldir", "passfile"]).prop_map(str::to_owned), select(vec!["/a", "b c", "~/x", "system", ""]).prop_map(str::to_owned)),
        1 => (select(vec!["colour", "hosts", "Host", "", "host name", "ssl"]).prop_map(str::to_owned), word()),
    ]
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

fn key_value() -> impl Strategy<Value = String> {
    let equals = select(vec!["=", " = ", "= "]);
    let written = (pair(), any::<bool>(), equals).prop_map(|((keyword, value), quotes, equals)| {
        format!("{keyword}{equals}{}", if quotes { quoted(&value) } else { value })
    });
    vec(written, 0..6).prop_map(|pairs| pairs.join(" "))
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Encoded as it should be, or not.
fn part(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (text, prop::bool::weighted(0.8)).prop_map(|(text, encodes)| if encodes { encoded(&text) } else { text })
}

fn uri() -> impl Strategy<Value = String> {
    let scheme = select(vec!["postgres://", "postgresql://"]);
    let user = option::of((part(word()), option::of(part(secret()))));
    let address = prop_oneof![
        4 => select(vec!["127.0.0.1", "[::1]", "db.invalid", "localhost", "%2Frun%2Fpg", ""]).prop_map(str::to_owned),
        1 => select(vec!["[::1", "[]", "[::1]x", "::1", "a b", " a", "%zz", "a%20b", "%00"]).prop_map(str::to_owned),
    ];
    let hosts = vec((address, option::of(port())), 0..3);
    let query = option::of(vec(
        (part(pair().prop_map(|(keyword, _)| keyword)), part(pair().prop_map(|(_, value)| value.replace(MARK, "")))),
        0..3,
    ));
    let matching = option::of(vec(pair().prop_map(|(keyword, value)| (encoded(&keyword), encoded(&value))), 0..4));
    (
        scheme,
        user,
        hosts,
        option::of(part(word())),
        prop_oneof![1 => query, 3 => matching],
        select(vec!["", "", "", "&", "=", "#x"]),
    )
        .prop_map(|(scheme, user, hosts, database, query, end)| {
            let user = user
                .map(|(user, password)| format!("{user}{}@", password.map(|it| format!(":{it}")).unwrap_or_default()));
            let hosts: Vec<_> = hosts
                .into_iter()
                .map(|(host, port)| format!("{host}{}", port.map(|it| format!(":{it}")).unwrap_or_default()))
                .collect();
            let database = database.map(|it| format!("/{it}"));
            let query = query.map(|pairs| {
                let pairs: Vec<_> = pairs.into_iter().map(|(keyword, value)| format!("{keyword}={value}")).collect();
                format!("?{}{end}", pairs.join("&"))
            });
            format!(
                "{scheme}{}{}{}{}",
                user.unwrap_or_default(),
                hosts.join(","),
                database.unwrap_or_default(),
                query.unwrap_or_default()
            )
        })
}

/// A string with one letter more, or one less.
fn damaged(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (
        text,
        any::<prop::sample::Index>(),
        option::of(select(vec!["@", ":", "/", "?", "=", "&", "%", "'", "\\", " ", ",", "[", "x"])),
    )
        .prop_map(|(text, at, letter)| {
            let mut letters: Vec<_> = text.chars().collect();
            let at = at.index(letters.len() + 1);
            match letter {
                Some(letter) => letters.splice(at..at, letter.chars()).for_each(drop),
                None if at < letters.len() => drop(letters.remove(at)),
                None => {}
            }
            letters.into_iter().collect()
        })
}

fn variables() -> impl Strategy<Value = BTreeMap<String, String>> {
    let of = |name: &'static str, values: &'static [&'static str]| {
        (Just(name.to_owned()), select(values).prop_map(str::to_owned)).boxed()
    };
    let one = prop_oneof![
        (Just("PGHOST".to_owned()), host()),
        (Just("PGPORT".to_owned()), port()),
        (
            select(vec!["PGUSER", "PGDATABASE", "PGAPPNAME", "PGOPTIONS", "PGREQUIREPEER"]).prop_map(str::to_owned),
            word()
        ),
        (Just("PGPASSWORD".to_owned()), secret()),
        of("PGSSLMODE", &["disable", "require", "verify-full", "", "x"]),
        of("PGREQUIRESSL", &["1", "0", "x"]),
        of("PGSSLROOTCERT", &["system", "/ca.pem"]),
        (
            select(vec!["PGSSLCERT", "PGSSLKEY", "PGSSLCRL", "PGSSLCRLDIR", "PGPASSFILE"]).prop_map(str::to_owned),
            select(vec!["/a", "b"]).prop_map(str::to_owned)
        ),
        of("PGSSLCERTMODE", &["disable", "require", "x"]),
        of("PGSSLSNI", &["0", "1"]),
        of("PGSSLMINPROTOCOLVERSION", &["TLSv1", "TLSv1.3", "x"]),
        of("PGSSLMAXPROTOCOLVERSION", &["TLSv1.2", "TLSV1.3", "x"]),
        of("PGCONNECT_TIMEOUT", &["0", "7", "-1", "x"]),
        of("PGTARGETSESSIONATTRS", &["any", "primary", "x"]),
        of("PGCHANNELBINDING", &["require", "x"]),
        of("PGSERVICE", &["one", "three", "none"]),
        of("PGLOADBALANCEHOSTS", &["random", "x"]),
        of("PGREQUIREAUTH", &["md5", "x"]),
        of("PGSSLNEGOTIATION", &["direct", "postgres"]),
        of("PGHOSTADDR", &["127.0.0.1", "::1,::2"]),
    ];
    prop_oneof![2 => Just(Vec::new()), 1 => vec(one, 1..4)].prop_map(|pairs| pairs.into_iter().collect())
}

pub(crate) fn questions(home: &Path) -> impl Strategy<Value = Question> + use<> {
    let home = home.display().to_string();
    let whole = prop_oneof![key_value(), uri()];
    let broken = damaged(prop_oneof![key_value(), uri()]);
    let text = prop_oneof![4 => (whole, Just(true)), 1 => (broken, Just(false))];
    (text, variables()).prop_map(move |((text, is_whole), mut env)| {
        env.insert("HOME".to_owned(), home.clone());
        Question { text, env, is_whole }
    })
}
