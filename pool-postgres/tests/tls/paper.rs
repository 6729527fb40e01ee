//! Certificates of every kind, keys, and lists of revoked certificates, in a folder of the test's own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// A folder that goes away.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pool-postgres-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file for everybody.
    pub(crate) fn share(&self, name: &str, text: &str) -> PathBuf {
        let file = self.write(name, text);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        file
    }

    /// Writes a file, for its owner alone, as those do who exchange files while they are in use: beside it, and then in its place.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let (file, draft) = (self.0.join(name), self.0.join(format!("{name}.draft")));
        std::fs::write(&draft, text).unwrap();
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&draft, &file).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certificate and its key, both PEM.
pub(crate) struct Paper {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) serial: SerialNumber,
}

/// What a certificate for a name begins with: nobody has signed it yet.
pub(crate) fn draft(name: &str) -> CertificateParams {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    // Not that of the authority, for then OpenSSL would take it for its own issuer.
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(NEXT.fetch_add(1, Ordering::Relaxed)));
    params
}

/// Signed by itself.
pub(crate) fn self_signed(params: &CertificateParams) -> Paper {
    let key = KeyPair::generate().unwrap();
    Paper { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// Of an authority, which nobody has signed yet.
fn draft_of_authority(name: &str) -> CertificateParams {
    let mut params = draft(name);
    params.subject_alt_names.clear();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let (params, key) = (draft_of_authority(name), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap().pem();
        Self::of(params, key, certificate)
    }

    /// Another one, by this one's leave.
    pub(crate) fn delegate(&self, name: &str) -> Self {
        let (params, key) = (draft_of_authority(name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self::of(params, key, certificate)
    }

    fn of(params: CertificateParams, key: KeyPair, certificate: String) -> Self {
        let serial = params.serial_number.clone().unwrap();
        Self { certificate, key: key.serialize_pem(), serial, issuer: Issuer::new(params, key) }
    }

    /// A certificate of its own that it had before, with the same key.
    pub(crate) fn expired(&self, name: &str) -> String {
        let mut params = draft_of_authority(name);
        (params.not_before, params.not_after) = (date_time_ymd(2010, 1, 1), date_time_ymd(2020, 1, 1));
        params.self_signed(self.issuer.key()).unwrap().pem()
    }

    pub(crate) fn sign(&self, params: &CertificateParams) -> Paper {
        let key = KeyPair::generate().unwrap();
        Paper { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// For this name.
    pub(crate) fn issue(&self, name: &str) -> Paper {
        self.sign(&draft(name))
    }

    /// A list of certificates that it has revoked, which is good until a year.
    pub(crate) fn revoke(&self, serials: &[&SerialNumber], until: i32) -> String {
        self.revoke_between(serials, [2020, until], 1)
    }

    /// One that is good from one year to another, by its number.
    pub(crate) fn revoke_between(&self, serials: &[&SerialNumber], [from, until]: [i32; 2], number: u64) -> String {
        let revoked = |serial: &&SerialNumber| RevokedCertParams {
            serial_number: (*serial).clone(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(from, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// What `openssl` makes of its arguments, in this folder: what it says.
pub(crate) fn openssl(folder: &Folder, arguments: &str) -> String {
    let mut command = Command::new("openssl");
    let output = command.args(arguments.split_whitespace()).current_dir(folder.path()).output();
    let output = output.expect("openssl is there (apt-get install openssl)");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
