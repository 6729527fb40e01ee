//! A configuration as text.

use std::fmt;

use super::field::fields;
use super::pool::SETTINGS;
use super::{PostgresConfig, settle};

/// A string of `keyword=value` pairs that is [parsed](std::str::FromStr) to the same configuration, but for the password, which is left out. So is what has its default. That is so for a configuration that is [in order](PostgresConfig::validate),
/// and for paths that are UTF-8: no string can name others.
impl fmt::Display for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (keyword, value) in self.pairs() {
            write!(f, "{}{keyword}={}", if first { "" } else { " " }, quoted(&value))?;
            first = false;
        }
        Ok(())
    }
}

impl PostgresConfig {
    /// All keywords that have a value, without the password, and without those of the pool's own settings, which may be others by now.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&'static str, String)> {
        let fields = fields().filter_map(|field| Some((field.keyword, (field.get)(self)?)));
        self.lists().into_iter().chain(fields)
    }

    /// What does not have its default, by keyword, the password left out.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut default = Self::default();
        default.pool.connect_timeout = settle::for_all_servers(self);
        let pool = self.clone().in_step().pool;
        let mut pairs = if self.hosts == default.hosts { Vec::new() } else { self.lists() };
        for field in fields() {
            let (value, usual) = ((field.get)(self), (field.get)(&default));
            pairs.extend((value != usual).then_some((field.keyword, value.unwrap_or_default())));
        }
        for setting in &SETTINGS {
            let (value, usual) = (setting.show(&pool), setting.show(&default.pool));
            pairs.extend((value != usual).then_some((setting.keyword, value)));
        }
        pairs
    }

    /// The first keyword of a path that no text can name.
    #[cfg(feature = "serde")]
    pub(super) fn unwritable(&self) -> Option<&'static str> {
        let root = match &self.sslrootcert {
            Some(super::RootCertificates::File(file)) => Some(file),
            _ => None,
        };
        let paths = [
            ("passfile", self.passfile.as_ref()),
            ("sslcert", self.sslcert.as_ref()),
            ("sslkey", self.sslkey.as_ref()),
            ("sslrootcert", root),
            ("sslcrl", self.sslcrl.as_ref()),
            ("sslcrldir", self.sslcrldir.as_ref()),
        ];
        paths.into_iter().find(|(_, path)| path.is_some_and(|path| path.to_str().is_none())).map(|(keyword, _)| keyword)
    }

    fn lists(&self) -> Vec<(&'static str, String)> {
        let list = |item: fn(&super::Host) -> String| self.hosts.iter().map(item).collect::<Vec<_>>().join(",");
        let mut lists = vec![("host", list(|host| host.name.clone()))];
        if self.hosts.iter().any(|host| host.address.is_some()) {
            lists.push(("hostaddr", list(|host| host.address.map(|address| address.to_string()).unwrap_or_default())));
        }
        lists.push(("port", list(|host| host.port.to_string())));
        lists
    }
}

fn quoted(value: &str) -> String {
    let is_plain = |letter: char| !matches!(letter, ' ' | '\t'..='\r' | '\'' | '\\');
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}
