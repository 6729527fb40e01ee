//! Where configurations come from: a string alone, or as libpq completes one.

use std::str::FromStr;

use super::given::{Given, Origin};
use super::keyword::KEYWORDS;
use super::surroundings::Surroundings;
use super::{
    PostgresConfig, PostgresConfigError, RootCertificates, SslMode, field, key_value, service, session, settle, uri,
};

impl PostgresConfig {
    /// As libpq does it, and so as `psql` does: what the string leaves out comes from the service that it or `PGSERVICE` names, then from the [variables](PostgresConfig#keywords) of the environment; and
    /// the password, certificates and keys from the files of the user (`~/.pgpass`, `~/.postgresql/`), if there are any. An empty string is all right. Of variables, an empty one is as good as none. `PGDATESTYLE`, `PGTZ` and `PGGEQO` are added to [`options`](PostgresConfig::options).
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with where the value comes from; never with a password.
    ///
    /// # Example
    ///
    /// ```no_run
    /// let config = pool_postgres::PostgresConfig::resolve("postgres://db.example/app")?;
    /// # Ok::<(), pool_postgres::PostgresConfigError>(())
    /// ```
    pub fn resolve(text: &str) -> Result<Self, PostgresConfigError> {
        Self::resolve_from(text, |name| std::env::var(name).ok())
    }

    /// As [`resolve`](Self::resolve), from any source of variables, `HOME` among them; without one, the files of the user are where the system says that the folder of the user is.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    ///
    /// # Example
    ///
    /// ```
    /// let variables = |name: &str| (name == "PGHOST").then(|| "db.example".to_owned());
    /// let config = pool_postgres::PostgresConfig::resolve_from("dbname=app", variables)?;
    /// assert_eq!((config.hosts[0].name.as_str(), config.database.as_deref()), ("db.example", Some("app")));
    /// # Ok::<(), pool_postgres::PostgresConfigError>(())
    /// ```
    pub fn resolve_from(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, PostgresConfigError> {
        completed(parse(text), lookup)
    }

    /// As [`resolve`](Self::resolve) of an empty string: the environment alone.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    ///
    /// # Example
    ///
    /// ```no_run
    /// let config = pool_postgres::PostgresConfig::from_env()?;
    /// # Ok::<(), pool_postgres::PostgresConfigError>(())
    /// ```
    pub fn from_env() -> Result<Self, PostgresConfigError> {
        Self::resolve("")
    }

    /// Finds the files of the user.
    fn look_around(&mut self, around: &Surroundings<'_>) {
        let Some(home) = around.home() else { return };
        let own = |name: &str| Some(home.join(".postgresql").join(name)).filter(|file| file.exists());
        self.passfile = self.passfile.take().or_else(|| Some(home.join(".pgpass")));
        self.sslcert = self.sslcert.take().or_else(|| own("postgresql.crt"));
        self.sslkey = self.sslkey.take().or_else(|| own("postgresql.key"));
        self.sslrootcert = self.sslrootcert.take().or_else(|| own("root.crt").map(RootCertificates::File));
        // As in libpq, it is about authorities of files, and gives way to a folder.
        if self.sslcrldir.is_none() && self.sslrootcert != Some(RootCertificates::System) {
            self.sslcrl = self.sslcrl.take().or_else(|| own("root.crl"));
        }
    }
}

impl FromStr for PostgresConfig {
    type Err = PostgresConfigError;

    /// Parses a URI (`postgres://user:password@host:port/database?keyword=value`) or a string of `keyword=value` pairs, both as libpq
    /// writes them. What is left out keeps its default: neither the environment nor any file is read, for which there is [`resolve`](PostgresConfig::resolve).
    ///
    /// The keywords are in the [table](PostgresConfig#keywords).
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; never with a password in it.
    ///
    /// # Example
    ///
    /// On a command line, such as clap's. clap shows a value that is refused, and others may see the command line, so a password is better off in `PGPASSWORD` or in a password file.
    ///
    /// ```
    /// use pool_postgres::PostgresConfig;
    ///
    /// let database = clap::Arg::new("database").long("database").value_parser(clap::value_parser!(PostgresConfig));
    /// let command = clap::Command::new("service").arg(database);
    /// let given = command.clone().try_get_matches_from(["service", "--database", "postgres://db.example/app"])?;
    /// assert_eq!(given.get_one::<PostgresConfig>("database").map(ToString::to_string).as_deref(), Some("host=db.example port=5432 dbname=app"));
    /// let wrong = command.try_get_matches_from(["service", "--database", "sslmode=maybe"]).unwrap_err().to_string();
    /// assert!(wrong.contains("allowed: disable, allow, prefer, require, verify-ca, verify-full"));
    /// # Ok::<(), clap::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, PostgresConfigError> {
        alone(parse(text))
    }
}

/// What was given and nothing else.
pub(super) fn alone(mut given: Given) -> Result<PostgresConfig, PostgresConfigError> {
    if let Some(service) = given.get("service") {
        let problem = "a string alone is read here, and no file; PostgresConfig::resolve reads the service file";
        given.cut(PostgresConfigError::service(service, problem));
    }
    settle::settle(&given)
}

/// What was given, completed from the service file, the environment and the files of the user.
pub(super) fn completed(
    mut given: Given,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<PostgresConfig, PostgresConfigError> {
    let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let around = Surroundings::new(&lookup);
    // Of a string that cannot be read nobody knows what it leaves out.
    if given.is_whole() {
        service::add(&mut given, &around);
        add_variables(&mut given, &around);
    }
    let mut config = settle::settle(&given)?;
    config.look_around(&around);
    config.options = session::completed(config.options.take(), &around);
    Ok(config)
}

pub(super) fn parse(text: &str) -> Given {
    let mut given = Given::default();
    let uri = ["postgres://", "postgresql://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
    match uri {
        Some(rest) => uri::parse(rest, &mut given),
        None if is_other_uri(text) => given.cut(OTHER_URI),
        None => key_value::parse(text, &mut given),
    }
    given
}

fn add_variables(given: &mut Given, around: &Surroundings<'_>) {
    let libpq = KEYWORDS.iter().filter_map(|keyword| Some((keyword.name, keyword.variable?.to_owned())));
    for (keyword, variable) in libpq.chain(field::own_variables()) {
        if let Some(value) = around.variable(&variable) {
            given.add(keyword, value, Origin::Variable(variable));
        }
    }
    // An old one that libpq still knows.
    let insists = around.variable("PGREQUIRESSL").is_some_and(|value| value.starts_with('1'));
    if insists {
        given.add("sslmode", SslMode::Require.to_string(), Origin::Variable("PGREQUIRESSL".to_owned()));
    }
}

const OTHER_URI: PostgresConfigError =
    PostgresConfigError::Malformed { part: "the scheme", problem: "allowed: postgres:// and postgresql://" };

/// Whether there is a `://` in it before anything has a value: the scheme is another one, or there are letters or quotes before it.
fn is_other_uri(text: &str) -> bool {
    text.split('=').next().is_some_and(|start| start.contains("://"))
}
