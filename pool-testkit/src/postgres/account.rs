//! Whom the server runs as: root is refused by PostgreSQL.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::error::{During, EphemeralError};

/// The user that the server, initdb and their files belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// The user who runs this.
    Same,
    /// Somebody less than root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// The account to use for files below `folder`, which this process has just made.
    pub(crate) fn for_owner_of(folder: &Path) -> Result<Self, EphemeralError> {
        let owner = fs::metadata(folder).during(|| format!("looking at {}", folder.display()))?.uid();
        if owner != 0 {
            return Ok(Self::Same);
        }
        let passwd = fs::read_to_string("/etc/passwd").during(|| "reading /etc/passwd".to_owned())?;
        ["postgres", "nobody"].into_iter().find_map(|name| lookup(&passwd, name)).ok_or_else(|| {
            EphemeralError::step("running as root, which PostgreSQL refuses", "there is no user `postgres` or `nobody`")
        })
    }

    /// Makes a command run as this user, with nothing of PostgreSQL's own environment.
    pub(crate) fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Hands a file or folder over to this user.
    pub(crate) fn own(self, path: &Path) -> Result<(), EphemeralError> {
        match self {
            Self::Same => Ok(()),
            Self::Other { uid, gid } => std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .during(|| format!("giving {} to user {uid}", path.display())),
        }
    }
}

fn lookup(passwd: &str, name: &str) -> Option<Account> {
    let mut fields = passwd
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Account::Other { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:1:1::/:/bin/sh\npostgres:x:105:110:a:/b:/bin/sh\n";
        assert_eq!(lookup(passwd, "postgres"), Some(Account::Other { uid: 105, gid: 110 }));
        assert_eq!(lookup(passwd, "nobody"), None);
    }
}
