//! What a certificate says that rustls does not tell.

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension, X509Extension};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate, X509Version};
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::AlgorithmIdentifier;

/// A certificate that has been read.
pub(super) struct Certificate<'a>(X509Certificate<'a>);

/// Since 1970.
pub(super) fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Whether nobody can make another text for such a signature: MD5 and SHA-1 are too old for that.
fn is_strong(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    !matches!(
        algorithm.algorithm.to_id_string().as_str(),
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.3.14.3.2.29"
    )
}

/// `None` if it is none.
pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, parsed)| Certificate(parsed))
}

impl Certificate<'_> {
    pub(super) fn is_valid_at(&self, now: UnixTime) -> bool {
        let [begins, ends] = self.times();
        (begins..=ends).contains(&seconds(now))
    }

    /// When it begins and ceases to be valid, in seconds.
    pub(super) fn times(&self) -> [i64; 2] {
        let validity = self.0.validity();
        [validity.not_before.timestamp(), validity.not_after.timestamp()]
    }

    /// As it is in the certificate.
    pub(super) fn public_key(&self) -> &[u8] {
        self.0.public_key().raw
    }

    /// The public key without the name of its algorithm.
    pub(super) fn key(&self) -> &[u8] {
        &self.0.public_key().subject_public_key.data
    }

    /// Whether it says itself who has signed it.
    pub(super) fn is_its_own_authority(&self) -> bool {
        self.0.issuer().as_raw() == self.0.subject().as_raw()
    }

    /// Whether its key may be used for TLS, as far as it says. rustls does not ask, and OpenSSL does.
    pub(super) fn may_speak_tls(&self) -> bool {
        let may = |usage: &KeyUsage| usage.digital_signature() || usage.key_encipherment() || usage.key_agreement();
        self.0.key_usage().is_ok_and(|found| found.is_none_or(|it| may(it.value)))
    }

    /// Whether a server may have it: nothing is demanded of whoever takes it that is not looked at here.
    pub(super) fn may_serve(&self) -> bool {
        let is_known = |extension: &X509Extension<'_>| {
            !extension.critical || !matches!(extension.parsed_extension(), ParsedExtension::UnsupportedExtension { .. })
        };
        let purposes =
            self.0.extended_key_usage().map(|found| found.is_none_or(|it| it.value.any || it.value.server_auth));
        purposes.unwrap_or(false) && self.0.iter_extensions().all(is_known)
    }

    /// Whether it may sign others, whatever they are called. One of version 1 cannot say.
    fn may_sign(&self) -> bool {
        let has_usage = self.0.key_usage().is_ok_and(|found| found.is_none_or(|it| it.value.key_cert_sign()));
        let is_bound = self.0.name_constraints().map_or(true, |found| found.is_some());
        (self.0.version() == X509Version::V1 || self.0.is_ca()) && has_usage && !is_bound
    }

    /// Whether it is this one's authority, which has signed it.
    pub(super) fn has_signed(&self, other: &Self) -> bool {
        self.may_sign()
            && self.0.subject().as_raw() == other.0.issuer().as_raw()
            && is_strong(&other.0.signature_algorithm)
            && other.0.verify_signature(Some(self.0.public_key())).is_ok()
    }

    /// Whether this authority says, in the newest of its lists, that it has not revoked a certificate. They are in that order.
    pub(super) fn stands_by<'l>(
        &self,
        other: &Self,
        mut lists: impl Iterator<Item = &'l CertificateRevocationListDer<'static>>,
    ) -> bool {
        lists.find_map(|list| self.has_cleared(other, list)).unwrap_or(false)
    }

    /// What a list says; `None` if it is not this authority's.
    fn has_cleared(&self, other: &Self, list: &[u8]) -> Option<bool> {
        let (_, list) = CertificateRevocationList::from_der(list).ok()?;
        let is_its_own = list.issuer().as_raw() == self.0.subject().as_raw()
            && is_strong(&list.signature_algorithm)
            && list.verify_signature(self.0.public_key()).is_ok();
        let has = || list.iter_revoked_certificates().any(|revoked| *revoked.serial() == other.0.serial);
        // Such as one that says that it is about some certificates alone.
        let is_limited = list.extensions().iter().any(|extension| extension.critical);
        (is_its_own && !is_limited).then(|| !has())
    }

    /// Its alternative names, by which a server may be called.
    pub(super) fn names(&self) -> Vec<&GeneralName<'_>> {
        let extension = self.0.subject_alternative_name().ok().flatten();
        extension.map(|it| it.value.general_names.iter().collect()).unwrap_or_default()
    }

    /// The first of its common names.
    pub(super) fn common_name(&self) -> Option<&str> {
        let first = self.0.subject().iter_common_name().next()?;
        std::str::from_utf8(first.as_slice()).ok()
    }
}

/// The hash of a certificate that proves to a server that it is the one who was spoken to: by the algorithm of its signature, or SHA-256 for the older ones. `None` for one that has none, such as Ed25519 (RFC 5929).
pub(super) fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = parse(certificate)?;
    let signature = &parsed.0.signature_algorithm;
    let algorithm = match signature.algorithm.to_id_string().as_str() {
        // RSA-PSS, which says in a parameter.
        "1.2.840.113549.1.1.10" => {
            let parameters = RsaSsaPssParams::try_from(signature.parameters.as_ref()?).ok()?;
            hash(&parameters.hash_algorithm_oid().to_id_string())?
        }
        name => hash_of_signature(name)?,
    };
    Some(digest(algorithm, certificate).as_ref().to_vec())
}

/// By the name of a signature with RSA or ECDSA.
fn hash_of_signature(name: &str) -> Option<&'static Algorithm> {
    match name {
        // MD5, SHA-1 and SHA-256.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.10045.4.1"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.3.2" => Some(&SHA256),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(&SHA384),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(&SHA512),
        _ => None,
    }
}

/// By its own name.
fn hash(name: &str) -> Option<&'static Algorithm> {
    match name {
        // SHA-1 and SHA-256.
        "1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1" => Some(&SHA256),
        "2.16.840.1.101.3.4.2.2" => Some(&SHA384),
        "2.16.840.1.101.3.4.2.3" => Some(&SHA512),
        _ => None,
    }
}
