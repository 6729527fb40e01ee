//! What may be a password, or have one in it, and so is not shown.

use super::given::{self, Given};
use super::keyword::SECRETS;
use super::{PostgresConfigError, nearest};

/// Stands for what is not shown.
pub(super) const HIDDEN: &str = "(not shown, as it may hold a password)";

/// A value as it is shown in an error.
pub(super) fn value(text: String) -> String {
    if may_hold_one(&text) { HIDDEN.to_owned() } else { text }
}

/// The same of a keyword: where it takes a number or one of a few words, what stands after one of these letters may be a password, too.
pub(super) fn value_of(keyword: &str, text: String) -> String {
    let is_odd = match keyword {
        // Any file.
        "sslkeylogfile" => false,
        "hostaddr" => text.contains([';', '/']) || text.contains(':') && !is_address(&text),
        _ => text.contains([':', ';', '/']),
    };
    if is_odd { HIDDEN.to_owned() } else { value(text) }
}

/// Whether it has no letters but those of an address, in front of its zone.
fn is_address(text: &str) -> bool {
    let address = text.split('%').next().unwrap_or_default();
    address.chars().all(|letter| letter.is_ascii_hexdigit() || matches!(letter, ':' | '.' | '[' | ']'))
}

/// Whether it may be a whole connection string, or a part of one with a password in it. No value that has a few to choose from has any of these.
fn may_hold_one(text: &str) -> bool {
    text.contains("://") || text.contains(['@', '='])
}

/// Whether a keyword that nobody knows may be shown: passwords that need no encoding look like that, too, but the places where they are look different.
pub(super) fn is_plain(keyword: &str) -> bool {
    keyword.len() <= 40 && keyword.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether somebody who writes it means a password, or something else that is a secret.
pub(super) fn sounds_secret(keyword: &str) -> bool {
    const ENDS: [&str; 6] = ["secret", "token", "key", "credential", "auth", "authorization"];
    let lower = keyword.to_lowercase();
    let is_one = |word: &str| ENDS.iter().any(|end| word.strip_suffix('s').unwrap_or(word).ends_with(end));
    // A setting of the server, such as `-cb.key` among the options, is none, and no folder.
    let is_named =
        || !lower.starts_with(['-', '/']) && lower.split(|letter: char| !letter.is_alphanumeric()).any(is_one);
    sounds_like_password(keyword) || given::known(&lower).is_none() && is_named()
}

/// Whether somebody who writes it means a password.
fn sounds_like_password(keyword: &str) -> bool {
    let lower = keyword.to_lowercase();
    if let Some(known) = given::known(&lower) {
        return SECRETS.contains(&known);
    }
    // A setting of the server.
    if lower == "password_encryption" {
        return false;
    }
    let meant = nearest::to(&lower, given::all());
    lower.starts_with("pass") || lower.starts_with("pw") || meant.is_some_and(|meant| SECRETS.contains(&meant))
}

/// Whether a text that is shown has a password in it: that of a URI.
fn has_password(text: &str) -> bool {
    let after_scheme = text.split_once("://").map(|(_, rest)| rest);
    let user_info = after_scheme.and_then(|rest| rest.rsplit_once('@')).map(|(user_info, _)| user_info);
    user_info.is_some_and(|user_info| user_info.contains(':'))
}

/// Whether it begins as a URI without its scheme does, `user:password@`.
fn has_user_info(text: &str) -> bool {
    let user_info = text.rsplit_once('@').map(|(user_info, _)| user_info);
    user_info.and_then(|user_info| user_info.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
}

/// What a key or certificate looks like, in the place of the name of its file.
fn has_pem(text: &str) -> bool {
    text.contains("-----BEGIN")
}

/// Whether it has `password=` in it, or what sounds so.
fn has_keyword(text: &str, sounds: fn(&str) -> bool) -> bool {
    let is_between = |letter: char| !letter.is_alphanumeric() && letter != '_';
    let word = |at: usize| text[..at].trim_end().rsplit(is_between).next().unwrap_or_default();
    text.match_indices('=').any(|(at, _)| sounds(word(at)))
}

/// Refuses what would be shown, with the password in it, if it were taken for the value of the keyword.
pub(super) fn check(keyword: &'static str, text: &str) -> Result<(), PostgresConfigError> {
    let problem = match keyword {
        _ if text.contains('\0') => Some("there is a zero byte in it"),
        "host" | "user" | "dbname" | "requirepeer" if is_no_name(text) => {
            Some("a name is allowed, not a connection string")
        }
        path if is_path(path) && has_pem(text) => Some("the name of a file is allowed, not what is in it"),
        _ => password_in(text),
    };
    problem.map_or(Ok(()), |problem| Err(PostgresConfigError::Malformed { part: keyword, problem }))
}

fn password_in(text: &str) -> Option<&'static str> {
    if has_password(text) {
        return Some("a URI with a password is not allowed, since it would be shown");
    }
    has_keyword(text, sounds_like_password).then_some("a password is not allowed, since it would be shown")
}

/// Some of libpq's functions take a whole connection string as the name of a database.
fn is_no_name(text: &str) -> bool {
    let is_string = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    is_string || has_password(text) || has_user_info(text) || has_keyword(text, sounds_secret)
}

fn is_path(keyword: &str) -> bool {
    matches!(keyword, "sslcert" | "sslkey" | "sslrootcert" | "sslcrl" | "sslcrldir" | "passfile")
}

/// Refuses what cannot be the name of a host, and may have a password in it.
pub(super) fn check_host(name: &str) -> Result<(), PostgresConfigError> {
    let wrong = |problem| Err(PostgresConfigError::Malformed { part: "host", problem });
    if name.contains("://") || name.starts_with("//") {
        return wrong("a name is allowed, not a connection string");
    }
    if !name.starts_with(['/', '@']) && name.contains('@') {
        return wrong("an @ is allowed at the beginning, and in the folder of a Unix socket");
    }
    check("host", name)
}

/// What has been read before a keyword that nobody knows, which may be a part of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Before {
    is_secret: bool,
    is_unknown: bool,
}

