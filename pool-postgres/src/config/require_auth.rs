//! How a server may ask who one is.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::PostgresConfigError;

/// A way in which a server asks who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AuthMethod {
    /// The password itself, in plain text.
    Password,
    /// MD5 of the password.
    Md5,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// The server does not ask: `trust`, `peer` and `cert`.
    None,
}

/// The ways in which a server may ask who one is, as libpq's `require_auth` says it: a list such as `scram-sha-256,none`, or one of what is not allowed, such as `!password,!md5`.
///
/// # Example
///
/// ```
/// use pool_postgres::{AuthMethod, RequireAuth};
///
/// let require: RequireAuth = "!password,!md5".parse()?;
/// assert!(require.allows(AuthMethod::ScramSha256) && !require.allows(AuthMethod::Password));
/// # Ok::<(), pool_postgres::PostgresConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequireAuth {
    text: String,
    allowed: BTreeSet<AuthMethod>,
}

impl RequireAuth {
    /// Whether a server may ask in this way.
    pub fn allows(&self, method: AuthMethod) -> bool {
        self.allowed.contains(&method)
    }
}

/// The words, and what they stand for: `None` for what libpq knows and is not there here.
const WORDS: [(&str, Option<AuthMethod>); 7] = [
    ("password", Some(AuthMethod::Password)),
    ("md5", Some(AuthMethod::Md5)),
    ("scram-sha-256", Some(AuthMethod::ScramSha256)),
    ("none", Some(AuthMethod::None)),
    ("gss", None),
    ("sspi", None),
    ("oauth", None),
];

const ALLOWED: &str =
    "a list of password, md5, scram-sha-256, none, gss, sspi, oauth, each once, all of them with a ! before it or none";

impl FromStr for RequireAuth {
    type Err = PostgresConfigError;

    fn from_str(text: &str) -> Result<Self, PostgresConfigError> {
        let wrong = || PostgresConfigError::value("require_auth", text, ALLOWED);
        let is_negative = text.starts_with('!');
        let mut named = BTreeSet::new();
        for word in text.split(',') {
            let name = if is_negative { word.strip_prefix('!') } else { Some(word) };
            let known = WORDS.iter().find(|(known, _)| Some(*known) == name).ok_or_else(wrong)?;
            if !named.insert(known.0) {
                return Err(wrong());
            }
        }
        let is_allowed =
            |(word, method): &(&str, Option<AuthMethod>)| method.filter(|_| named.contains(word) != is_negative);
        Ok(Self { text: text.to_owned(), allowed: WORDS.iter().filter_map(is_allowed).collect() })
    }
}

impl fmt::Display for RequireAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_allowed_or_is_not() {
        use AuthMethod::{Md5, None, Password, ScramSha256};

        let allowed =
            |text: &str| RequireAuth::from_str(text).map(|require| require.allowed.into_iter().collect::<Vec<_>>());
        assert_eq!(allowed("scram-sha-256,none"), Ok(vec![ScramSha256, None]));
        assert_eq!(allowed("!none"), Ok(vec![Password, Md5, ScramSha256]));
        assert_eq!(allowed("!password,!md5"), Ok(vec![ScramSha256, None]));
        assert_eq!(allowed("gss,oauth"), Ok(vec![]));
        for wrong in ["scram", "md5,md5", "!md5,password", "md5,!password", "md5,", "", "!", "!!md5", " md5"] {
            assert!(allowed(wrong).is_err(), "{wrong:?}");
        }
    }
}
