use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> PostgresConfig {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    PostgresConfig::from_str(text).expect_err(text).to_string()
}

#[test]
fn a_uri_sets_everything() {
    let config = parse(
        "postgresql://an%40n:p%2Fw%3A@[::1]:6000/my%20db?sslmode=verify-ca&sslrootcert=/ca.pem&application_name=a&connect_timeout=3&pool_max_conns=7&pool_min_conns=1&pool_max_conn_lifetime=2h&pool_max_conn_idle_time=0&pool_health_check_period=5s&pool_acquire_timeout=500ms",
    );
    assert_eq!((config.user.as_deref(), config.database.as_deref()), (Some("an@n"), Some("my db")));
    assert_eq!(config.password.as_ref().map(Password::reveal), Some("p/w:"));
    assert_eq!((config.host.as_str(), config.port), ("::1", 6000));
    assert_eq!((config.sslmode, config.sslrootcert), (SslMode::VerifyCa, Some("/ca.pem".into())));
    assert_eq!((config.max_conns, config.min_conns), (7, 1));
    assert_eq!((config.max_conn_lifetime, config.max_conn_idle_time), (Some(Duration::from_hours(2)), None));
    assert_eq!(config.health_check_period, Some(Duration::from_secs(5)));
    assert_eq!((config.connect_timeout, config.acquire_timeout), (Duration::from_secs(3), Duration::from_millis(500)));
}

#[test]
fn what_is_left_out_keeps_its_default() {
    for text in ["", "   ", "postgres://", "postgres:///", "postgres://?", "host='' port=''"] {
        assert_eq!(parse(text), PostgresConfig::default(), "{text:?}");
    }
    assert_eq!(parse("postgres://h").host, "h");
    assert_eq!(parse("postgres:///db").database.as_deref(), Some("db"));
}

#[test]
fn escapes_that_are_none_are_refused() {
    for text in ["postgres://h/%zz", "postgres://h/%2", "postgres://h/%00", "postgres://h/%"] {
        assert!(error(text).contains("hexadecimal"), "{text}");
    }
}

#[test]
fn a_small_maximum_takes_the_default_minimum_down() {
    assert_eq!(parse("pool_max_conns=1").min_conns, 1);
    assert!(parse("pool_max_conns=1 pool_min_conns=2").pool_config().is_err());
}

#[test]
fn a_unix_socket_is_a_host_that_starts_with_a_slash() {
    assert_eq!(parse("postgres://%2Fvar%2Frun/db").host, "/var/run");
    assert_eq!(parse("postgres:///db?host=/var/run").host, "/var/run");
    assert_eq!(parse("host=/var/run").host, "/var/run");
}