impl Before {
    /// A keyword and its value have been read.
    pub(super) fn add(&mut self, keyword: &str, text: &str) {
        let is_unknown = !given::is_known(keyword);
        let is_odd = is_unknown && (!is_plain(keyword) || may_hold_one(text));
        let holds_one = text.contains("://") || has_pem(text) || has_keyword(text, sounds_secret);
        self.is_secret |= is_odd || holds_one || sounds_secret(keyword);
        self.is_unknown |= is_unknown;
    }

    /// A problem with the next keyword, without what may be a part of a password.
    pub(super) fn hide(self, problem: PostgresConfigError) -> PostgresConfigError {
        match problem {
            PostgresConfigError::Unknown { nearest, .. } if self.is_secret || self.is_unknown => {
                PostgresConfigError::Unknown { keyword: HIDDEN.to_owned(), nearest }
            }
            other => other,
        }
    }
}

/// Sets the keywords of a string, of which one that nobody knows may be a part of the password before it.
pub(super) struct Pairs<'a> {
    given: &'a mut Given,
    before: Before,
}

impl<'a> Pairs<'a> {
    pub(super) fn of(given: &'a mut Given) -> Self {
        Self { given, before: Before::default() }
    }

    /// Whatever is told of what follows may be a part of a password.
    pub(super) fn hide(&mut self) {
        self.before.is_secret = true;
    }

    /// A pair cannot be read, which may be one of a password.
    pub(super) fn cut(&mut self, problem: PostgresConfigError) {
        self.given.cut(problem);
        self.hide();
    }

    pub(super) fn set(&mut self, keyword: &str, text: impl Into<zeroize::Zeroizing<String>>) {
        let (text, before) = (text.into(), self.before);
        self.before.add(keyword, &text);
        let outcome = self.given.set(keyword, text);
        let hidden = |problem| if before.is_secret { NOT_KNOWN } else { before.hide(problem) };
        self.given.problems.keep(outcome.map_err(hidden));
    }
}

const NOT_KNOWN: PostgresConfigError = PostgresConfigError::Malformed {
    part: "a keyword after a password",
    problem: "it is not known (a value with spaces needs quotes)",
};
