//! Where libpq 18 comes from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::FOLDER;

const WHEEL: &str = "3.3.9";

/// libpq 18: the one that `POOL_LIBPQ` names, or that of the wheel that psycopg comes in, which is fetched once.
pub(crate) fn library() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| std::env::var_os("POOL_LIBPQ").map_or_else(fetched, PathBuf::from)).clone()
}

fn fetched() -> PathBuf {
    let folder = Path::new(FOLDER).join("libpq-18");
    find(&folder).unwrap_or_else(|| {
        // Beside it at first, so that what was interrupted is not taken for the whole.
        let part = folder.with_extension(std::process::id().to_string());
        if let Err(problem) = install(&part) {
            panic!(
                "libpq 18 is needed, which comes with psycopg-binary {WHEEL}, and pip cannot install that: {problem}\n\
                 Install pip (apt-get install python3-pip) and be connected once, or name a libpq.so.5 of version 18 in POOL_LIBPQ."
            );
        }
        // Somebody else may have been quicker.
        if std::fs::rename(&part, &folder).is_err() {
            let _ = std::fs::remove_dir_all(&part);
        }
        find(&folder).expect("the wheel has libpq")
    })
}

fn find(folder: &Path) -> Option<PathBuf> {
    let libraries = std::fs::read_dir(folder.join("psycopg_binary.libs")).ok()?;
    let mut paths = libraries.filter_map(Result::ok).map(|entry| entry.path());
    paths.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libpq-")))
}

fn install(folder: &Path) -> Result<(), String> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(folder);
    let output = pip.arg(format!("psycopg-binary=={WHEEL}")).output().map_err(|error| format!("python3: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
