//! No secret is in what a configuration shows, nor in what is said of one.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use pool_testkit::secrets::MARK;

use super::keyword::SECRETS;
use super::{Host, PostgresConfig, PostgresConfigError, given};
use crate::credentials::{
    Cache, Credentials, CredentialsError, CredentialsFailure, CredentialsProvider, CredentialsRequest,
};
use crate::error::{ConnectError, ConnectStep};
use crate::{PostgresDriver, PostgresPool};

/// What no keyword can do with but those of a free text.
const WRONG: &str = "-7 x";

/// What an error is, so that one more has to be looked at here, too.
fn kind(error: &PostgresConfigError) -> &'static str {
    match error {
        PostgresConfigError::Value { .. } => "value",
        PostgresConfigError::Unsupported { .. } => "unsupported",
        PostgresConfigError::Lists { .. } => "lists",
        PostgresConfigError::Conflict { .. } => "conflict",
        PostgresConfigError::Several(_) => "several",
        PostgresConfigError::Unknown { .. } => "unknown",
        PostgresConfigError::Malformed { .. } => "malformed",
        PostgresConfigError::Service { .. } => "service",
        PostgresConfigError::Missing { .. } => "missing",
    }
}

/// The same of a provider's failure.
fn kind_of_failure(failure: &CredentialsFailure) -> &'static str {
    match failure {
        CredentialsFailure::Failed(_) => "failed",
        CredentialsFailure::TimedOut { .. } => "late",
        CredentialsFailure::Panicked { .. } => "panicked",
    }
}

fn is_silent(text: &str, from: &str) {
    assert!(!text.contains(MARK), "{from}: {text}");
}

fn debug(what: &dyn Debug, from: &str) {
    is_silent(&format!("{what:?} {what:#?}"), from);
}

/// Shows everything that can be shown of an outcome, and remembers what has been seen.
#[derive(Default)]
struct Shown(BTreeSet<&'static str>);

impl Shown {
    fn outcome(&mut self, outcome: Result<PostgresConfig, PostgresConfigError>, from: &str) {
        match outcome {
            Ok(config) => {
                self.0.insert("fine");
                debug(&config, from);
                is_silent(&config.to_string(), from);
            }
            Err(error) => {
                self.0.insert(kind(&error));
                debug(&error, from);
                is_silent(&format!("{error} {error:#}"), from);
            }
        }
    }
}

/// What is wrong in one way each, with a `{}` where there may be more.
const STRINGS: [&str; 13] = [
    "{}",
    "{} sslmode=maybe",
    "{} replication=true",
    "{} host=a,b port=1,2,3",
    "{} sslnegotiation=direct",
    "{} sslmode=maybe port=x",
    "{} colour=red",
    "{} nothing",
    "{} service=none",
    "colour=red {}",
    "port=x {} colour=red",
    "{} dbname='",
    "{} dbname=postgres://u:p@h",
];

fn variable(name: &str, all: &[(&str, &str)]) -> Option<String> {
    all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

#[test]
fn no_secret_is_shown_of_a_string_whatever_is_wrong_with_it() {
    let mut shown = Shown::default();
    for keyword in SECRETS {
        for text in STRINGS {
            for value in [MARK.to_owned(), format!("'{MARK} {MARK}'"), format!("{MARK} {MARK}=x"), format!("'{MARK}")] {
                let text = text.replace("{}", &format!("{keyword}={value}"));
                shown.outcome(text.parse(), &text);
                shown.outcome(PostgresConfig::resolve_from(&text, |_| None), &text);
            }
        }
    }
    for keyword in given::all() {
        for text in [format!("password={MARK} {keyword}='{WRONG}'"), format!("{keyword}='{WRONG}' password='{MARK}'")] {
            shown.outcome(text.parse(), &text);
        }
        let uri = format!("postgres://u:{MARK}@h/d?{keyword}=%2D7%20x");
        shown.outcome(uri.parse(), &uri);
    }
    // Of a configuration that a program has made.
    let none = PostgresConfig { password: Some(MARK.into()), hosts: Vec::new(), ..PostgresConfig::default() };
    shown.outcome(none.validate().map(|()| none.clone()), "no host");
    debug(&none, "no host");
    let all =
        ["conflict", "fine", "lists", "malformed", "missing", "service", "several", "unknown", "unsupported", "value"];
    assert_eq!(shown.0.into_iter().collect::<Vec<_>>(), all, "all of them");
}

#[test]
fn no_secret_is_shown_of_variables_and_files_whatever_is_wrong_with_them() {
    let folder = std::env::temp_dir().join(format!("pool-hidden-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("services.conf");
    let mut shown = Shown::default();
    for known in &super::keyword::KEYWORDS {
        let (keyword, name) = (known.name, known.variable.unwrap_or("POOL_MAX_CONNS"));
        let variables = [("PGPASSWORD", MARK), (name, WRONG)];
        shown.outcome(PostgresConfig::resolve_from("", |name| variable(name, &variables)), name);
        fs::write(&file, format!("[s]\npassword={MARK}\n{keyword}={WRONG}\n")).unwrap();
        let path = file.display().to_string();
        let variables = [("PGSERVICEFILE", path.as_str())];
        shown.outcome(PostgresConfig::resolve_from("service=s", |name| variable(name, &variables)), keyword);
    }
    for wrong in ["password", "colour=red", "service=t"] {
        fs::write(&file, format!("[s]\npassword={MARK}\n{wrong}\n")).unwrap();
        let path = file.display().to_string();
        let variables = [("PGSERVICEFILE", path.as_str())];
        shown.outcome(PostgresConfig::resolve_from("service=s", |name| variable(name, &variables)), wrong);
    }
    fs::remove_dir_all(&folder).unwrap();
    assert!(["fine", "value", "unsupported", "service"].iter().all(|kind| shown.0.contains(kind)), "{:?}", shown.0);
}

/// Knows a secret, and may fail nevertheless.
struct Vault(fn() -> Option<Result<Credentials, CredentialsError>>);

impl CredentialsProvider for Vault {
    async fn credentials(&self, _: CredentialsRequest) -> Result<Credentials, CredentialsError> {
        match (self.0)() {
            Some(answer) => ready(answer).await,
            None => pending().await,
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(10)
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_shown_of_credentials_whatever_their_provider_does() {
    let known = || Some(Ok(Credentials::new(MARK).user("u")));
    let (failed, late) = (|| Some(Err("it is sealed".into())), || None);
    let (mut kinds, config) =
        (BTreeSet::new(), PostgresConfig { password: Some(MARK.into()), ..PostgresConfig::default() });
    let request = CredentialsRequest { host: Host::new("h", 1), user: "u".to_owned(), database: "d".to_owned() };
    for vault in [Vault(known), Vault(failed), Vault(late), Vault(|| panic!("it is on fire"))] {
        let cache = Arc::new(Cache::new(vault));
        match cache.get(&request, None).await {
            Ok(credentials) => {
                kinds.insert("known");
                debug(&credentials, "credentials");
            }
            Err(failure) => {
                kinds.insert(kind_of_failure(&failure));
                debug(&failure, "a failure");
                let error = ConnectError::new(ConnectStep::Credentials, "h:1", failure);
                debug(&error, "an error");
                is_silent(&format!("{error} {error:#}"), "an error");
            }
        }
        debug(&cache, "a cache");
        let driver = PostgresDriver::new(config.clone()).unwrap().with_cache(cache);
        debug(&driver, "a driver");
        debug(&PostgresPool::from(PostgresPool::builder_of(driver).build().unwrap()), "a pool");
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["failed", "known", "late", "panicked"], "all of them");
}
