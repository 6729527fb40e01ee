//! One server for all tests of a process, one database for each.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::client;
use super::error::{During, EphemeralError};
use super::find::output;
use super::server::EphemeralPostgres;

/// The server that the tests of this process share.
#[derive(Debug)]
pub struct SharedPostgres(Kind);

#[derive(Debug)]
enum Kind {
    Ours(Box<EphemeralPostgres>),
    /// The one in `POOL_TEST_URL`, reached through `psql`, which knows every way to authenticate.
    Theirs(String),
}

impl SharedPostgres {
    pub(super) fn get() -> Result<&'static Self, EphemeralError> {
        // A static is never dropped: the warden notices the end of the process and cleans up.
        static SHARED: OnceLock<Result<SharedPostgres, EphemeralError>> = OnceLock::new();
        SHARED.get_or_init(Self::open).as_ref().map_err(Clone::clone)
    }

    fn open() -> Result<Self, EphemeralError> {
        match std::env::var("POOL_TEST_URL") {
            Ok(url) => psql(&url, "SELECT 1").map(|()| Self(Kind::Theirs(url))),
            Err(_) => EphemeralPostgres::start().map(|server| Self(Kind::Ours(Box::new(server)))),
        }
    }

    /// Makes a database of its own for one test, dropped together with the returned guard.
    ///
    /// # Errors
    ///
    /// If the server does not do it.
    pub fn create_database(&self) -> Result<TestDatabase, EphemeralError> {
        match &self.0 {
            Kind::Ours(server) => server.create_database(),
            Kind::Theirs(url) => TestDatabase::create_at(url),
        }
    }
}

/// A database of its own for one test. Dropping it drops the database and ends the sessions in it.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    admin: Admin,
}

#[derive(Debug)]
enum Admin {
    Port(u16),
    Url(String),
}

impl Admin {
    fn run(&self, statement: &str) -> Result<(), EphemeralError> {
        match self {
            Self::Port(port) => client::query(*port, "postgres", statement).map(drop).during(|| statement.to_owned()),
            Self::Url(url) => psql(url, statement),
        }
    }
}

impl TestDatabase {
    pub(super) fn create(port: u16, url: impl FnOnce(&str) -> String) -> Result<Self, EphemeralError> {
        let name = unique_name();
        let database = Self { url: url(&name), name, admin: Admin::Port(port) };
        database.admin.run(&format!("CREATE DATABASE {}", database.name))?;
        Ok(database)
    }

    fn create_at(url: &str) -> Result<Self, EphemeralError> {
        let name = unique_name();
        let database = Self { url: with_database(url, &name), name, admin: Admin::Url(url.to_owned()) };
        database.admin.run(&format!("CREATE DATABASE {}", database.name))?;
        Ok(database)
    }

    /// Its connection URI.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // On a server that the test has killed there is nothing to drop.
        let _ = self.admin.run(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// Unique on a server that several test processes share.
fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let random = RandomState::new().build_hasher().finish();
    format!("pool_test_{}_{number}_{random:x}", std::process::id())
}

/// The same URI with another database.
fn with_database(url: &str, name: &str) -> String {
    let (head, query) = url.split_once('?').map_or((url, String::new()), |(head, query)| (head, format!("?{query}")));
    let authority_end = head.find("://").map_or(0, |at| at + 3);
    let path = head[authority_end..].find('/').map_or(head.len(), |at| authority_end + at);
    format!("{}/{name}{query}", &head[..path])
}

fn psql(url: &str, statement: &str) -> Result<(), EphemeralError> {
    let mut command = std::process::Command::new("psql");
    // A password goes by the environment, not by the command line that every user can read.
    let (url, password) = split_password(url);
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, "-d"]).arg(url);
    let wrong = |problem| EphemeralError::Environment { variable: "POOL_TEST_URL", problem };
    output(&mut command).map(drop).map_err(|problem| wrong(format!("psql could not run `{statement}`: {problem}")))
}

/// A URI without its password, and the password.
fn split_password(url: &str) -> (String, Option<String>) {
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let (user_info, rest) = rest.split_once('@')?;
        let (user, password) = user_info.split_once(':')?;
        Some((format!("{scheme}://{user}@{rest}"), decode(password)))
    });
    parts.map_or((url.to_owned(), None), |(url, password)| (url, Some(password)))
}

/// Undoes the %-encoding of a URI.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let encoded = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = encoded.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_out_of_a_uri() {
        let split = split_password("postgres://u:p%40%2fw%@h:1/db");
        assert_eq!(split, ("postgres://u@h:1/db".to_owned(), Some("p@/w%".to_owned())));
        assert_eq!(split_password("postgres://u@h/db").1, None);
    }

    #[test]
    fn the_database_of_a_uri_is_replaced() {
        assert_eq!(with_database("postgres://u:p@h:1/db?sslmode=require", "x"), "postgres://u:p@h:1/x?sslmode=require");
        assert_eq!(with_database("postgres://h", "x"), "postgres://h/x");
    }

    #[test]
    fn names_are_unique() {
        assert_ne!(unique_name(), unique_name());
    }
}
