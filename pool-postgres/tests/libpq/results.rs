//! What we make of a string, beside what libpq makes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use pool_postgres::{Host, PostgresConfig, PostgresConfigError, TlsVersion};

use crate::differences;
use crate::judge::{Answer, SYSTEM_USER};

/// A string, and the variables around it.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Question {
    pub(crate) text: String,
    pub(crate) env: BTreeMap<String, String>,
    /// Not damaged, so that what is a password is meant to be one.
    pub(crate) is_whole: bool,
}

/// What comes of a question, if it is what libpq does or is different on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Accepted,
    Refused,
    OnPurpose(&'static str),
}

/// Whether both accept it and mean the same, or both refuse it; an error says what is different and should not be.
pub(crate) fn compare(
    question: &Question,
    ours: &Result<PostgresConfig, PostgresConfigError>,
    theirs: &Answer,
) -> Result<Verdict, String> {
    match (ours, theirs.refusal()) {
        (Ok(config), None) => difference(config, theirs).map_or(Ok(Verdict::Accepted), Err),
        (Err(_), Some(_)) => Ok(Verdict::Refused),
        (Ok(_), Some(problem)) => differences::only_they_refuse(question, &problem)
            .map(Verdict::OnPurpose)
            .ok_or_else(|| format!("libpq alone refuses it: {problem}")),
        (Err(error), None) => differences::only_we_refuse(error)
            .map(Verdict::OnPurpose)
            .ok_or_else(|| format!("libpq takes it, and we do not: {error}")),
    }
}

