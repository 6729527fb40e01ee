//! Configurations in files of other formats, through serde.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{self, Serialize, SerializeMap, Serializer};
use zeroize::Zeroizing;

use super::given::Given;
use super::sources::{alone, completed, parse};
use super::suspect::Before;
use super::{PostgresConfig, PostgresConfigError};

/// What a file says of a connection, before anything is made of it: the [keywords](PostgresConfig#keywords) of connection strings, with values of their own types. With the feature `serde`.
///
/// Text, numbers, `true` and `false`, and lists of these in the place of commas. Durations are written as in a string, such as `"30s"`; a number is one of seconds, and of `tcp_user_timeout`
/// one of milliseconds. `null` is as good as nothing. Instead of a map, a connection string will do.
///
/// [`PostgresConfig`] can be read from a file as well, and that is all that is needed if there are no passwords in it: formats such as TOML and YAML show the line on which a mistake is, with whatever
/// else is on that line. Here the mistakes are told afterwards, by errors that show none.
///
/// # Example
///
/// ```
/// use pool_postgres::Keywords;
///
/// let text = r#"
///     password = "correct horse"
///     host = ["db1.example", "db2.example"]
///     port = 5433
///     connect_timeout = "2s"
///     pool_max_conns = 50
/// "#;
/// let config = toml::from_str::<Keywords>(text)?.config()?;
/// assert_eq!((config.hosts[1].to_string().as_str(), config.pool.max_size), ("db2.example:5433", 50));
///
/// let wrong = toml::from_str::<Keywords>("sslmod = 'require'\nport = 0")?.config().unwrap_err();
/// assert_eq!(wrong.to_string(), r#"unknown keyword "sslmod"; is "sslmode" meant?; port = "0" is not allowed; allowed: 1 to 65535"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Keywords(Given);

impl Keywords {
    /// The configuration; what is left out has its default, as if a string had been [parsed](std::str::FromStr).
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, unknown keywords among it; never with a password.
    pub fn config(self) -> Result<PostgresConfig, PostgresConfigError> {
        alone(self.0)
    }

    /// The configuration; what is left out comes from the service file, the environment and the files of the user, as for [`PostgresConfig::resolve`].
    ///
    /// # Errors
    ///
    /// As [`config`](Self::config).
    ///
    /// # Example
    ///
    /// ```
    /// let file: pool_postgres::Keywords = serde_json::from_str(r#"{ "host": "db.example", "pool_lazy": true }"#)?;
    /// let config = file.resolve_from(|name| (name == "PGPASSWORD").then(|| "correct horse".to_owned()))?;
    /// assert!(config.password.is_some() && config.pool.lazy);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolve_from(self, lookup: impl Fn(&str) -> Option<String>) -> Result<PostgresConfig, PostgresConfigError> {
        completed(self.0, lookup)
    }

    /// As [`resolve_from`](Self::resolve_from), from the environment of the process.
    ///
    /// # Errors
    ///
    /// As [`config`](Self::config).
    pub fn resolve(self) -> Result<PostgresConfig, PostgresConfigError> {
        self.resolve_from(|name| std::env::var(name).ok())
    }

    fn set(&mut self, keyword: &str, value: Zeroizing<String>, before: &mut Before) {
        // What is on or off is 1 or 0 for libpq.
        let value = match (keyword, value.as_str()) {
            ("keepalives" | "sslsni" | "sslcompression" | "gssdelegation", "true") => Zeroizing::new("1".to_owned()),
            ("keepalives" | "sslsni" | "sslcompression" | "gssdelegation", "false") => Zeroizing::new("0".to_owned()),
            _ => value,
        };
        let earlier = *before;
        before.add(keyword, &value);
        let outcome = self.0.set(keyword, value);
        self.0.problems.keep(outcome.map_err(|problem| earlier.hide(problem)));
    }
}

/// Shows the keywords, and no values.
impl fmt::Debug for Keywords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(keyword, _)| keyword)).finish()
    }
}

impl<'de> Deserialize<'de> for Keywords {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(File)
    }
}

