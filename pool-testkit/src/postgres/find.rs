//! Looking for a server.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Cache;
use super::error::EphemeralError;
use super::provision;

/// The oldest major version that the pool supports.
const OLDEST: u32 = 15;

/// Server binaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    /// What `postgres --version` says.
    pub(super) version: String,
    pub(super) major: u32,
    /// Where its own shared libraries are, for a relocated server.
    pub(super) libraries: Option<PathBuf>,
}

impl Binaries {
    /// The server in `folder`, or what is wrong with it.
    pub(super) fn at(folder: &Path, libraries: Option<PathBuf>) -> Result<Self, String> {
        let initdb = folder.join("initdb");
        if !initdb.is_file() {
            return Err(format!("{} has no initdb", folder.display()));
        }
        let mut command = Command::new(folder.join("postgres"));
        if let Some(libraries) = &libraries {
            command.env(LIBRARY_PATH, libraries);
        }
        let version =
            output(command.arg("--version")).map_err(|error| format!("{}/postgres: {error}", folder.display()))?;
        let major =
            major(&version).ok_or_else(|| format!("{} is of an unknown version: {version}", folder.display()))?;
        if major < OLDEST {
            return Err(format!("{} is PostgreSQL {major}; {OLDEST} or newer is needed", folder.display()));
        }
        Ok(Self { folder: folder.to_owned(), version, major, libraries })
    }

    /// This one if it is of the wanted version, or if any will do.
    pub(super) fn of(self, version: Option<u32>) -> Result<Self, String> {
        match version.filter(|wanted| *wanted != self.major) {
            Some(wanted) => Err(format!("{} is PostgreSQL {}, not {wanted}", self.folder.display(), self.major)),
            None => Ok(self),
        }
    }
}

/// What tells the loader where to look for shared libraries.
pub(crate) const LIBRARY_PATH: &str = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };

/// Finds a server of a major version, or of any that is new enough; or provisions one.
pub(super) fn find(
    cache: &Cache,
    version: Option<u32>,
    lookup: impl Fn(&str) -> Option<PathBuf>,
) -> Result<Binaries, EphemeralError> {
    let named = named(&lookup)?;
    if let Some(found) = named.filter(|found| version.is_none_or(|wanted| wanted == found.major)) {
        return Ok(found);
    }
    let version = version.map_or_else(|| version_of(&lookup), |version| Ok(Some(version)))?;
    let mut looked_at = Vec::new();
    for folder in candidates(lookup("PATH")) {
        match Binaries::at(&folder, None).and_then(|found| found.of(version)) {
            Ok(found) => return Ok(found),
            Err(problem) => looked_at.push(problem),
        }
    }
    looked_at.push("pg_config, PATH and the usual places name no other folder with initdb and postgres".to_owned());
    let provisioned = provision::cached_or_new(cache, version, &mut looked_at);
    provisioned.ok_or_else(|| not_found(version, looked_at))
}

fn not_found(version: Option<u32>, looked_at: Vec<String>) -> EphemeralError {
    let what = version.map_or("PostgreSQL 15 or newer".to_owned(), |version| format!("PostgreSQL {version}"));
    let name = "name a folder with initdb and postgres in POOL_PG_BIN";
    EphemeralError::NotFound { what, looked_at, install: install_command(version), name }
}

/// The server that the environment names.
fn named(lookup: impl Fn(&str) -> Option<PathBuf>) -> Result<Option<Binaries>, EphemeralError> {
    let wrong = |problem| EphemeralError::Environment { variable: "POOL_PG_BIN", problem };
    lookup("POOL_PG_BIN").map(|folder| Binaries::at(&folder, None).map_err(wrong)).transpose()
}

/// The major version that the environment asks for.
fn version_of(lookup: impl Fn(&str) -> Option<PathBuf>) -> Result<Option<u32>, EphemeralError> {
    let Some(text) = lookup("POOL_PG_VERSION") else { return Ok(None) };
    let version = text.to_string_lossy().parse().ok().filter(|version| *version >= OLDEST);
    let problem = || format!("{} is no major version from {OLDEST} on, such as 18", text.display());
    version.map(Some).ok_or_else(|| EphemeralError::Environment { variable: "POOL_PG_VERSION", problem: problem() })
}

