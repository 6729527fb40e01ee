//! `postgres://user:password@host:port,host:port/database?keyword=value`, taken apart as libpq does.

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::given::Given;
use super::suspect::Pairs;
use super::{PostgresConfigError, number};

/// Parses what follows the scheme, as far as it can be taken apart.
pub(super) fn parse(rest: &str, given: &mut Given) {
    let (user_info, rest) = without_user(rest);
    let (hosts, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (database, query) = rest.split_once('?').unwrap_or((rest, ""));
    let database = database.strip_prefix('/').unwrap_or(database);
    if hosts.contains('@') || database.contains('@') || user_info.is_none() && is_cut_off(hosts, query) {
        return given.cut(CUT_OFF);
    }
    let (names, ports) = match addresses(hosts) {
        Ok(lists) => lists,
        Err(problem) => return given.cut(problem),
    };
    set_user(given, user_info.unwrap_or(""));
    set(given, "host", &names);
    let ports = checked(ports).map(|ports| set(given, "port", &ports));
    // It may be that of a password which was cut at its `?`, after a port that is none, or before an `@`.
    let is_suspect = ports.is_err() || query.contains('@');
    if let Err(problem) = ports {
        given.cut(problem);
    }
    set(given, "dbname", database);
    set_query(given, query, is_suspect);
}

/// The user and password before an `@`, if there is one, and the rest.
fn without_user(text: &str) -> (Option<&str>, &str) {
    match text.find(['@', '/']) {
        Some(at) if text.as_bytes()[at] == b'@' => (Some(&text[..at]), &text[at + 1..]),
        _ => (None, text),
    }
}

fn set_user(given: &mut Given, info: &str) {
    let (user, password) = info.split_once(':').unwrap_or((info, ""));
    set(given, "user", user);
    set(given, "password", password);
}

/// Whether a password with a `?` in it may have been cut there: its `@` comes later. libpq takes the rest for keywords, and so it would be shown, as it would be after a `/` as the name of a database.
fn is_cut_off(hosts: &str, query: &str) -> bool {
    let may_have_one = |pair: &str| pair.starts_with("user=") || pair.starts_with("password=");
    hosts.contains(':') && query.split('&').any(|pair| pair.contains('@') && !may_have_one(pair))
}

const CUT_OFF: PostgresConfigError = PostgresConfigError::Malformed {
    part: "what follows the scheme",
    problem: "an @ is written %40 there; an @ : / or ? in a user name or password is written %40 %3A %2F %3F",
};

/// Ports are looked at here, and not echoed: of a string in which the host was forgotten, or a password has an `@` or `/` that is not encoded, they are part of it.
fn checked(ports: String) -> Result<String, PostgresConfigError> {
    let wrong = PostgresConfigError::Malformed {
        part: "a port, allowed 1 to 65535",
        problem: "an @ : / or ? in a user name or password is written %40 %3A %2F %3F",
    };
    let decoded = decode(&ports).map_err(|_| wrong.clone())?;
    let is_port = |port: &str| port.is_empty() || number::port(port).is_some();
    if decoded.split(',').all(is_port) { Ok(ports) } else { Err(wrong) }
}

/// The lists of hosts and of ports: as many items in each.
fn addresses(text: &str) -> Result<(String, String), PostgresConfigError> {
    let (mut hosts, mut ports, mut rest) = (String::new(), String::new(), text);
    loop {
        let (host, after) = one_host(rest)?;
        hosts.push_str(host);
        let (port, more) = match after.strip_prefix(':') {
            Some(port) => port.split_at(port.find(',').unwrap_or(port.len())),
            None => ("", after),
        };
        ports.push_str(port);
        let Some(next) = more.strip_prefix(',') else { break };
        hosts.push(',');
        ports.push(',');
        rest = next;
    }
    Ok((hosts, ports))
}

/// The first host, and what follows it: nothing, `:` or `,`.
fn one_host(text: &str) -> Result<(&str, &str), PostgresConfigError> {
    let Some(bracketed) = text.strip_prefix('[') else {
        return Ok(text.split_at(text.find([':', ',']).unwrap_or(text.len())));
    };
    let (address, after) = bracketed.split_once(']').ok_or(NOT_CLOSED)?;
    if address.is_empty() {
        return Err(BRACKETS);
    }
    if after.is_empty() || after.starts_with([':', ',']) { Ok((address, after)) } else { Err(BRACKETS) }
}

/// libpq looks for the `]` in all that follows, the database and the query too.
const NOT_CLOSED: PostgresConfigError =
    PostgresConfigError::Malformed { part: "the host, which begins with [", problem: "the ] is missing" };

const BRACKETS: PostgresConfigError = PostgresConfigError::Malformed {
    part: "the host",
    problem: "an address in [ ], and after it nothing, or : and a port, or a comma and the next host",
};

fn set_query(given: &mut Given, query: &str, is_suspect: bool) {
    let mut pairs = Pairs::of(given);
    if is_suspect {
        pairs.hide();
    }
    for pair in query.strip_suffix('&').unwrap_or(query).split('&').filter(|_| !query.is_empty()) {
        match decoded(pair) {
            // As JDBC says it.
            Ok((keyword, value)) if (keyword.as_str(), value.as_str()) == ("ssl", "true") => {
                pairs.set("sslmode", "require".to_owned());
            }
            Ok((keyword, value)) => pairs.set(&keyword, value),
            Err(problem) => pairs.cut(problem),
        }
    }
}

fn decoded(pair: &str) -> Result<(String, String), PostgresConfigError> {
    let parts = pair.split_once('=').filter(|(_, value)| !value.contains('='));
    let (keyword, value) = parts.ok_or(NOT_ONE_EQUALS)?;
    Ok((decode(keyword)?, decode(value)?))
}

const NOT_ONE_EQUALS: PostgresConfigError = PostgresConfigError::Malformed {
    part: "the query",
    problem: "every keyword needs one = and a value, in which a = is written %3D and a & %26",
};

/// A keyword that there is.
fn set(given: &mut Given, keyword: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    if let Err(problem) = decode(value).and_then(|value| given.set(keyword, value)) {
        given.cut(problem);
    }
}

/// Spaces at the ends are left out, and refused in between.
fn decode(text: &str) -> Result<String, PostgresConfigError> {
    let wrong = |problem| PostgresConfigError::Malformed { part: "a %-encoded value", problem };
    let text = text.trim_matches(' ');
    if text.contains(' ') {
        return Err(wrong("a space is written %20"));
    }
    let is_code = |part: &str| {
        let code = part.as_bytes().get(..2);
        code.is_some_and(|code| code != b"00" && code.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_code) {
        return Err(wrong("a % needs two hexadecimal digits, not 00"));
    }
    // With room for all of it: a password that had to move while it grows would leave a part of it behind.
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    decoded.extend(percent_decode_str(text));
    std::str::from_utf8(&decoded).map(str::to_owned).map_err(|_| wrong("it is not UTF-8"))
}
