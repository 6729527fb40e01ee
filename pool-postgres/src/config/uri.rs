//! `postgres://user:password@host:port/database?keyword=value`.

use percent_encoding::percent_decode_str;

use super::{PostgresConfig, PostgresConfigError};

/// Parses what follows the scheme.
pub(super) fn parse(rest: &str, config: &mut PostgresConfig) -> Result<(), PostgresConfigError> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    if is_cut_off(authority, database, query) {
        return Err(CUT_OFF);
    }
    let (user_info, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    set(config, "user", user)?;
    set(config, "password", password)?;
    set_address(config, address)?;
    set(config, "dbname", database)?;
    set_query(config, query)
}

/// Whether a password with a `/` or `?` in it may have been cut there: its `@` comes later. libpq takes the rest for the name of a database, or for keywords, and so it would be shown.
fn is_cut_off(authority: &str, database: &str, query: &str) -> bool {
    let has_user = authority.contains('@');
    !has_user && (database.contains('@') || authority.contains(':') && query.contains('@'))
}

const CUT_OFF: PostgresConfigError = PostgresConfigError::Malformed {
    part: "what follows the host",
    problem: "an @ is written %40 there; a @ : / or ? in a user name or password is written %40 %3A %2F %3F",
};

fn set_query(config: &mut PostgresConfig, query: &str) -> Result<(), PostgresConfigError> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (keyword, value) = pair.split_once('=').ok_or(MISSING_EQUALS)?;
        config.set(&decode(keyword)?, &decode(value)?)?;
    }
    Ok(())
}

const MISSING_EQUALS: PostgresConfigError =
    PostgresConfigError::Malformed { part: "the query", problem: "every keyword needs = and a value" };

fn set(config: &mut PostgresConfig, keyword: &str, value: &str) -> Result<(), PostgresConfigError> {
    if value.is_empty() { Ok(()) } else { config.set(keyword, &decode(value)?) }
}

fn set_address(config: &mut PostgresConfig, address: &str) -> Result<(), PostgresConfigError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(bracketed) => {
            let wrong = PostgresConfigError::Malformed {
                part: "the host",
                problem: "an address in [ ], and after it nothing or : and a port",
            };
            let (host, port) = bracketed.split_once(']').filter(|(host, _)| !host.is_empty()).ok_or(wrong.clone())?;
            let port = if port.is_empty() { port } else { port.strip_prefix(':').ok_or(wrong)? };
            (host, port)
        }
        None => address.split_once(':').unwrap_or((address, "")),
    };
    // Neither is echoed: with a password that holds an unencoded `/` or `@`, it would be a part of it.
    let hint = "a @ : / or ? in a user name or password is written %40 %3A %2F %3F";
    set(config, "host", host)
        .map_err(|_| PostgresConfigError::Malformed { part: "the host", problem: "one host is allowed" })?;
    set(config, "port", port)
        .map_err(|_| PostgresConfigError::Malformed { part: "the port, allowed 1 to 65535", problem: hint })
}

fn decode(text: &str) -> Result<String, PostgresConfigError> {
    let encoded =
        |part: &str| part.get(..2).is_some_and(|code| code != "00" && code.chars().all(|c| c.is_ascii_hexdigit()));
    if !text.split('%').skip(1).all(encoded) {
        return Err(PostgresConfigError::Malformed {
            part: "a %-encoded value",
            problem: "a % needs two hexadecimal digits, not 00",
        });
    }
    let wrong = |_| PostgresConfigError::Malformed { part: "a %-encoded value", problem: "it is not UTF-8" };
    percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(wrong)
}
