//! What is different on purpose. docs/libpq.md says why.

use pool_postgres::PostgresConfigError;

use crate::results::Question;

/// Strings that we refuse, and libpq takes.
pub(crate) fn only_we_refuse(error: &PostgresConfigError) -> Option<&'static str> {
    error.problems().iter().map(reason).collect::<Option<Vec<_>>>()?.into_iter().next()
}

fn reason(error: &PostgresConfigError) -> Option<&'static str> {
    match error {
        PostgresConfigError::Unsupported { .. } => Some("what cannot be done"),
        PostgresConfigError::Malformed { problem: "it is not UTF-8", .. } => Some("text that is not UTF-8"),
        PostgresConfigError::Malformed { part, .. } => of_a_part(part),
        PostgresConfigError::Value { field: "hostaddr", value, .. } => {
            (is_old(value) || has_zone(value) || value.starts_with("(not shown"))
                .then_some("an address that leaves parts out, is not decimal, or has a zone")
        }
        PostgresConfigError::Value { field, .. } => of_a_value(field),
        _ => None,
    }
}

fn of_a_part(part: &str) -> Option<&'static str> {
    match part {
        "what follows the scheme" => Some("an @ in a host, a database or a query"),
        // In a URI, where libpq looks at what is left in the end.
        "a port, allowed 1 to 65535" => Some("a wrong port that another one replaces"),
        "dbname" | "user" | "host" => Some("a connection string as a name, or an @ or // in a host"),
        "application_name" | "options" | "requirepeer" => Some("a password in it, which would be shown"),
        "passfile" | "sslcert" | "sslkey" | "sslrootcert" | "sslcrl" | "sslcrldir" => {
            Some("a password or a key in it, which would be shown")
        }
        "a value that begins like a password" => Some("a password that is the value of another keyword"),
        "the host, which begins with [" => Some("brackets around a / or ?"),
        "the scheme" => Some("a URI of something else"),
        _ => None,
    }
}

fn of_a_value(field: &str) -> Option<&'static str> {
    match field {
        "tcp_user_timeout" | "connect_timeout" => Some("numbers that fail when a connection is opened"),
        keepalive if keepalive.starts_with("keepalives") => Some("numbers that fail when a connection is opened"),
        "sslsni" => Some("sslsni is 1 or 0"),
        _ => None,
    }
}

/// Strings that libpq refuses, and we take.
pub(crate) fn only_they_refuse(question: &Question, problem: &str) -> Option<&'static str> {
    let has_empty = question.env.values().any(String::is_empty);
    if has_empty && problem.contains("\"\"") {
        return Some("an empty variable is none");
    }
    // In a string, and in the query of a URI.
    let of_the_pool = ["invalid connection option \"pool_", "invalid URI query parameter: \"pool_"];
    of_the_pool.iter().any(|start| problem.starts_with(start)).then_some("a keyword of the pool")
}

/// Such as `127.1` or `0177.0.0.1`, as C's `inet_aton` takes it, which does not look at what follows a space.
fn is_old(address: &str) -> bool {
    let address = address.split(|letter: char| letter.is_ascii_whitespace()).next().unwrap_or_default();
    // The system takes it for any.
    if address == "*" {
        return true;
    }
    let parts: Vec<_> = address.split('.').collect();
    parts.len() <= 4 && parts.iter().all(|part| is_number(part))
}

/// Such as `fe80::1%eth0`.
fn has_zone(address: &str) -> bool {
    address.split_once('%').is_some_and(|(address, _)| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Decimal, octal or hexadecimal, as in C.
fn is_number(text: &str) -> bool {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    hexadecimal.map_or_else(|| text.parse::<u32>().is_ok(), |digits| u32::from_str_radix(digits, 16).is_ok())
}