/// From a map of the [keywords](PostgresConfig#keywords) of connection strings, or from a connection string, as [`Keywords`] are; the environment is not read. With the feature `serde`.
///
/// # Example
///
/// ```
/// let config: pool_postgres::PostgresConfig = serde_json::from_str(r#"{ "host": "db.example", "connect_timeout": 3 }"#)?;
/// assert_eq!(config.to_string(), "host=db.example port=5432 connect_timeout=3s");
/// # Ok::<(), serde_json::Error>(())
/// ```
impl<'de> Deserialize<'de> for PostgresConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Keywords::deserialize(deserializer)?.config().map_err(de::Error::custom)
    }
}

/// As a map of keywords, whose values are those of a string: what has its default is left out, and so is the password. A path that is not UTF-8 is an error. With the feature `serde`.
impl Serialize for PostgresConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(keyword) = self.unwritable() {
            return Err(ser::Error::custom(format_args!("{keyword} is not UTF-8")));
        }
        let pairs = self.pairs();
        let mut map = serializer.serialize_map(Some(pairs.len()))?;
        for (keyword, value) in &pairs {
            map.serialize_entry(keyword, value)?;
        }
        map.end()
    }
}

struct File;

impl<'de> Visitor<'de> for File {
    type Value = Keywords;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keywords of a connection, or a connection string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Keywords, E> {
        Ok(Keywords(parse(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keywords, A::Error> {
        let (mut keywords, mut before) = (Keywords(Given::default()), Before::default());
        while let Some(keyword) = map.next_key::<String>()? {
            match map.next_value()? {
                Written::Nothing => {}
                Written::Text(value) => keywords.set(&keyword, value, &mut before),
                Written::Wrong(problem) => {
                    before.add(&keyword, "");
                    keywords.0.cut(problem);
                }
            }
        }
        Ok(keywords)
    }
}

/// A value as text.
enum Written {
    /// There is none.
    Nothing,
    Text(Zeroizing<String>),
    /// Something else, which is told afterwards, by an error that does not show it.
    Wrong(PostgresConfigError),
}

/// The item is not echoed: it may be a password.
const COMMA: PostgresConfigError =
    PostgresConfigError::Malformed { part: "a list", problem: "an item of a list cannot have a comma in it" };

/// Formats would show the line, with the password on it, if this were an error of theirs.
const OTHER: PostgresConfigError = PostgresConfigError::Malformed { part: "a value", problem: ALLOWED };

const ALLOWED: &str = "text, a number, true or false, or a list of these is allowed";

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Value)
    }
}

struct Value;

fn written(value: impl Into<String>) -> Written {
    Written::Text(Zeroizing::new(value.into()))
}

impl<'de> Visitor<'de> for Value {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALLOWED)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Written, E> {
        Ok(written(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
        Ok(written(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Written, E> {
        Ok(written(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Written, E> {
        Ok(written(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Written, E> {
        Ok(written(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Written, E> {
        Ok(written(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Written, E> {
        Ok(written(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Written, E> {
        Ok(written(value))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Written, E> {
        Ok(Written::Wrong(OTHER))
    }

    fn visit_unit<E>(self) -> Result<Written, E> {
        Ok(Written::Nothing)
    }

    fn visit_none<E>(self) -> Result<Written, E> {
        Ok(Written::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Written, D::Error> {
        Written::deserialize(deserializer)
    }

    /// To its end, as a format wants it.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Written::Wrong(OTHER))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Written, A::Error> {
        let (mut items, mut problem) = (Vec::new(), None);
        while let Some(item) = list.next_element()? {
            match item {
                Written::Text(item) if item.contains(',') => problem = Some(COMMA),
                Written::Text(item) => items.push(item),
                Written::Nothing => items.push(Zeroizing::default()),
                Written::Wrong(other) => problem = Some(other),
            }
        }
        let items: Vec<_> = items.iter().map(|item| item.as_str()).collect();
        Ok(problem.map_or_else(|| written(items.join(",")), Written::Wrong))
    }
}
