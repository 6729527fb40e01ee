//! Where reports go.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// `report` in cargo's target folder, made if need be.
pub(crate) fn report_folder() -> io::Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Cargo runs a benchmark in the folder of its package; a relative target folder is meant from the root.
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let folder = workspace.join(target).join("report");
    fs::create_dir_all(&folder)?;
    folder.canonicalize()
}
