//! Data directories: made once by initdb, then copied.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::error::{During, EphemeralError};
use super::find::{Binaries, LIBRARY_PATH, output};

/// Bumped when the flags of initdb change.
const FORMAT: u32 = 1;

/// Copies the template for these binaries to `target`, making the template first if there is none.
pub(super) fn copy_to(target: &Path, binaries: &Binaries, cache: &Cache) -> Result<(), EphemeralError> {
    let template = ensure(binaries, cache)?;
    let mut copy = cache.account.command("cp");
    copy.arg("-R").arg(&template).arg(target);
    output(&mut copy).map(drop).during(|| format!("copying {} to {}", template.display(), target.display()))
}

fn ensure(binaries: &Binaries, cache: &Cache) -> Result<PathBuf, EphemeralError> {
    let mut hasher = DefaultHasher::new();
    (FORMAT, &binaries.folder, &binaries.version).hash(&mut hasher);
    let name = format!("template-{}-{:016x}", binaries.major, hasher.finish());
    let template = cache.folder.join(&name);
    if template.join("data").is_dir() {
        return Ok(template.join("data"));
    }
    let _lock = cache.lock(&name)?;
    if !template.join("data").is_dir() {
        make(&template, binaries, cache)?;
    }
    Ok(template.join("data"))
}

fn make(template: &Path, binaries: &Binaries, cache: &Cache) -> Result<(), EphemeralError> {
    eprintln!("pool-testkit: preparing a template data directory for {}", binaries.version);
    let draft = template.with_extension("draft");
    let _ = fs::remove_dir_all(&draft);
    let _ = fs::remove_dir_all(template);
    DirBuilder::new().mode(0o755).create(&draft).during(|| format!("making {}", draft.display()))?;
    cache.account.own(&draft)?;
    let mut initdb = cache.account.command(binaries.folder.join("initdb"));
    if let Some(libraries) = &binaries.libraries {
        initdb.env(LIBRARY_PATH, libraries);
    }
    initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]);
    initdb.arg("--wal-segsize=1").arg("-D").arg(draft.join("data"));
    output(&mut initdb).map(drop).during(|| "initdb".to_owned())?;
    // Whole or not at all: a process killed halfway leaves a draft that nobody uses.
    fs::rename(&draft, template).during(|| format!("naming {}", template.display()))
}
