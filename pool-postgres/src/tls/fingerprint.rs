//! What files are like, without reading them.

use std::fs::{Metadata, metadata, read_dir};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Another one: a file has been written, or another has taken its place.
pub(super) type Fingerprint = Vec<(PathBuf, Option<Kind>)>;

/// `None`: it is not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    modified: Option<SystemTime>,
    length: u64,
    identity: [u64; 2],
}

/// Of files, and of folders and all that is directly in them.
pub(super) fn fingerprint(paths: &[PathBuf]) -> Fingerprint {
    let mut prints: Fingerprint =
        paths.iter().flat_map(|path| below(path)).map(|path| (path.clone(), kind(&path))).collect();
    prints.sort_by(|(one, _), (other, _)| one.cmp(other));
    prints
}

fn below(path: &Path) -> Vec<PathBuf> {
    let inside = read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(path.to_owned()).chain(inside).collect()
}

/// Of what a link leads to.
fn kind(path: &Path) -> Option<Kind> {
    let about = metadata(path).ok()?;
    Some(Kind { modified: about.modified().ok(), length: about.len(), identity: identity(&about) })
}

/// Which file it is, and when it was touched: the times of a file that has been copied are those of the other.
#[cfg(unix)]
fn identity(about: &Metadata) -> [u64; 2] {
    use std::os::unix::fs::MetadataExt;
    [
        about.ino(),
        about.ctime().unsigned_abs().wrapping_mul(1_000_000_000).wrapping_add(about.ctime_nsec().unsigned_abs()),
    ]
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> [u64; 2] {
    [0; 2]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_written_or_exchanged_has_another_fingerprint() {
        let folder = std::env::temp_dir().join(format!("pool-postgres-print-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, other) = (folder.join("a"), folder.join("b"));
        let paths = [file.clone(), folder.join("none"), folder.clone()];
        fs::write(&file, "one").unwrap();
        let mut last = fingerprint(&paths);
        assert_eq!(fingerprint(&paths), last);
        let changes: [&dyn Fn(); 4] = [
            &|| fs::write(&file, "longer").unwrap(),
            &|| fs::write(&other, "in the folder").unwrap(),
            &|| fs::rename(&other, &file).unwrap(),
            &|| fs::remove_file(&file).unwrap(),
        ];
        for change in changes {
            change();
            let next = fingerprint(&paths);
            assert_ne!(next, last);
            last = next;
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
