//! Configurations in TOML, YAML and JSON.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use std::time::Duration;

use pool_postgres::{Keywords, Password, PostgresConfig, SslMode};
use pool_testkit::secrets::MARK;

/// The same in three formats.
const TOML: &str = r#"
host = ["db1.example", "db2.example"]
port = [5432, 5433]
user = "app"
password = "s3cr3t horse"
sslmode = "verify-full"
sslrootcert = "/ca.pem"
sslsni = false
require_auth = ["scram-sha-256", "none"]
connect_timeout = 3
tcp_user_timeout = "1m30s"
pool_max_conns = 50
pool_lazy = true
pool_acquire_timeout = "500ms"
pool_max_conn_lifetime = 0
"#;
const YAML: &str = r"
host: [db1.example, db2.example]
port: [5432, 5433]
user: app
password: s3cr3t horse
sslmode: verify-full
sslrootcert: /ca.pem
sslsni: false
require_auth: [scram-sha-256, none]
connect_timeout: 3
tcp_user_timeout: 1m30s
dbname: null
pool_max_conns: 50
pool_lazy: true
pool_acquire_timeout: 500ms
pool_max_conn_lifetime: 0
";
const JSON: &str = r#"{
    "host": ["db1.example", "db2.example"], "port": "5432,5433", "user": "app", "password": "s3cr3t horse", "dbname": null,
    "sslmode": "verify-full", "sslrootcert": "/ca.pem", "sslsni": 0, "require_auth": "scram-sha-256,none",
    "connect_timeout": 3, "tcp_user_timeout": 90000, "pool_max_conns": 50, "pool_lazy": true, "pool_acquire_timeout": "500ms",
    "pool_max_conn_lifetime": 0
}"#;

/// The same as a string.
const STRING: &str = "host=db1.example,db2.example port=5432,5433 user=app password='s3cr3t horse' sslmode=verify-full \
    sslrootcert=/ca.pem sslsni=0 require_auth=scram-sha-256,none connect_timeout=3 tcp_user_timeout=90000 pool_max_conns=50 \
    pool_lazy=true pool_acquire_timeout=500ms pool_max_conn_lifetime=0";

#[test]
fn a_file_says_what_a_string_says() {
    let wanted: PostgresConfig = STRING.parse().unwrap();
    assert_eq!(wanted.tcp_user_timeout, Some(Duration::from_secs(90)));
    assert_eq!(toml::from_str::<PostgresConfig>(TOML).unwrap(), wanted);
    assert_eq!(serde_saphyr::from_str::<PostgresConfig>(YAML).unwrap(), wanted);
    assert_eq!(serde_json::from_str::<PostgresConfig>(JSON).unwrap(), wanted);
    let string = serde_json::to_string(STRING).unwrap();
    assert_eq!(serde_json::from_str::<PostgresConfig>(&string).unwrap(), wanted, "a string will do");
}

/// Of a service, with a field of its own.
#[derive(serde::Deserialize, serde::Serialize)]
struct Service {
    listen: String,
    database: PostgresConfig,
}

