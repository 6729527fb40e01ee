//! No password is shown of a string, however it is mistaken.

use std::error::Error as StdError;
use std::fmt::Write;
use std::str::FromStr;

use pool_testkit::secrets::MARK;
use proptest::prelude::*;

use super::tests::{error, parse};
use super::{Host, PostgresConfig};

#[test]
fn a_password_is_never_shown() {
    let secret = "s3cr3t";
    for text in [
        "postgres://u:s3cr3t@h:x/db",
        "postgres://u:a/s3cr3t@h/db?x=y",
        "postgres://u:s3cr3t/a@h/db",
        "postgres://u:/s3cr3t@db.example/app",
        "postgres://u:12/s3cr3t@db:5432/app",
        "postgres://u/s3cr3t@db/app",
        "host=h password=correct s3cr3t=battery user=u",
        "password=s3cr3t port=x",
        "password=a s3cr3t",
        "password='s3cr3t",
        "postgres://u:s3cr3t@[::1/db",
        "mysql://u:s3cr3t@h/db",
        "dbname=postgres://u:s3cr3t@h/db",
        "postgresql+asyncpg://u:s3cr3t@h/db?ssl=require",
        "jdbc:postgresql://u:s3cr3t@h/db?x=y",
        "jdbc:postgresql://h/db?user=u&password=s3cr3t",
        "\"postgres://u:s3cr3t@h/db?sslmode=require\"",
        "'postgres://u:s3cr3t@h/db?sslmode=require'",
        " postgres://u:s3cr3t@h/db?sslmode=require",
        "POSTGRES://u:s3cr3t@h/db?sslmode=require",
        "postgres:u:s3cr3t@h/db?x=y",
        "postgres:/u:s3cr3t@h/db?x=y",
        "u:s3cr3t@h/db?x=y",
        "url=postgres://u:s3cr3t@h/db",
        "url=postgres://u:a s3cr3t=b@h/db",
        "postgres://h/db?user=u&password=ab&s3cr3t=x",
        "postgres://h/db?user=u&passwd=ab&s3cr3t=x",
        "postgres://u:a@b?s3cr3t=x@h/db",
        "postgres://u:a@s3cr3t/b@h/db",
        "postgres://u:a@b/s3cr3t@h/db",
        "host=postgres://u:s3cr3t@h/db",
        "host=h,postgres://u:s3cr3t@i/db",
        "host=u:s3cr3t@h",
        "host=h;port=5432;password=s3cr3t",
        "host='h Password = s3cr3t'",
        "user=postgres://u:s3cr3t@h/db",
        "user='u password=s3cr3t'",
        "dbname=mysql://u:s3cr3t@h/db",
        "dbname='d password=s3cr3t'",
        "application_name=postgres://u:s3cr3t@h/db",
        "options='-c a=postgres://u:s3cr3t@h/db'",
        "sslrootcert=postgres://u:s3cr3t@h/db",
        "port=postgres://u:s3cr3t@h/db",
        "port=5432;password=s3cr3t",
        "hostaddr=u:s3cr3t@127.0.0.1",
        "sslmode=postgres://u:s3cr3t@h/db",
        "require_auth=md5;pwd=s3cr3t",
        "gssencmode=postgres://u:s3cr3t@h/db",
        "service=postgres://u:s3cr3t@h/db",
        "pool_max_conns=u:s3cr3t@h",
        "sslmode= pasword=s3cr3t",
        "user= pwd=s3cr3t",
        "scram_client_key=s3cr3t",
        "passwort=a s3cr3t=b",
        "pwd=a s3cr3t=b",
        "password='it' s3cr3t=x'",
        "postgres://u:a?s3cr3t=b",
        "postgres://u:a,h?s3cr3t=b",
        "secret=ab s3cr3t=x",
        "key=ab s3cr3t=x",
        "colour=ab s3cr3t=x",
        "postgres://h/db?token=a&s3cr3t=x",
        "postgres://?token=a&s3cr3t=x",
        "user= secret=s3cr3t",
        "dbname= token=s3cr3t",
        "user= api_key=s3cr3t",
        "user= credentials=s3cr3t",
        "user='u auth=s3cr3t'",
        "host=//u:s3cr3t@h/db",
        "host=//s3cr3t",
        "host=/u:s3cr3t@h/db",
        "host=@u:s3cr3t@h",
        "dbname=u:s3cr3t@h/db",
        "user=u:s3cr3t@h",
        "requirepeer=u:s3cr3t@h",
        "application_name='x password=s3cr3t'",
        "fallback_application_name='x password=s3cr3t'",
        "options='-c x password=s3cr3t'",
        "sslcert='x password=s3cr3t'",
        "port=5432:s3cr3t",
        "port=5432/s3cr3t",
        "port=5432;s3cr3t",
        "sslmode=password:s3cr3t",
        "pool_max_conns=5:s3cr3t",
        "gssencmode=require;s3cr3t",
        "hostaddr=127.0.0.1:s3cr3t",
        "sslkey='-----BEGIN PRIVATE KEY-----\ns3cr3t\n-----END PRIVATE KEY-----'",
        "sslcert='-----BEGIN CERTIFICATE-----\ns3cr3t'",
        "sslrootcert='-----BEGIN CERTIFICATE-----\ns3cr3t'",
        "sslcrl='-----BEGIN X509 CRL-----\ns3cr3t'",
        "postgres://h/?sslkey=-----BEGIN%20PRIVATE%20KEY-----%0As3cr3t",
    ] {
        let error = PostgresConfig::from_str(text).expect_err(text);
        assert!(!format!("{error} {error:?}").contains(secret), "{text}: {error}");
        assert!(StdError::source(&error).is_none(), "{text}");
    }
    assert!(!format!("{:?}", parse("password=s3cr3t")).contains(secret));
}

