//! Everything that is wrong is told at once.

use std::path::PathBuf;

use super::tests::error;
use super::{PostgresConfig, PostgresConfigError, SslMode};
use crate::{PostgresDriver, PostgresError, PostgresPool};

/// As a list, for a string and for what else there is.
fn problems(outcome: Result<PostgresConfig, PostgresConfigError>) -> Vec<String> {
    let error = outcome.expect_err("there are problems");
    assert!(error.problems().iter().all(|problem| problem.problems().len() == 1), "no list in a list: {error:?}");
    error.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn several_bad_keywords_of_one_string_are_one_error() {
    let four = [
        r#"unknown keyword "colour"; docs/libpq.md has them all"#,
        // After one that nobody knows, it may be a part of that one's value.
        r#"unknown keyword (not shown, as it may hold a password); is "host" meant?"#,
        r#"port = "x" is not allowed; allowed: 1 to 65535"#,
        r#"sslmode = "maybe" is not allowed; allowed: disable, allow, prefer, require, verify-ca, verify-full"#,
    ];
    assert_eq!(problems("colour=red sslmode=maybe hosst=h port=x".parse()), four);
    assert_eq!(problems("postgres:///?colour=red&sslmode=maybe&hosst=h&port=x".parse()), four);
    let broken = problems("colour=red sslmode=maybe user='u".parse());
    assert!(
        matches!(&broken[..], [first, second, third] if first == four[0] && second.contains("quote") && third == four[3]),
        "{broken:?}"
    );
    let uri = "postgres://%ff:p@a,b:x/%zz?sslmode=maybe&colour&sslnegotiation=direct&hosst=h&pool_max_conns=many";
    let uri = problems(uri.parse());
    let parts =
        ["UTF-8", "a port", "hexadecimal", "one =", "a keyword after a password", "pool_max_conns", "sslmode = "];
    assert_eq!(uri.len(), parts.len(), "{uri:#?}");
    assert!(parts.iter().zip(&uri).all(|(part, problem)| problem.contains(part)), "{uri:#?}");
    assert_eq!(problems("port=x port=x colour=1 shape=2 shape=3".parse()).len(), 3, "once each");
}

#[test]
fn what_may_go_with_something_that_cannot_be_read_is_no_problem() {
    for text in ["postgres://h:1,i:2/?host=%zz&hostaddr=::1", "postgres:///?sslmode=%zz&sslnegotiation=direct"] {
        let problems = problems(text.parse());
        assert!(matches!(&problems[..], [one] if one.contains("hexadecimal")), "{text}: {problems:?}");
    }
}

#[test]
fn what_is_wrong_in_a_file_the_environment_and_a_string_is_told_at_once() {
    let file = std::env::temp_dir().join(format!("pool-services-{}.conf", std::process::id()));
    std::fs::write(&file, "[s]\ncolour=red\nshape\nport=x\n").unwrap();
    let lookup = |name: &str| match name {
        "PGSERVICEFILE" => Some(file.display().to_string()),
        "PGSSLMODE" => Some("maybe".to_owned()),
        "POOL_MAX_CONNS" => Some("many".to_owned()),
        _ => None,
    };
    let said = problems(PostgresConfig::resolve_from("service=s hosst=h gssencmode=require", lookup));
    std::fs::remove_file(&file).unwrap();
    let parts = [
        r#"unknown keyword "hosst""#,
        "line 2 of ",
        "there is no =",
        r#"port = "x" (line 4 of "#,
        r#"gssencmode = "require" cannot be used: there is no GSSAPI here; allowed: disable, prefer"#,
        r#"pool_max_conns = "many" (from POOL_MAX_CONNS)"#,
        r#"sslmode = "maybe" (from PGSSLMODE)"#,
    ];
    assert_eq!(said.len(), parts.len(), "{said:#?}");
    assert!(parts.iter().zip(&said).all(|(part, problem)| problem.contains(part)), "{said:#?}");
}

#[test]
fn what_cannot_be_used_is_told_with_its_value() {
    assert_eq!(
        error("client_encoding=LATIN1"),
        r#"client_encoding = "LATIN1" cannot be used: text is UTF-8 in Rust; allowed: auto, UTF8, utf8, UTF-8, utf-8"#
    );
    let variable = |name: &str| (name == "PGGSSENCMODE").then(|| "require".to_owned());
    assert_eq!(
        PostgresConfig::resolve_from("", variable).unwrap_err().to_string(),
        r#"gssencmode = "require" (from PGGSSENCMODE) cannot be used: there is no GSSAPI here; allowed: disable, prefer"#
    );
    assert_eq!(
        error("scram_client_key=s3cr3t"),
        "scram_client_key = (not shown, as it may hold a password) cannot be used: logging in takes a password, and not what is derived from it; allowed: nothing"
    );
}

#[test]
fn the_files_of_the_user_are_found_unless_others_are_named() {
    let home = std::env::temp_dir().join(format!("pool-home-{}", std::process::id()));
    let folder = home.join(".postgresql");
    std::fs::create_dir_all(&folder).unwrap();
    let variable = |name: &str| (name == "HOME").then(|| home.display().to_string());
    let found = |text: &str| {
        let config = PostgresConfig::resolve_from(text, variable).unwrap();
        let root = config.sslrootcert.map(|root| PathBuf::from(root.to_string()));
        [config.sslcert, config.sslkey, root, config.sslcrl]
    };
    assert_eq!(found(""), [None, None, None, None]);
    let files = ["postgresql.crt", "postgresql.key", "root.crt", "root.crl"].map(|name| folder.join(name));
    for file in &files {
        std::fs::write(file, "").unwrap();
    }
    let [cert, key, root, revoked] = files.map(Some);
    let other = || Some("/x".into());
    let all = [found(""), found("sslcert=/x sslkey=/x"), found("sslrootcert=/x sslcrl=/x"), found("sslcrldir=/x")];
    std::fs::remove_dir_all(&home).unwrap();
    assert_eq!(all[0], [cert.clone(), key.clone(), root.clone(), revoked.clone()]);
    assert_eq!(all[1], [other(), other(), root.clone(), revoked]);
    assert_eq!(all[2], [cert.clone(), key.clone(), other(), other()]);
    assert_eq!(all[3], [cert, key, root, None], "a folder takes the place of the file");
}

#[test]
fn a_driver_refuses_what_a_pool_refuses() {
    let mut config: PostgresConfig = "host=h user=u sslrootcert=system".parse().unwrap();
    (config.sslmode, config.pool.min_size) = (SslMode::Require, 21);
    let of_the_config = config.validate().unwrap_err();
    assert_eq!(of_the_config.problems().len(), 2, "{of_the_config}");
    let of_the_pool = PostgresPool::builder(config.clone()).map(drop).unwrap_err();
    let of_the_driver = PostgresDriver::new(config).map(drop).unwrap_err();
    for error in [of_the_pool, of_the_driver] {
        assert!(matches!(&error, PostgresError::Config(told) if *told == of_the_config), "{error}");
    }
}