#[test]
fn what_is_written_is_read_back_but_for_the_password() {
    let odd = r"host=@pg,/run/pg application_name='a\' b' options='-c a=b' keepalives=0 keepalives_idle=0";
    for text in ["", STRING, odd] {
        let config: PostgresConfig = text.parse().expect(text);
        let service = Service { listen: "here".to_owned(), database: config.clone() };
        let mut wanted = config;
        wanted.password = None;
        let (toml, yaml) = (toml::to_string(&service).unwrap(), serde_saphyr::to_string(&service).unwrap());
        let json = serde_json::to_string(&service).unwrap();
        for written in [&toml, &yaml, &json] {
            assert!(!written.contains(MARK) && !written.contains("password"), "{written}");
        }
        assert_eq!(toml::from_str::<Service>(&toml).expect(&toml).database, wanted, "{toml}");
        assert_eq!(serde_saphyr::from_str::<Service>(&yaml).expect(&yaml).database, wanted, "{yaml}");
        let read = serde_json::from_str::<Service>(&json).expect(&json);
        assert_eq!((read.database, read.listen.as_str()), (wanted, "here"), "{json}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_no_password_is() {
    let toml = "password = 's3cr3t'\nsslmod = 'require'\nport = [1, 2, 3]\nhost = ['a', 'b']\npool_max_conns = 0\nsslmode = 'maybe'\npool_lazy = 7\nconnect_timeout = 1.5\n";
    let keywords: Keywords = toml::from_str(toml).unwrap();
    assert!(!format!("{keywords:?}").contains(MARK) && format!("{keywords:?}").contains("password"), "{keywords:?}");
    let error = keywords.config().unwrap_err();
    assert_eq!(error.problems().len(), 6, "{error}");
    let text = format!("{error} {error:?}");
    assert!(!text.contains(MARK), "{text}");
    for part in [
        r#"unknown keyword (not shown, as it may hold a password); is "sslmode" meant?"#,
        "port has 3 items and host has 2",
        r#"pool_max_conns = "0" is not allowed"#,
        r#"sslmode = "maybe" is not allowed"#,
        r#"pool_lazy = "7" is not allowed; allowed: true, false"#,
        r#"connect_timeout = "1.5" is not allowed; allowed: a duration such as 90"#,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let at_once = serde_json::from_str::<PostgresConfig>(r#"{"sslmod": "x", "port": 0, "password": "s3cr3t"}"#)
        .unwrap_err()
        .to_string();
    assert!(at_once.contains("sslmod") && at_once.contains("port") && !at_once.contains(MARK), "{at_once}");
    let string = serde_json::from_str::<Keywords>(r#""colour=red hosst=h sslmode=maybe password=s3cr3t""#).unwrap();
    let string = string.config().unwrap_err();
    assert!(string.problems().len() == 3 && !string.to_string().contains(MARK), "{string}");
}

#[test]
fn values_of_other_kinds_are_refused() {
    for wrong in ["7", "[]"] {
        assert!(serde_json::from_str::<Keywords>(wrong).is_err(), "{wrong}");
    }
    let commas = r#"{"colour": 1, "host": ["a,b"], "password": ["s3cr3t", "s3cr3t,x"], "sslmode": "maybe"}"#;
    let error = serde_json::from_str::<Keywords>(commas).unwrap().config().unwrap_err();
    let text = error.to_string();
    assert!(error.problems().len() == 3 && !text.contains(MARK), "{text}");
    assert!(["colour", "cannot have a comma", "sslmode"].iter().all(|part| text.contains(part)), "{text}");
    let service = serde_json::from_str::<PostgresConfig>(r#"{"service": "one"}"#).unwrap_err().to_string();
    assert!(service.contains("PostgresConfig::resolve reads the service file"), "{service}");
    let string = serde_json::from_str::<PostgresConfig>(r#""postgres://u:s3cr3t@h:x""#).unwrap_err().to_string();
    assert!(string.contains("a port") && !string.contains(MARK), "{string}");
}

/// Formats would show the line on which they are.
#[test]
fn values_of_other_kinds_are_told_afterwards_without_what_is_in_them() {
    for toml in ["{ value = 's3cr3t' }", "[{ a = 's3cr3t' }]", "[['x', { a = ['s3cr3t'] }]]", "{ s3cr3t = 1979-05-27 }"]
    {
        let read = toml::from_str::<Keywords>(&format!("password = {toml}\nport = 0\n")).expect(toml);
        let error = read.config().unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("a value: text, a number") && text.contains("port"), "{text}");
        assert!(!text.contains(MARK), "{text}");
    }
    for yaml in ["{ value: s3cr3t }", "[{ a: s3cr3t }]", "\n  s3cr3t: x"] {
        let read = serde_saphyr::from_str::<Keywords>(&format!("password: {yaml}\n")).expect(yaml);
        assert!(!read.config().unwrap_err().to_string().contains(MARK), "{yaml}");
    }
}

#[test]
fn a_keyword_that_nobody_knows_is_not_shown_after_a_password() {
    let after = serde_json::from_str::<Keywords>(r#"{"password": "a", "s3cr3t": "b"}"#).unwrap().config().unwrap_err();
    assert!(!format!("{after} {after:?}").contains(MARK), "{after}");
}

#[test]
fn a_file_is_completed_from_the_environment() {
    let file: Keywords = serde_saphyr::from_str("host: db.example\nsslmode: require\n").unwrap();
    let variables = |name: &str| match name {
        "PGPASSWORD" => Some("s3cr3t".to_owned()),
        "PGHOST" => Some("another".to_owned()),
        _ => None,
    };
    let config = file.resolve_from(variables).unwrap();
    assert_eq!((config.hosts[0].name.as_str(), config.sslmode), ("db.example", SslMode::Require));
    assert_eq!(config.password.as_ref().map(Password::reveal), Some("s3cr3t"));
    let wrong: Keywords = serde_json::from_str(r#"{"colour": 1, "sslmode": "x"}"#).unwrap();
    let error = wrong.resolve_from(variables).unwrap_err().to_string();
    assert!(error.contains("colour") && error.contains("sslmode"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_path_that_no_text_can_name_is_refused() {
    use std::os::unix::ffi::OsStrExt;

    let path = std::ffi::OsStr::from_bytes(b"/\xff");
    let mut config = PostgresConfig::default();
    config.sslcert = Some(path.into());
    assert_eq!(serde_json::to_string(&config).unwrap_err().to_string(), "sslcert is not UTF-8");
    config.sslcert = None;
    config.sslrootcert = Some(path.into());
    assert_eq!(serde_json::to_string(&config).unwrap_err().to_string(), "sslrootcert is not UTF-8");
}
