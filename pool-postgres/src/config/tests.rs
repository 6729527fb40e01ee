use std::str::FromStr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

pub(super) fn parse(text: &str) -> PostgresConfig {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(super) fn error(text: &str) -> String {
    PostgresConfig::from_str(text).expect_err(text).to_string()
}

#[test]
fn a_uri_sets_everything() {
    let config = parse(
        "postgresql://an%40n:p%2Fw%3A@[::1]:6000/my%20db?sslmode=verify-ca&sslrootcert=/ca.pem&application_name=a&connect_timeout=3&pool_max_conns=7&pool_min_conns=1&pool_max_conn_lifetime=2h&pool_max_conn_idle_time=0&pool_health_check_period=5s&pool_acquire_timeout=500ms",
    );
    assert_eq!((config.user.as_deref(), config.database.as_deref()), (Some("an@n"), Some("my db")));
    assert_eq!(config.password.as_ref().map(Password::reveal), Some("p/w:"));
    assert_eq!(config.hosts, [Host::new("::1", 6000)]);
    assert_eq!(
        (config.sslmode, config.sslrootcert),
        (SslMode::VerifyCa, Some(RootCertificates::File("/ca.pem".into())))
    );
    let pool = config.pool;
    assert_eq!((pool.max_size, pool.min_size), (7, 1));
    assert_eq!((pool.max_lifetime, pool.idle_timeout), (Some(Duration::from_hours(2)), None));
    assert_eq!(pool.health_check_interval, Some(Duration::from_secs(5)));
    assert_eq!((pool.connect_timeout, pool.acquire_timeout), (Duration::from_secs(3), Duration::from_millis(500)));
}

#[test]
fn what_is_left_out_keeps_its_default() {
    for text in ["", "   ", "postgres://", "postgres:///", "postgres://?", "host='' port=''"] {
        assert_eq!(parse(text), PostgresConfig::default(), "{text:?}");
    }
    assert_eq!(parse("postgres://h").hosts, [Host::new("h", 5432)]);
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
    assert_eq!(parse("pool_max_conns=1").pool.min_size, 1);
    assert!(parse("pool_max_conns=1").validate().is_ok());
    assert!(error("pool_max_conns=1 pool_min_conns=2").contains("0 to pool_max_conns"));
}

#[test]
fn a_unix_socket_is_a_host_that_starts_with_a_slash() {
    assert_eq!(parse("postgres://%2Fvar%2Frun/db").hosts[0].name, "/var/run");
    assert_eq!(parse("postgres:///db?host=/var/run").hosts[0].name, "/var/run");
    assert_eq!(parse("host=/var/run").hosts[0].name, "/var/run");
}

#[test]
fn key_value_strings_follow_libpq() {
    let config = parse(r"  host = h  user='a\'b\\' password=x\ y dbname='' port=1 ");
    assert_eq!((&config.hosts, config.user.as_deref()), (&vec![Host::new("h", 1)], Some(r"a'b\")));
    assert_eq!(config.password.unwrap().reveal(), "x y");
    assert_eq!(config.database, None);
}

#[test]
fn errors_name_the_field_and_what_is_allowed() {
    assert_eq!(error("port=0"), r#"port = "0" is not allowed; allowed: 1 to 65535"#);
    assert_eq!(
        error("sslmode=maybe"),
        r#"sslmode = "maybe" is not allowed; allowed: disable, allow, prefer, require, verify-ca, verify-full"#
    );
    assert_eq!(error("colour=red"), r#"unknown keyword "colour"; docs/libpq.md has them all"#);
    assert_eq!(error("pool_max_con=3"), r#"unknown keyword "pool_max_con"; is "pool_max_conns" meant?"#);
    assert!(error("pool_max_conns=many").contains("1 to 65535"));
    assert!(error("connect_timeout=soon").contains("1 ms"));
    assert!(error("pool_max_conn_lifetime=soon").contains("0 for never"));
}

#[test]
fn errors_name_the_part_of_a_string_that_is_malformed() {
    assert!(error("postgres://[::1/db").contains(']'));
    assert!(error("postgres://h/?sslmode").contains("the query"));
    assert!(error("user='a").contains("closing quote"));
    assert!(error("postgres://%ff@h").contains("UTF-8"));
    assert!(error("postgres://[::1]5/db").contains("the host"));
    assert!(error("postgres://[]/db").contains("the host"));
    assert!(error("mysql://u@h/db").contains("the scheme"));
}

#[test]
fn pool_settings_are_checked_under_their_keywords() {
    let few = error("pool_max_conns=3 pool_min_conns=4");
    assert_eq!(few, r#"pool_min_conns = "4" is not allowed; allowed: 0 to pool_max_conns"#);
    assert!(error("pool_max_conns=0").starts_with(r#"pool_max_conns = "0""#));
    let both = error("pool_max_openers=256 pool_backoff_initial=5s");
    assert!(both.contains("to pool_max_conns if that is more; pool_backoff_max = \"2s\""), "{both}");
    assert!(both.ends_with("pool_backoff_initial to 10 years"), "{both}");
}

/// What a pool's settings look like, one line for each field.
fn fields(pool: &pool_core::Config) -> Vec<(String, String)> {
    let shown = format!("{pool:?}");
    let list = shown.strip_prefix("Config { ").and_then(|rest| rest.strip_suffix(" }")).expect("a struct with fields");
    list.split(", ").map(|field| field.split_once(": ").expect(field)).map(|(a, b)| (a.into(), b.into())).collect()
}

#[test]
fn every_setting_of_the_pool_has_its_keyword() {
    let default = fields(&pool_core::Config::default());
    let settings: Vec<_> = pool::SETTINGS.iter().map(|setting| setting.field).collect();
    assert_eq!(default.iter().map(|(field, _)| field).collect::<Vec<_>>(), settings, "one keyword each, in this order");
    for setting in &pool::SETTINGS {
        let set = |value| format!("{}={value}", setting.keyword).parse::<PostgresConfig>().ok();
        let config = ["77", "7", "1", "true", "fifo"].into_iter().find_map(set).expect(setting.keyword);
        let changed: Vec<_> = fields(&config.pool).into_iter().filter(|field| !default.contains(field)).collect();
        assert!(matches!(&changed[..], [(field, _)] if field == setting.field), "{}: {changed:?}", setting.keyword);
        let refused = error(&format!("{}=never", setting.keyword));
        assert_eq!(refused, format!(r#"{} = "never" is not allowed; allowed: {}"#, setting.keyword, setting.allowed));
    }
}

#[test]
fn zero_stands_for_none() {
    let pool = parse("pool_max_uses=0 pool_check_after_idle=0 pool_opener_interval=0 pool_max_conn_lifetime=0").pool;
    assert_eq!(
        (pool.max_uses, pool.check_after_idle, pool.opener_interval, pool.max_lifetime),
        (None, None, None, None)
    );
    let pool = parse("pool_max_uses=9 pool_idle_order=least_recently_used").pool;
    assert_eq!((pool.max_uses, pool.idle_order), (Some(9), pool_core::IdleOrder::LeastRecentlyUsed));
}

#[test]
fn keepalive_is_set_as_for_libpq() {
    let seconds = |number| Some(Duration::from_secs(number));
    let set = |text: &str| {
        let config = parse(text);
        let times = (config.keepalives_idle, config.keepalives_interval);
        (config.keepalives, times, config.keepalives_count, config.tcp_user_timeout)
    };
    let default = (true, (seconds(60), seconds(10)), Some(3), None);
    assert_eq!(set(""), default);
    let empty = "keepalives='' keepalives_idle='' keepalives_interval='' keepalives_count='' tcp_user_timeout=''";
    assert_eq!(set(empty), default);
    let zero = "keepalives=1 keepalives_idle=0 keepalives_interval=0 keepalives_count=0 tcp_user_timeout=0";
    assert_eq!(set(zero), (true, (None, None), None, None));
    let text = "keepalives=0 keepalives_idle=5 keepalives_interval=1m keepalives_count=9 tcp_user_timeout=1500";
    let milliseconds = Some(Duration::from_millis(1500));
    assert_eq!(set(text), (false, (seconds(5), seconds(60)), Some(9), milliseconds));
    assert_eq!(set("tcp_user_timeout=2s").3, seconds(2));
}

#[test]
fn keepalive_that_no_system_can_keep_is_refused() {
    for (text, allowed) in [
        ("keepalives=yes", "1 (on), 0 (off)"),
        ("keepalives_idle=500ms", "whole seconds"),
        ("keepalives_interval=32768", "1 s to 32767 s"),
        ("keepalives_count=128", "1 to 127"),
        ("tcp_user_timeout=2147483648", "1 ms to 2147483647 ms"),
        ("tcp_user_timeout=soon", "milliseconds"),
    ] {
        assert!(error(text).contains(allowed), "{}", error(text));
    }
    let refusal = |change: fn(&mut PostgresConfig)| {
        let mut config = PostgresConfig::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    assert_eq!(
        refusal(|config| config.keepalives_idle = Some(Duration::ZERO)),
        format!(
            r#"keepalives_idle = "0ns" is not allowed; allowed: {}"#,
            "whole seconds such as 90, 90s or 1m30s, 1 s to 32767 s, or 0 for the operating system's default"
        )
    );
    assert!(
        refusal(|config| config.keepalives_interval = Some(Duration::from_millis(500)))
            .starts_with("keepalives_interval")
    );
    assert!(refusal(|config| config.keepalives_count = Some(0)).starts_with("keepalives_count"));
    assert!(refusal(|config| config.tcp_user_timeout = Some(Duration::MAX)).starts_with("tcp_user_timeout"));
}

#[test]
fn the_documentation_has_every_keyword_and_its_variable() {
    let rows: Vec<_> = include_str!("mod.rs").lines().filter(|line| line.starts_with("/// | `")).collect();
    let variable = |name: &str| {
        let libpqs = keyword::KEYWORDS.iter().find(|known| known.name == name).and_then(|known| known.variable);
        let own = field::own_variables().find(|(known, _)| *known == name).map(|(_, variable)| variable);
        libpqs.map(str::to_owned).or(own)
    };
    let sets = keyword::KEYWORDS.iter().filter(|keyword| matches!(keyword.role, keyword::Role::Sets));
    let all: Vec<_> = sets.map(|keyword| keyword.name).chain(field::pool_keywords()).collect();
    for keyword in &all {
        let variable = variable(keyword).map(|variable| format!("`{variable}`")).unwrap_or_default();
        let row = format!("/// | `{keyword}` | {variable}");
        assert!(rows.iter().any(|shown| shown.starts_with(row.trim_end())), "{row}");
    }
    assert_eq!(rows.len(), all.len());
    let documented =
        |setting: &pool::Setting| rows.iter().any(|row| row.contains(&format!("`pool.{}`", setting.field)));
    assert!(pool::SETTINGS.iter().all(documented));
}

#[test]
fn the_environment_is_read_and_checked() {
    let variables = [
        ("PGHOST", "h,i"),
        ("PGPORT", "6000"),
        ("PGUSER", "u"),
        ("PGPASSWORD", "secret"),
        ("PGSSLMODE", "require"),
        ("PGCONNECT_TIMEOUT", "7"),
        ("POOL_MIN_IDLE_CONNS", "3"),
        ("POOL_LAZY", "true"),
        ("POOL_MAX_USES", ""),
    ];
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let config = PostgresConfig::resolve_from("", value).unwrap();
    assert_eq!(config.hosts, [Host::new("h", 6000), Host::new("i", 6000)]);
    assert_eq!(config.user.as_deref(), Some("u"));
    assert_eq!((config.sslmode, config.connect_timeout), (SslMode::Require, Duration::from_secs(7)));
    assert_eq!(config.pool.connect_timeout, Duration::from_secs(14), "for two servers");
    assert_eq!((config.pool.min_idle, config.pool.lazy, config.pool.max_uses), (3, true, None));
    let wrong = PostgresConfig::resolve_from("", |name| (name == "PGPORT").then(|| "x".to_owned())).unwrap_err();
    assert_eq!(wrong.to_string(), r#"port = "x" (from PGPORT) is not allowed; allowed: 1 to 65535"#);
    assert!(PostgresConfig::from_env().is_ok() || std::env::vars().any(|(name, _)| name.starts_with("PG")));
}

#[test]
fn the_user_of_the_system_is_the_default() {
    let config = PostgresConfig { user: Some("u".to_owned()), ..PostgresConfig::default() };
    assert_eq!(config.resolved_user().unwrap(), "u");
    let config = PostgresConfig { user: Some(String::new()), ..PostgresConfig::default() };
    assert!(!config.resolved_user().unwrap().is_empty(), "the system knows who runs this");
}

fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Any but one that looks like `user:password@host`.
fn name() -> impl Strategy<Value = String> {
    let is_name = |name: &String| name.rsplit_once('@').is_none_or(|(start, _)| !start.contains(':'));
    "[^\0]+".prop_filter("a name", is_name)
}

proptest! {
    #[test]
    fn no_string_makes_it_panic(text in ".*") {
        let _ = PostgresConfig::from_str(&text);
        let _ = PostgresConfig::from_str(&format!("postgres://{text}"));
    }

    #[test]
    fn what_is_written_is_read_back(user in name(), password in "[^\0]+", database in name(), port in 1..=u16::MAX) {
        let text = format!("user={} password={} dbname={} port={port}", quote(&user), quote(&password), quote(&database));
        let config = parse(&text);
        prop_assert_eq!(config.user, Some(user.clone()));
        prop_assert_eq!(config.password, Some(Password::from(password.clone())));
        prop_assert_eq!(config.database, Some(database.clone()));
        prop_assert_eq!(config.hosts[0].port, port);
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let text = format!("postgres://{}:{}@h:{port}/{}", encode(&user), encode(&password), encode(&database));
        let config = parse(&text);
        prop_assert_eq!(config.user, Some(user));
        prop_assert_eq!(config.password, Some(Password::from(password)));
        prop_assert_eq!(config.database, Some(database));
    }
}

#[test]
fn the_document_has_every_keyword_of_libpq_and_why_some_do_nothing() {
    let document = include_str!("../../../docs/libpq.md");
    for keyword in &keyword::KEYWORDS {
        let start = format!("| `{}` | ", keyword.name);
        let row = document.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}"));
        let why = match keyword.role {
            keyword::Role::Sets => "as in libpq",
            keyword::Role::Ignored { why } | keyword::Role::Only { why, .. } => why,
        };
        assert!(row.contains(why), "{row}: {why}");
        assert!(keyword.variable.is_none_or(|variable| row.contains(variable)), "{row}");
    }
}

#[test]
fn what_is_shown_is_read_back() {
    for text in [
        "",
        "host=a,/run/pg,c port=1,2,3 user='it''s' dbname='a b'".replace("''", r"\'").as_str(),
        "hostaddr=127.0.0.1,::1 host=a, port=5 sslmode=verify-full sslrootcert=system channel_binding=require",
        "require_auth=!md5,!password requirepeer=postgres options='-c a=b' load_balance_hosts=random",
        "keepalives=0 keepalives_idle=0 tcp_user_timeout=1500 connect_timeout=0 target_session_attrs=prefer-standby",
        "sslcert=/c sslkey=/k sslcrl=/r sslcrldir=/d sslcertmode=disable sslsni=0 ssl_min_protocol_version=TLSv1.3",
        "pool_max_conns=7 pool_min_conns=0 pool_lazy=true pool_idle_order=fifo pool_max_uses=5 pool_max_conn_lifetime=0",
        "host=a,b pool_connect_timeout=5s",
        "pool_release=custom pool_release_sql='SELECT 1; RESET ALL' pool_on_open_transaction=close",
        "host=a,b connect_timeout=3",
        "pool_leak_after=90s pool_refuse_self_wait=true pool_collect_within=1m pool_slow_acquire=0",
        "password=s3cr3t pool_connect_timeout=7s pool_acquire_timeout=1500ms passfile=/p application_name=x",
    ] {
        let config = parse(text);
        let shown = config.to_string();
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert_eq!(parse(&shown), PostgresConfig { password: None, ..config }, "{shown}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let all = error("host=a,b port=1,2,3 sslmode=maybe pool_max_conns=0 sslnegotiation=direct replication=true user=u");
    for part in [
        "port has 3 items and host has 2",
        r#"sslmode = "maybe""#,
        r#"pool_max_conns = "0""#,
        "sslnegotiation=direct and sslmode=prefer exclude each other",
        r#"replication = "true" cannot be used: a session of replication is none of a pool; allowed: false, off, no, 0"#,
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[test]
fn a_service_a_variable_and_a_string_count_in_this_order() {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libpq");
    let lookup = |name: &str| match name {
        "PGSERVICEFILE" => Some(home.join("services.conf").display().to_string()),
        "PGUSER" => Some("of the environment".to_owned()),
        "PGDATABASE" => Some("database of the environment".to_owned()),
        "PGAPPNAME" => Some("app".to_owned()),
        _ => None,
    };
    let config = PostgresConfig::resolve_from("service=one dbname=d", lookup).unwrap();
    assert_eq!(config.hosts, [Host::new("db.example", 6000)]);
    assert_eq!((config.user.as_deref(), config.database.as_deref()), (Some("of the service"), Some("d")));
    assert_eq!(config.application_name.as_deref(), Some("app"));
    let wrong = |text: &str| PostgresConfig::resolve_from(text, lookup).unwrap_err().to_string();
    assert_eq!(wrong("service=none"), r#"the service "none": no service file has it"#);
    assert!(wrong("service=wrong").contains("line 8 of ") && wrong("service=wrong").contains(r#"is "host" meant?"#));
    assert!(wrong("service=port").contains(r#"port = "x" (line 10 of "#), "{}", wrong("service=port"));
    assert!(error("service=one").contains("PostgresConfig::resolve reads the service file"));
}

#[test]
fn all_servers_have_the_time_of_each_unless_something_else_is_said() {
    let seconds = Duration::from_secs;
    let of = |config: &PostgresConfig| config.clone().in_step().pool.connect_timeout;
    let mut config = PostgresConfig::default();
    assert_eq!(of(&config), seconds(5));
    config.hosts = vec![Host::new("a", 1), Host::new("b", 1), Host::new("c", 1)];
    assert_eq!(of(&config), seconds(15));
    assert_eq!(parse(&config.to_string()), config.clone().in_step());
    config.connect_timeout = seconds(7);
    assert_eq!(of(&config.clone().in_step()), seconds(21), "once more is as good");
    config.pool.connect_timeout = seconds(6);
    assert_eq!(of(&config), seconds(6));
    let mut config = parse("host=a,b connect_timeout=3");
    config.hosts.pop();
    assert_eq!(of(&config), seconds(3), "of a string that is changed, too");
    let mut config = parse("host=a,b pool_connect_timeout=5s");
    assert_eq!(of(&config), seconds(5));
    config.hosts.pop();
    assert_eq!(of(&config), seconds(5));
}

#[test]
fn a_host_that_would_be_two_is_refused() {
    let config = PostgresConfig { hosts: vec![Host::new("a,b", 1)], ..PostgresConfig::default() };
    let error = config.validate().unwrap_err().to_string();
    assert_eq!(error, r#"host = "a,b" is not allowed; allowed: a name or an address without a comma, for each host"#);
}
