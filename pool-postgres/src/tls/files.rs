//! Certificates, keys and lists of revoked certificates, in files.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::config::{PostgresConfig, SslCertMode};
use crate::error::PostgresError;

/// What is wrong with a file that a keyword names.
pub(super) fn unusable(keyword: &str, file: &Path, problem: impl Display) -> PostgresError {
    PostgresError::Tls(format!("{keyword} = {}: {problem}", file.display()))
}

/// All certificates of a file; there is one at least.
pub(super) fn certificates(keyword: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, PostgresError> {
    let wrong = |error: &dyn Display| unusable(keyword, file, error);
    let all = CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|error| wrong(&error))?;
    if all.is_empty() { Err(wrong(&"there is no certificate (PEM) in it")) } else { Ok(all) }
}

/// The certificate of the client and its key; `None` if none is to be sent, or the file is not there: the server may do without, as for libpq.
pub(super) fn identity(
    config: &PostgresConfig,
) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, PostgresError> {
    let is_to_be_sent = config.sslcertmode != SslCertMode::Disable;
    let Some(file) = config.sslcert.as_deref().filter(|file| is_to_be_sent && !is_absent(file)) else {
        return Ok(None);
    };
    let chain = certificates("sslcert", file)?;
    let key_file = config.sslkey.as_deref().ok_or_else(|| unusable("sslcert", file, "there is no sslkey to it"))?;
    check_access(key_file)?;
    Ok(Some((chain, key(key_file)?)))
}

/// PEM or DER, and not encrypted.
fn key(file: &Path) -> Result<PrivateKeyDer<'static>, PostgresError> {
    let text = Zeroizing::new(fs::read(file).map_err(|error| unusable("sslkey", file, error))?);
    let has = |mark: &[u8]| text.windows(mark.len()).any(|window| window == mark);
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        let advice = "it is encrypted, and only plain keys can be used (openssl pkey -in ENCRYPTED -out PLAIN takes the password off)";
        return Err(unusable("sslkey", file, advice));
    }
    let key = PrivateKeyDer::from_pem_slice(&text);
    key.or_else(|error| match PrivateKeyDer::try_from(&text[..]) {
        Ok(key) => Ok(key.clone_key()),
        Err(_) => Err(unusable("sslkey", file, error)),
    })
}

/// A key is its owner's alone; one of root's may be read by its group.
#[cfg(unix)]
fn check_access(file: &Path) -> Result<(), PostgresError> {
    use std::os::unix::fs::MetadataExt;
    let about = fs::metadata(file).map_err(|error| unusable("sslkey", file, error))?;
    let others = if about.uid() == 0 { 0o037 } else { 0o077 };
    if !about.is_file() {
        return Err(unusable("sslkey", file, "it is not a plain file"));
    }
    if about.mode() & others != 0 {
        let advice = "others can use it; permissions are to be u=rw (0600) or less, or u=rw,g=r (0640) if it is root's";
        return Err(unusable("sslkey", file, advice));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_access(_: &Path) -> Result<(), PostgresError> {
    Ok(())
}

/// All lists of revoked certificates; `None` if nobody is to be asked. As for libpq, that is so for a file that is not there, but not for a folder: nobody is cleared by one without a list.
pub(super) fn revoked(
    config: &PostgresConfig,
) -> Result<Option<Vec<CertificateRevocationListDer<'static>>>, PostgresError> {
    let mut lists = None;
    if let Some(file) = config.sslcrl.as_deref().filter(|file| !is_absent(file)) {
        let found = lists_of("sslcrl", file)?;
        if found.is_empty() {
            return Err(unusable("sslcrl", file, "there is no list of revoked certificates (PEM) in it"));
        }
        lists = Some(found);
    }
    if let Some(folder) = &config.sslcrldir {
        lists.get_or_insert_default().extend(lists_below(folder)?);
    }
    Ok(lists)
}

/// Of all files in a folder, and not of folders in there; none if it is not there.
fn lists_below(folder: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, PostgresError> {
    if is_absent(folder) {
        return Ok(Vec::new());
    }
    let wrong = |error| unusable("sslcrldir", folder, error);
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(wrong)?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    let lists = paths.iter().map(|path| lists_of("sslcrldir", path));
    Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Whether there is nothing by this name. What cannot be looked at is there.
fn is_absent(path: &Path) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    fs::metadata(path).is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

fn lists_of(keyword: &str, file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, PostgresError> {
    let lists = CertificateRevocationListDer::pem_file_iter(file).map_err(|error| unusable(keyword, file, error))?;
    lists.collect::<Result<_, _>>().map_err(|error| unusable(keyword, file, error))
}
