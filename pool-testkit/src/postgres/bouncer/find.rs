//! Looking for PgBouncer.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::cache::Cache;
use super::super::error::EphemeralError;
use super::super::find::{LIBRARY_PATH, output};
use super::super::provision::PGBOUNCER;

/// The program.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// Where its own shared libraries are, if it was fetched.
    pub(super) libraries: Option<PathBuf>,
    /// What it says of itself, such as `PgBouncer 1.18.0`.
    pub(super) version: String,
}

impl Program {
    /// The program in `folder`, or what is wrong with it.
    fn at(path: PathBuf, libraries: Option<PathBuf>) -> Result<Self, String> {
        let mut command = Command::new(&path);
        if let Some(libraries) = &libraries {
            command.env(LIBRARY_PATH, libraries);
        }
        let said = output(command.arg("--version")).map_err(|problem| format!("{}: {problem}", path.display()))?;
        let version = said.lines().next().unwrap_or_default().to_owned();
        if version.starts_with("PgBouncer ") {
            Ok(Self { path, libraries, version })
        } else {
            Err(format!("{} is not PgBouncer, but {version:?}", path.display()))
        }
    }
}

/// Finds PgBouncer, or provisions it.
pub(super) fn find(cache: &Cache, lookup: impl Fn(&str) -> Option<PathBuf>) -> Result<Program, EphemeralError> {
    if let Some(path) = lookup("POOL_PGBOUNCER") {
        let wrong = |problem| EphemeralError::Environment { variable: "POOL_PGBOUNCER", problem };
        return Program::at(path, None).map_err(wrong);
    }
    let mut looked_at = Vec::new();
    for path in candidates(lookup("PATH")) {
        match Program::at(path, None) {
            Ok(found) => return Ok(found),
            Err(problem) => looked_at.push(problem),
        }
    }
    looked_at.push("PATH and the usual places have no other pgbouncer".to_owned());
    cached_or_new(cache).map_err(|problem| {
        looked_at.push(problem);
        let (what, install) = ("PgBouncer".to_owned(), "apt-get install pgbouncer".to_owned());
        EphemeralError::NotFound { what, looked_at, install, name: "name the program in POOL_PGBOUNCER" }
    })
}

fn candidates(path: Option<PathBuf>) -> impl Iterator<Item = PathBuf> {
    let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from);
    let folders: Vec<PathBuf> = path.iter().flat_map(std::env::split_paths).chain(usual).collect();
    folders.into_iter().map(|folder| folder.join("pgbouncer")).filter(|path| path.is_file())
}

fn cached_or_new(cache: &Cache) -> Result<Program, String> {
    let _lock = cache.lock("pgbouncer").map_err(|error| error.to_string())?;
    if let Ok(found) = cached(&cache.folder) {
        return Ok(found);
    }
    PGBOUNCER.fetch(cache, None)?;
    cached(&cache.folder)
}

fn cached(cache: &Path) -> Result<Program, String> {
    let (folder, libraries) = PGBOUNCER.folders_in(cache, None)?;
    Program::at(folder.join("pgbouncer"), libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_none_is_told() {
        let cache = Cache { folder: std::env::temp_dir(), account: super::super::super::account::Account::Same };
        let asked = |path: &'static str| find(&cache, move |name| (name == "POOL_PGBOUNCER").then(|| path.into()));
        let told = asked("/bin/echo").unwrap_err().to_string();
        assert!(told.starts_with("POOL_PGBOUNCER: /bin/echo is not PgBouncer, but "), "{told}");
        assert!(asked("/nonexistent").unwrap_err().to_string().starts_with("POOL_PGBOUNCER: /nonexistent: "));
    }
}
