//! Where provisioned servers and template data directories are kept from run to run.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::account::Account;
use super::error::{During, EphemeralError};

/// The folder of this user, made if it is missing, and the account that servers run as.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    pub(crate) folder: PathBuf,
    pub(crate) account: Account,
}

impl Cache {
    /// Opens the cache, for a user whose environment is `lookup`.
    pub(crate) fn open(lookup: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, EphemeralError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let probe = std::env::temp_dir().join(format!("pool-testkit-{}-{number}", std::process::id()));
        fs::create_dir_all(&probe).during(|| format!("making {}", probe.display()))?;
        let account = Account::for_owner_of(&probe);
        let _ = fs::remove_dir(&probe);
        let account = account?;
        let folder = place(account, lookup);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&folder)
            .during(|| format!("making {}", folder.display()))?;
        refuse_foreign(&folder, account)?;
        Ok(Self { folder, account })
    }

    /// Waits until this process alone works on `what`. The lock is free again when the file is dropped.
    pub(crate) fn lock(&self, what: &str) -> Result<File, EphemeralError> {
        let path = self.folder.join(format!("{what}.lock"));
        let step = || format!("locking {}", path.display());
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).during(step)?;
        file.lock().during(step)?;
        Ok(file)
    }
}

/// As root everything has to be reachable for the user that the server runs as, and root's home is not.
fn place(account: Account, lookup: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if account != Account::Same {
        return PathBuf::from("/var/tmp/pool-testkit-root");
    }
    let home = || lookup("HOME").map(|home| home.join(".cache"));
    let user = || std::env::temp_dir().join(format!("cache-{}", lookup("USER").unwrap_or_default().display()));
    lookup("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(home).unwrap_or_else(user).join("pool-testkit")
}

/// A folder in a place where everybody may write could have been put there by somebody else.
fn refuse_foreign(folder: &Path, account: Account) -> Result<(), EphemeralError> {
    let metadata = fs::symlink_metadata(folder).during(|| format!("looking at {}", folder.display()))?;
    if metadata.is_dir() && (account == Account::Same || metadata.uid() == 0) {
        return Ok(());
    }
    Err(EphemeralError::step(format!("using the cache {}", folder.display()), "it belongs to somebody else"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_the_users_own() {
        let lookup = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/ann"));
        assert_eq!(place(Account::Same, lookup), Path::new("/home/ann/.cache/pool-testkit"));
        let lookup = |name: &str| Some(PathBuf::from(if name == "HOME" { "/home/ann" } else { "/cache" }));
        assert_eq!(place(Account::Same, lookup), Path::new("/cache/pool-testkit"));
        assert_eq!(place(Account::Other { uid: 1, gid: 1 }, lookup), Path::new("/var/tmp/pool-testkit-root"));
    }
}
