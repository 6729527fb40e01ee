//! What a configuration is completed from: the environment, the user, the user's folder.

#[cfg(not(unix))]
use std::env;
use std::path::PathBuf;

/// Where variables, the user's name and folder come from.
pub(super) struct Surroundings<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Surroundings<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup }
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
    }

    /// `HOME`, or what the system knows.
    pub(super) fn home(&self) -> Option<PathBuf> {
        let named = self.variable("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        named.or_else(system_home)
    }
}

/// The user that the process runs as.
#[cfg(unix)]
fn account() -> Option<nix::unistd::User> {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok()?
}

/// The folder of the user, as the system knows it: the variables of the process are none of those that are looked up.
#[cfg(unix)]
fn system_home() -> Option<PathBuf> {
    account().map(|user| user.dir)
}

/// As the variables of the process say.
#[cfg(not(unix))]
fn system_home() -> Option<PathBuf> {
    env::home_dir()
}

/// The user that the process runs as.
#[cfg(unix)]
pub(crate) fn system_user() -> Option<String> {
    account().map(|user| user.name)
}

/// As `USERNAME` says.
#[cfg(not(unix))]
pub(crate) fn system_user() -> Option<String> {
    env::var("USERNAME").ok()
}