/// A keyword, what we say of it, and what libpq says, in our words.
type Said = (&'static str, String, String);

/// Where the two differ in what they have made of a string.
fn difference(ours: &PostgresConfig, theirs: &Answer) -> Option<String> {
    let all = [whom(ours, theirs), how(ours, theirs), tls(ours, theirs), times(ours, theirs)].concat();
    let different = all.into_iter().find(|(_, ours, theirs)| ours != theirs);
    different.map(|(name, ours, theirs)| format!("{name}: we say {ours:?}, and libpq {theirs:?}"))
}

fn shown(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn path(value: Option<&std::path::PathBuf>) -> String {
    value.map(|path| path.display().to_string()).unwrap_or_default()
}

fn first(texts: [String; 2]) -> String {
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

fn whom(ours: &PostgresConfig, theirs: &Answer) -> Vec<Said> {
    let user = ours.user.clone().unwrap_or_else(|| SYSTEM_USER.with(Clone::clone));
    let servers = hosts(&theirs.of("host"), &theirs.of("hostaddr"), &theirs.of("port"));
    let password = ours.password.as_ref().map(|password| password.reveal().to_owned());
    let name = first([theirs.of("application_name"), theirs.of("fallback_application_name")]);
    // With a password libpq does not look for the file of the user, which is used for nothing here either.
    let has_no_use = password.is_some() && theirs.of("passfile").is_empty();
    let passfile = ours.passfile.as_ref().filter(|_| !has_no_use);
    vec![
        ("hosts", format!("{:?}", ours.hosts), format!("{servers:?}")),
        ("dbname", first([shown(ours.database.as_ref()), user.clone()]), theirs.database.clone().unwrap_or_default()),
        ("user", user, theirs.user.clone().unwrap_or_default()),
        ("password", password.unwrap_or_default(), theirs.of("password")),
        ("passfile", path(passfile), theirs.of("passfile")),
        ("application_name", shown(ours.application_name.as_ref()), name),
    ]
}

fn how(ours: &PostgresConfig, theirs: &Answer) -> Vec<Said> {
    let same = |name: &'static str, ours: String| (name, ours, theirs.of(name));
    vec![
        same("options", shown(ours.options.as_ref())),
        same("channel_binding", ours.channel_binding.to_string()),
        same("load_balance_hosts", ours.load_balance_hosts.to_string()),
        same("target_session_attrs", ours.target_session_attrs.to_string()),
        same("require_auth", shown(ours.require_auth.as_ref())),
        same("requirepeer", shown(ours.requirepeer.as_ref())),
    ]
}

fn tls(ours: &PostgresConfig, theirs: &Answer) -> Vec<Said> {
    let same = |name: &'static str, ours: String| (name, ours, theirs.of(name));
    let least = ours.ssl_min_protocol_version.to_string();
    vec![
        same("sslmode", ours.sslmode.to_string()),
        same("sslnegotiation", ours.sslnegotiation.to_string()),
        same("sslrootcert", shown(ours.sslrootcert.as_ref())),
        same("sslcert", path(ours.sslcert.as_ref())),
        same("sslkey", path(ours.sslkey.as_ref())),
        same("sslcertmode", ours.sslcertmode.to_string()),
        same("sslcrl", path(ours.sslcrl.as_ref())),
        same("sslcrldir", path(ours.sslcrldir.as_ref())),
        ("sslsni", u8::from(ours.sslsni).to_string(), first([theirs.of("sslsni"), "1".to_owned()])),
        (
            "ssl_min_protocol_version",
            least,
            version(&first([theirs.of("ssl_min_protocol_version"), "TLSv1.2".to_owned()])),
        ),
        (
            "ssl_max_protocol_version",
            shown(ours.ssl_max_protocol_version.as_ref()),
            version(&theirs.of("ssl_max_protocol_version")),
        ),
    ]
}

/// A version as we write it; the oldest ones stand for the oldest that is spoken.
fn version(text: &str) -> String {
    match text.to_lowercase().as_str() {
        "" => String::new(),
        "tlsv1.3" => TlsVersion::V1_3.to_string(),
        _ => TlsVersion::V1_2.to_string(),
    }
}

/// What libpq leaves to the system, or without an end, has defaults here.
fn times(ours: &PostgresConfig, theirs: &Answer) -> Vec<Said> {
    let default = PostgresConfig::default();
    let number = |name: &str| signed(theirs, name).map(|number| u64::try_from(number).unwrap_or(0));
    let time = |name, unit: fn(u64) -> Duration, default| match number(name) {
        Some(number) => Some(unit(number)).filter(|time| !time.is_zero()),
        None => default,
    };
    let said = |name: &'static str, ours: Option<Duration>, unit, default: Option<Duration>| {
        // Of a duration with a unit libpq says later that it is none.
        let ours = ours.filter(|_| !has_unit(theirs, name));
        let default = default.filter(|_| !has_unit(theirs, name));
        (name, format!("{ours:?}"), format!("{:?}", time(name, unit, default)))
    };
    let seconds = Duration::from_secs;
    // Without an end is ten years here.
    let patience = Some(ours.connect_timeout).filter(|time| *time < seconds(10 * 365 * 24 * 3600));
    let count = number("keepalives_count")
        .map_or(default.keepalives_count, |count| u32::try_from(count).ok().filter(|count| *count > 0));
    vec![
        ("keepalives", ours.keepalives.to_string(), (signed(theirs, "keepalives") != Some(0)).to_string()),
        said("keepalives_idle", ours.keepalives_idle, seconds, default.keepalives_idle),
        said("keepalives_interval", ours.keepalives_interval, seconds, default.keepalives_interval),
        ("keepalives_count", format!("{:?}", ours.keepalives_count), format!("{count:?}")),
        said("tcp_user_timeout", ours.tcp_user_timeout, Duration::from_millis, None),
        said("connect_timeout", patience, seconds, Some(default.connect_timeout)),
    ]
}

fn has_unit(theirs: &Answer, name: &str) -> bool {
    signed(theirs, name).is_none() && !theirs.of(name).is_empty()
}

fn signed(theirs: &Answer, name: &str) -> Option<i32> {
    theirs.of(name).trim().parse().ok()
}

/// What libpq takes for the servers, in our words.
fn hosts(names: &str, addresses: &str, ports: &str) -> Vec<Host> {
    let list =
        |text: &str| if text.is_empty() { Vec::new() } else { text.split(',').map(str::to_owned).collect::<Vec<_>>() };
    let (names, addresses, ports) = (list(names), list(addresses), list(ports));
    let count = if addresses.is_empty() { names.len().max(1) } else { addresses.len() };
    let item = |list: &[String], at: usize| list.get(at).cloned().unwrap_or_default();
    let one = |at: usize| {
        let (name, address) = (item(&names, at), item(&addresses, at));
        let port = if ports.len() == 1 { item(&ports, 0) } else { item(&ports, at) };
        let name = if name.is_empty() && address.is_empty() { "/var/run/postgresql".to_owned() } else { name };
        let mut host = Host::new(name, if port.is_empty() { 5432 } else { port.trim().parse().unwrap() });
        host.address = (!address.is_empty()).then(|| address.parse().unwrap());
        host
    };
    (0..count).map(one).collect()
}