#[test]
fn a_password_of_a_service_file_is_never_shown() {
    let file = std::env::temp_dir().join(format!("pool-silent-{}.conf", std::process::id()));
    for text in [
        "password s3cr3tBase64==",
        "password s3cr3t = x",
        "pass s3cr3t=",
        "password a\ns3cr3t=b",
        "password=a\ns3cr3t=b",
        "passwd=a\ns3cr3t=b",
        "colour=a\ns3cr3t=b",
        "sslkey=-----BEGIN PRIVATE KEY-----\ns3cr3tBase64==\n-----END PRIVATE KEY-----",
    ] {
        std::fs::write(&file, format!("[s]\n{text}\n")).unwrap();
        let variable = |name: &str| (name == "PGSERVICEFILE").then(|| file.display().to_string());
        let error = PostgresConfig::resolve_from("service=s", variable).expect_err(text);
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{text}: {error}");
        assert!(error.to_string().contains("unknown keyword "), "{text}: {error}");
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn what_sounds_like_a_secret_to_the_server_is_an_option() {
    for options in ["-c password_encryption=md5", "-cb.key=5", "-c app.api_key=5", "-c session_authorization=a"] {
        assert_eq!(parse(&format!("options='{options}'")).options.as_deref(), Some(options));
    }
    assert_eq!(parse("options=-cb.key=5").options.as_deref(), Some("-cb.key=5"));
    assert_eq!(parse("sslkey=/key=5/a").sslkey, Some("/key=5/a".into()));
}

#[test]
fn a_key_in_the_place_of_its_file_is_refused() {
    assert_eq!(
        error("sslkey='-----BEGIN PRIVATE KEY-----'"),
        "malformed connection string, sslkey: the name of a file is allowed, not what is in it"
    );
}

#[test]
fn what_may_hold_a_password_is_not_shown() {
    let hidden = "unknown keyword (not shown, as it may hold a password); docs/libpq.md has them all";
    assert_eq!(error("postgres:u:s3cr3t@h/db?x=y"), hidden);
    assert_eq!(error("a-b=c"), hidden);
    assert_eq!(
        error("pool-max-conns=3"),
        r#"unknown keyword (not shown, as it may hold a password); is "pool_max_conns" meant?"#
    );
    let long = "x".repeat(41);
    assert_eq!(error(&format!("{long}=1")), hidden);
    assert!(error(&format!("{}=1", &long[1..])).contains(&long[1..]));
    assert_eq!(
        error("port=u:p@h"),
        "port = (not shown, as it may hold a password) is not allowed; allowed: 1 to 65535"
    );
}

#[test]
fn what_is_a_connection_string_of_something_else_is_refused() {
    for text in ["postgresql+asyncpg://u@h/db?ssl=require", "jdbc:postgresql://h/db", "'postgres://h'", "a b://c=d"] {
        assert_eq!(
            error(text),
            "malformed connection string, the scheme: allowed: postgres:// and postgresql://",
            "{text}"
        );
    }
    for text in ["host=http://h", "host=postgres://h", "user=postgres://h", "dbname=postgresql://h/d"] {
        assert!(error(text).ends_with(": a name is allowed, not a connection string"), "{text}: {}", error(text));
    }
}

#[test]
fn a_host_with_an_at_is_refused_of_a_program_too() {
    let config = PostgresConfig { hosts: vec![Host::new("u:p@h", 1)], ..PostgresConfig::default() };
    assert!(config.validate().unwrap_err().to_string().contains("an @ is allowed at the beginning"));
}

#[test]
fn what_only_looks_like_a_connection_string_is_a_name() {
    for name in ["a://b", "a@b", "a=b", "postgres:", "a:b", "a@b:c"] {
        let config = PostgresConfig {
            database: Some(name.to_owned()),
            user: Some(name.to_owned()),
            ..PostgresConfig::default()
        };
        assert_eq!(config.validate(), Ok(()), "{name}");
        assert_eq!(parse(&config.to_string()), config, "{name}");
    }
    for host in ["/tmp/a@b", "@pg", "@pg@b", "fe80::1%eth0"] {
        assert_eq!(parse(&format!("host={host}")).hosts, [Host::new(host, 5432)]);
    }
    let config = PostgresConfig { database: Some("postgres://u:s3cr3t@h/db".to_owned()), ..PostgresConfig::default() };
    assert_eq!(config.validate().unwrap_err().to_string(), error("dbname=postgres://u:s3cr3t@h/db"));
}

/// A password, of which a part is looked for, with what somebody did not encode or quote around it.
fn careless_password() -> impl Strategy<Value = String> {
    let part = || prop_oneof!["[a-z]{0,2}", "[@:/?=&%'\" \\\\,;\\[\\]#+-]{0,3}", Just(MARK.to_owned())];
    (part(), part(), part(), part()).prop_map(|(a, b, c, d)| format!("{a}{b}{MARK}{c}{d}"))
}

/// Every shape of a string, with the password at every place where somebody may put it.
const SHAPES: [&str; 44] = [
    "postgres://u:{}@h:5432/db?sslmode=require&port=x",
    "postgres://u:{}@h/db?colour=red",
    "postgres://u:{}@h",
    "postgres://:{}@h/db",
    "postgres://u:{}@[::1]:5432/db?port=x",
    "postgres://u:{}@h:x/db",
    "postgres://u:{}@h:5432,i:5433/db?target_session_attrs=maybe",
    "postgres://u:{}@:5432/db",
    "postgres://u:{}@/db?host=/run",
    "postgres:///db?host=h&password={}&port=x",
    "postgres:///db?password={}",
    "postgres:///db?sslpassword={}&colour=red",
    "postgres:///db?passwd={}&colour=red",
    "postgres:u:{}@h/db?x=y",
    "postgres:/u:{}@h/db?x=y",
    "postgres//u:{}@h/db?x=y",
    "u:{}@h:5432/db?x=y",
    "postgresql+asyncpg://u:{}@h/db?ssl=require",
    "jdbc:postgresql://u:{}@h/db?x=y",
    "jdbc:postgresql://h/db?user=u&password={}",
    "mysql://u:{}@h/db?x=y",
    "POSTGRES://u:{}@h/db?x=y",
    " postgres://u:{}@h/db?x=y",
    "\"postgres://u:{}@h/db?x=y\"",
    "'postgres://u:{}@h/db?x=y'",
    "url=postgres://u:{}@h/db?x=y",
    "DATABASE_URL='postgres://u:{}@h/db?x=y'",
    "host=postgres://u:{}@h/db",
    "user=postgres://u:{}@h/db",
    "dbname=postgres://u:{}@h/db",
    "dbname='postgres://u:{}@h/db'",
    "port=postgres://u:{}@h/db",
    "sslmode=postgres://u:{}@h/db",
    "service=postgres://u:{}@h/db",
    "host=h password={} port=x",
    "password={}",
    "port=x password='{}' colour=red",
    "host=h user= password={}",
    "sslmode= password={} port=x",
    "host=h sslpassword={} dbname=d",
    "host=h passwort={} dbname=d",
    "pwd={} host=h",
    "host=h;port=5432;password={};user=u",
    "\"host=h password={}\"",
];

/// All that is shown of what comes of a string.
fn shown(text: &str) -> String {
    let mut shown = match PostgresConfig::from_str(text) {
        Ok(config) => return format!("{config} {config:?} {:?}", config.validate()),
        Err(error) => format!("{error} {error:#} {error:?} {error:#?}"),
    };
    if let Err(error) = PostgresConfig::resolve_from(text, |name| (name == "HOME").then(|| "/nowhere".to_owned())) {
        let mut next: Option<&dyn StdError> = Some(&error);
        while let Some(error) = next {
            write!(shown, "{error} {error:?}").unwrap();
            next = error.source();
        }
    }
    shown
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_password_is_shown_whatever_the_shape_of_the_string(password in careless_password()) {
        for shape in SHAPES {
            let text = shape.replace("{}", &password);
            let shown = shown(&text);
            prop_assert!(!shown.contains(MARK), "{}: {}", text, shown);
        }
    }
}
