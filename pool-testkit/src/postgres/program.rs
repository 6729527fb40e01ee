//! Looking for one program.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Cache;
use super::error::EphemeralError;
use super::find::{LIBRARY_PATH, output};
use super::provision::Way;

/// A program that is looked for, and fetched if it is not there.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// What it is called among people, such as `PgBouncer`.
    pub(crate) what: &'static str,
    /// What its file may be called, the best first.
    pub(crate) files: &'static [&'static str],
    /// How that begins what it says of itself.
    pub(crate) says: &'static str,
    /// The variable of the environment that names it.
    pub(crate) variable: &'static str,
    /// How to say so.
    pub(crate) name: &'static str,
    /// The command that installs it.
    pub(crate) install: &'static str,
    /// How to fetch it; `None` if it has to be installed.
    pub(crate) way: Option<&'static Way>,
}

/// The program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// Where its own shared libraries are, if it was fetched.
    pub(crate) libraries: Option<PathBuf>,
    /// What it says of itself, such as `PgBouncer 1.18.0`.
    pub(crate) version: String,
}

impl Program {
    /// A command that runs it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(libraries) = &self.libraries {
            command.env(LIBRARY_PATH, libraries);
        }
        command
    }
}

impl Wanted {
    /// Finds it, or provisions it.
    pub(crate) fn find(
        &self,
        cache: &Cache,
        lookup: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Program, EphemeralError> {
        if let Some(path) = lookup(self.variable) {
            let wrong = |problem| EphemeralError::Environment { variable: self.variable, problem };
            return self.at(path, None).map_err(wrong);
        }
        let mut looked_at = Vec::new();
        for path in self.candidates(lookup("PATH")) {
            match self.at(path, None) {
                Ok(found) => return Ok(found),
                Err(problem) => looked_at.push(problem),
            }
        }
        looked_at.push(format!("PATH and the usual places have no other {}", self.files.join(" or ")));
        self.cached_or_new(cache).map_err(|problem| {
            looked_at.extend(problem);
            let (what, install) = (self.what.to_owned(), self.install.to_owned());
            EphemeralError::NotFound { what, looked_at, install, name: self.name }
        })
    }

    /// The program in a file, or what is wrong with it.
    fn at(&self, path: PathBuf, libraries: Option<PathBuf>) -> Result<Program, String> {
        let mut program = Program { path, libraries, version: String::new() };
        let said = output(program.command().arg("--version"))
            .map_err(|problem| format!("{}: {problem}", program.path.display()))?;
        said.lines().next().unwrap_or_default().clone_into(&mut program.version);
        if program.version.starts_with(self.says) {
            Ok(program)
        } else {
            Err(format!("{} is not {}, but {:?}", program.path.display(), self.what, program.version))
        }
    }

    fn candidates(&self, path: Option<PathBuf>) -> impl Iterator<Item = PathBuf> {
        let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from);
        let folders: Vec<PathBuf> = path.iter().flat_map(std::env::split_paths).chain(usual).collect();
        folders.into_iter().flat_map(|folder| self.files_in(&folder).collect::<Vec<_>>())
    }

    fn files_in(&self, folder: &Path) -> impl Iterator<Item = PathBuf> {
        self.files.iter().map(move |file| folder.join(file)).filter(|path| path.is_file())
    }

    /// The error is `None` if there is no way to fetch it.
    fn cached_or_new(&self, cache: &Cache) -> Result<Program, Option<String>> {
        let way = self.way.ok_or(None)?;
        let _lock = cache.lock(way.package()).map_err(|error| error.to_string())?;
        if let Ok(found) = self.cached(way, &cache.folder) {
            return Ok(found);
        }
        way.fetch(cache, None)?;
        Ok(self.cached(way, &cache.folder)?)
    }

    fn cached(&self, way: &Way, cache: &Path) -> Result<Program, String> {
        let (folder, libraries) = way.folders_in(cache, None)?;
        let path = self.files_in(&folder).next();
        self.at(path.ok_or_else(|| format!("{} has no {}", folder.display(), self.files.join(" or ")))?, libraries)
    }
}