/// Folders that may hold a server, best first.
fn candidates(path: Option<PathBuf>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        output(Command::new("pg_config").arg("--bindir")).ok().map(PathBuf::from).into_iter().collect();
    folders.extend(path.iter().flat_map(std::env::split_paths));
    let parents = [
        "/usr/lib/postgresql",
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/usr",
        "/Applications/Postgres.app/Contents/Versions",
    ];
    let mut installed: Vec<PathBuf> = parents.iter().flat_map(|parent| versions_in(Path::new(parent))).collect();
    installed.sort_by_key(|folder| std::cmp::Reverse(digits(&folder.to_string_lossy())));
    folders.extend(installed);
    folders.push(PathBuf::from("/usr/local/pgsql/bin"));
    let has_server = |folder: &PathBuf| folder.join("postgres").is_file();
    folders.retain(has_server);
    folders.dedup();
    folders
}

/// `bin` folders of the versions installed below `parent`: `15/bin`, `postgresql@17/bin`, `pgsql-16/bin`.
fn versions_in(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().join("bin")).filter(|folder| folder.join("postgres").is_file()).collect()
}

/// The last number in a path.
fn digits(text: &str) -> u32 {
    let last = text.split(|c: char| !c.is_ascii_digit()).rfind(|part| !part.is_empty());
    last.and_then(|part| part.parse().ok()).unwrap_or(0)
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major(version: &str) -> Option<u32> {
    let number = version.split(") ").nth(1)?;
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

fn install_command(version: Option<u32>) -> String {
    if let Some(version) = version {
        return format!(
            "apt-get install postgresql-{version}` (from apt.postgresql.org, if the system does not have it) or, to fetch 18, `apt-get install npm"
        );
    }
    let has = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    let known = [
        ("apt-get", "apt-get install postgresql"),
        ("dnf", "dnf install postgresql-server"),
        ("apk", "apk add postgresql"),
        ("pacman", "pacman -S postgresql"),
        ("zypper", "zypper install postgresql-server"),
        ("brew", "brew install postgresql@17"),
    ];
    let known = known.into_iter().find(|(tool, _)| has(tool));
    known.map_or("the package manager of your system", |(_, command)| command).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major("something else"), None);
        assert_eq!(digits("/opt/homebrew/opt/postgresql@17/bin"), 17);
    }

    #[test]
    fn a_folder_without_a_server_says_what_is_missing() {
        let cache = Cache { folder: std::env::temp_dir(), account: super::super::account::Account::Same };
        let lookup = |name: &str| (name == "POOL_PG_BIN").then(|| PathBuf::from("/nonexistent"));
        let error = find(&cache, None, lookup).unwrap_err();
        assert_eq!(error.to_string(), "POOL_PG_BIN: /nonexistent has no initdb");
    }

    #[test]
    fn the_environment_may_ask_for_a_version() {
        let asked = |text: &str| version_of(|name| (name == "POOL_PG_VERSION").then(|| PathBuf::from(text)));
        assert_eq!(asked("18").unwrap(), Some(18));
        for wrong in ["14", "18.4", "", "new"] {
            let error = asked(wrong).unwrap_err().to_string();
            assert_eq!(error, format!("POOL_PG_VERSION: {wrong} is no major version from 15 on, such as 18"));
        }
        assert_eq!(version_of(|_| None).unwrap(), None);
    }

    #[test]
    fn who_finds_none_is_told_how_to_get_it() {
        let error = not_found(Some(18), vec!["npm: there is no npm".to_owned()]).to_string();
        assert!(error.starts_with("no PostgreSQL 18 was found"), "{error}");
        for part in
            ["  - npm: there is no npm\n", "apt-get install postgresql-18", "`apt-get install npm`", "POOL_PG_BIN"]
        {
            assert!(error.contains(part), "{error}");
        }
        assert!(not_found(None, Vec::new()).to_string().starts_with("no PostgreSQL 15 or newer was found"));
    }

    #[test]
    fn a_server_of_another_version_will_not_do() {
        let found = Binaries { folder: PathBuf::from("/pg"), version: String::new(), major: 15, libraries: None };
        assert_eq!(found.clone().of(None), Ok(found.clone()));
        assert_eq!(found.clone().of(Some(15)), Ok(found.clone()));
        assert_eq!(found.of(Some(18)), Err("/pg is PostgreSQL 15, not 18".to_owned()));
    }
}