#[test]
fn key_value_strings_follow_libpq() {
    let config = parse(r"  host = h  user='a\'b\\' password=x\ y dbname='' port=1 ");
    assert_eq!((config.host.as_str(), config.user.as_deref(), config.port), ("h", Some(r"a'b\"), 1));
    assert_eq!(config.password.unwrap().reveal(), "x y");
    assert_eq!(config.database, None);
}

#[test]
fn errors_name_the_field_and_what_is_allowed() {
    assert_eq!(error("port=0"), r#"port = "0" is not allowed; allowed: 1 to 65535"#);
    assert_eq!(
        error("sslmode=maybe"),
        r#"sslmode = "maybe" is not allowed; allowed: disable, prefer, require, verify-ca, verify-full"#
    );
    assert!(error("colour=red").starts_with(r#"unknown keyword "colour"; allowed: host, port,"#));
    assert!(error("pool_colour=red").contains("pool_max_conns"));
    assert!(error("host=a,b").contains("one host"));
    assert!(error("pool_max_conns=many").contains("1 to 65535"));
    assert!(error("connect_timeout=0").contains("1 ms"));
    assert!(error("pool_max_conn_lifetime=soon").contains("0 for never"));
}

#[test]
fn errors_name_the_part_of_a_string_that_is_malformed() {
    assert!(error("postgres://[::1/db").contains(']'));
    assert!(error("postgres://h/?sslmode").contains("the query"));
    assert!(error("user='a").contains("closing quote"));
    assert!(error(r"user=a\").contains("lone"));
    assert!(error("postgres://%ff@h").contains("UTF-8"));
    assert!(error("postgres://[::1]5/db").contains("the host"));
    assert!(error("postgres://[]/db").contains("the host"));
    assert!(error("mysql://u@h/db").contains("the scheme"));
}

#[test]
fn pool_settings_are_checked_under_their_own_names() {
    let config = PostgresConfig { max_conns: 3, min_conns: 4, ..PostgresConfig::default() };
    assert_eq!(
        config.pool_config().unwrap_err().to_string(),
        r#"min_conns = "4" is not allowed; allowed: 0 to max_conns"#
    );
    let config = PostgresConfig { max_conns: 0, min_conns: 0, ..PostgresConfig::default() };
    assert!(config.pool_config().unwrap_err().to_string().starts_with("max_conns"));
    let config = PostgresConfig { max_conns: 1, min_conns: 1, ..PostgresConfig::default() };
    assert_eq!(config.pool_config().unwrap().max_openers, 1);
}

#[test]
fn the_environment_is_read_and_checked() {
    let environment = |name: &str| {
        let value = match name {
            "PGHOST" => "h",
            "PGPORT" => "6000",
            "PGUSER" => "u",
            "PGPASSWORD" => "secret",
            "PGSSLMODE" => "require",
            "PGCONNECT_TIMEOUT" => "7",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let config = PostgresConfig::from_lookup(environment).unwrap();
    assert_eq!((config.host.as_str(), config.port, config.user.as_deref()), ("h", 6000, Some("u")));
    assert_eq!((config.sslmode, config.connect_timeout), (SslMode::Require, Duration::from_secs(7)));
    let wrong = PostgresConfig::from_lookup(|name| (name == "PGPORT").then(|| "x".to_owned())).unwrap_err();
    assert!(wrong.to_string().starts_with("port"));
    assert!(PostgresConfig::from_env().is_ok() || std::env::vars().any(|(name, _)| name.starts_with("PG")));
}

#[test]
fn the_user_of_the_system_is_the_default() {
    let config = PostgresConfig { user: Some("u".to_owned()), ..PostgresConfig::default() };
    assert_eq!(config.resolved_user().unwrap(), "u");
    let config = PostgresConfig { user: Some(String::new()), ..PostgresConfig::default() };
    assert_eq!(config.resolved_user().unwrap_err(), PostgresConfigError::Missing { field: "user" });
}

#[test]
fn a_password_is_never_shown() {
    let secret = "hunter2";
    for text in [
        "postgres://u:hunter2@h:x/db",
        "postgres://u:a/hunter2@h/db?x=y",
        "postgres://u:hunter2/a@h/db",
        "password=hunter2 port=x",
        "password=a hunter2",
        "password='hunter2",
        "postgres://u:hunter2@a,b/db",
        "postgres://u:hunter2@[::1/db",
        "mysql://u:hunter2@h/db",
        "dbname=postgres://u:hunter2@h/db",
    ] {
        let error = PostgresConfig::from_str(text).expect_err(text);
        assert!(!format!("{error} {error:?}").contains(secret), "{text}: {error}");
    }
    assert!(!format!("{:?}", parse("password=hunter2")).contains(secret));
}

fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

proptest! {
    #[test]
    fn no_string_makes_it_panic(text in ".*") {
        let _ = PostgresConfig::from_str(&text);
        let _ = PostgresConfig::from_str(&format!("postgres://{text}"));
    }

    #[test]
    fn what_is_written_is_read_back(user in "[^\0]+", password in "[^\0]+", database in "[^\0:]+", port in 1..=u16::MAX) {
        let text = format!("user={} password={} dbname={} port={port}", quote(&user), quote(&password), quote(&database));
        let config = parse(&text);
        prop_assert_eq!(config.user, Some(user.clone()));
        prop_assert_eq!(config.password, Some(Password::from(password.clone())));
        prop_assert_eq!(config.database, Some(database.clone()));
        prop_assert_eq!(config.port, port);
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let text = format!("postgres://{}:{}@h:{port}/{}", encode(&user), encode(&password), encode(&database));
        let config = parse(&text);
        prop_assert_eq!(config.user, Some(user));
        prop_assert_eq!(config.password, Some(Password::from(password)));
        prop_assert_eq!(config.database, Some(database));
    }
}
