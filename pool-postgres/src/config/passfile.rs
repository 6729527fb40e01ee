//! The password file: a password for each server, database and user, as libpq keeps them.

use std::fs::{self, Metadata};
use std::path::Path;

use zeroize::Zeroizing;

use pool_core::trace::report;

use super::Password;

/// What a password is looked up for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Host as configured, or the address if there is no name.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
}

/// The first password in the file that fits. None if there is no such file, or if others than its owner can read it, which is told by a warning.
pub(crate) fn look_up(file: &Path, wanted: Wanted<'_>) -> Option<Password> {
    let about = fs::metadata(file).ok()?;
    if !is_private(file, &about) {
        return None;
    }
    let text = Zeroizing::new(fs::read(file).ok()?);
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter(|line| !line.starts_with('#')).find_map(|line| password(line.trim_end_matches('\r'), wanted))
}

fn is_private(file: &Path, about: &Metadata) -> bool {
    if !about.is_file() {
        report(|| tracing::warn!(file = %file.display(), "the password file is not a plain file, and is not used"));
        return false;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if about.permissions().mode() & 0o077 != 0 {
            report(
                || tracing::warn!(file = %file.display(), "others can read the password file, and it is not used; permissions should be u=rw (0600) or less"),
            );
            return false;
        }
    }
    true
}

/// The password of a line, if the line fits.
fn password(line: &str, wanted: Wanted<'_>) -> Option<Password> {
    let port = wanted.port.to_string();
    let fields = [wanted.host, &port, wanted.database, wanted.user];
    let rest = fields.into_iter().try_fold(line, after_field)?;
    Some(Password::from(unescaped(rest)))
}

/// What follows the first field of a line and its colon, if the field is the value, or `*`.
fn after_field<'a>(line: &'a str, value: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let mut rest = line.chars();
    for letter in value.chars() {
        let written = rest.next()?;
        if written == ':' {
            return None;
        }
        let meant = if written == '\\' { rest.next()? } else { written };
        if meant != letter {
            return None;
        }
    }
    rest.as_str().strip_prefix(':')
}

/// Without the backslash before a letter.
fn unescaped(text: &str) -> String {
    let mut letters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(line: &str, host: &str, user: &str) -> Option<String> {
        let wanted = Wanted { host, port: 5432, database: "db", user };
        password(line, wanted).map(|password| password.reveal().to_owned())
    }

    #[test]
    fn a_line_fits_if_all_its_fields_do() {
        let is = |line, password: &str| assert_eq!(find(line, "h", "u").as_deref(), Some(password), "{line}");
        is("h:5432:db:u:secret", "secret");
        is("*:*:*:*:se:cret", "se:cret");
        is(r"h:5432:db:u:a\:b\\c", r"a:b\c");
        is(r"\h:5432:db:u:x", "x");
        is("h:5432:db:u:", "");
        for line in ["h:5432:db:v:x", "h:5433:db:u:x", "hh:5432:db:u:x", "h:5432:db:u", "", "h", "**:5432:db:u:x"] {
            assert_eq!(find(line, "h", "u"), None, "{line}");
        }
        assert_eq!(find(r"\:\:1:5432:db:a\\b:x", "::1", r"a\b").as_deref(), Some("x"));
    }
}
