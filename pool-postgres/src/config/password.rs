//! A password that does not get into logs, and does not stay in memory.

use std::fmt;

use zeroize::Zeroizing;

/// A password. `Debug` does not show it, and there is no `Display`; its memory is overwritten when it is dropped, each clone's for itself.
///
/// So is what is made of a connection string, a variable, a service file or a password file on the way to it. Not overwritten are the string that you have parsed, the environment of the process, and what
/// `tokio-postgres` copies while it logs in, which is freed then.
///
/// # Example
///
/// ```
/// let password = pool_postgres::Password::from("correct horse");
/// assert_eq!(format!("{password:?}"), "(secret)");
/// assert_eq!(password.reveal(), "correct horse");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The password itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Password {
    fn from(text: T) -> Self {
        Self(Zeroizing::new(text.into()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
