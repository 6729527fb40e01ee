//! Whom to trust, and whom no longer.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use tokio_rustls::rustls::{Error, RootCertStore};

use pool_core::trace::report;

use super::certificate::{self, Certificate, seconds};
use super::revoked::Lists;

/// Whom to trust. rustls does not look whether an authority's own certificate has expired, and OpenSSL does; so it is told of those that are valid alone.
#[derive(Debug)]
pub(super) struct Trust {
    /// Authorities that nobody else has signed.
    roots: Vec<CertificateDer<'static>>,
    /// Others, which count if a root has signed them.
    between: Vec<CertificateDer<'static>>,
    /// `None`: nobody is asked whether a certificate has been revoked.
    lists: Option<Lists>,
    provider: Arc<CryptoProvider>,
    last: Mutex<Valid>,
}

/// What is valid for a while.
#[derive(Debug)]
struct Valid {
    /// By the roots and lists that are; `None` if there is none of either.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// The second from which on they are.
    from: i64,
    /// The second from which on others are.
    until: i64,
}

impl Trust {
    /// As of now.
    ///
    /// # Errors
    ///
    /// If one of the lists is none.
    pub(super) fn new(
        all: Vec<CertificateDer<'static>>,
        lists: Option<Vec<CertificateRevocationListDer<'static>>>,
        provider: Arc<CryptoProvider>,
        now: UnixTime,
    ) -> Result<Self, String> {
        let is_root = |one: &CertificateDer<'_>| certificate::parse(one).is_none_or(|it| it.is_its_own_authority());
        let (roots, between) = all.into_iter().partition(is_root);
        let lists = lists.map(Lists::new).transpose()?;
        let last = Mutex::new(Valid { authorities: None, from: i64::MAX, until: i64::MIN });
        let trust = Self { roots, between, lists, provider, last };
        if trust.authorities(now)?.is_none() {
            report(|| tracing::warn!("{}", trust.nobody()));
        }
        Ok(trust)
    }

    /// Those that count now.
    fn authorities(&self, now: UnixTime) -> Result<Option<Arc<WebPkiServerVerifier>>, String> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let second = seconds(now);
        // A clock may go back.
        if !(last.from..last.until).contains(&second) {
            let from = self.changes().filter(|time| *time <= second).max().unwrap_or(i64::MIN);
            let until = self.changes().filter(|time| *time > second).min().unwrap_or(i64::MAX);
            *last = Valid { authorities: self.valid_at(now)?, from, until };
        }
        Ok(last.authorities.clone())
    }

    /// When a root or a list begins or ceases to be valid, in seconds.
    fn changes(&self) -> impl Iterator<Item = i64> {
        let roots = self.roots.iter().filter_map(|root| Some(certificate::parse(root)?.times()));
        let of_roots = roots.flat_map(|[begins, ends]| [begins, ends.saturating_add(1)]);
        of_roots.chain(self.lists.iter().flat_map(Lists::changes))
    }

    /// Why nobody is trusted.
    fn nobody(&self) -> &'static str {
        if self.lists.is_none() {
            "no authority that sslrootcert names has a certificate of its own that is valid now"
        } else {
            "no authority that sslrootcert names has a certificate of its own that is valid now, or there is no list of revoked certificates that is (sslcrl, sslcrldir)"
        }
    }

    fn valid_at(&self, now: UnixTime) -> Result<Option<Arc<WebPkiServerVerifier>>, String> {
        let is_valid = |root: &&CertificateDer<'_>| certificate::parse(root).is_none_or(|it| it.is_valid_at(now));
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.roots.iter().filter(is_valid).cloned());
        let lists: Vec<_> = self.lists.iter().flat_map(|lists| lists.at(now)).cloned().collect();
        // Without any list rustls would ask nobody.
        if store.is_empty() || self.lists.is_some() && lists.is_empty() {
            return Ok(None);
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&self.provider));
        let verifier = verifier.with_crls(lists).enforce_revocation_expiration();
        verifier.build().map(Some).map_err(|error| error.to_string())
    }

    /// As rustls does it.
    pub(super) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authorities = self.authorities(now).map_err(Error::General)?;
        let nobody = || Error::General(self.nobody().to_owned());
        let all: Vec<_> = intermediates.iter().chain(&self.between).cloned().collect();
        authorities.ok_or_else(nobody)?.verify_server_cert(end_entity, &all, server_name, ocsp_response, now)
    }

    /// Whether a root vouches for a certificate by itself, where rustls does not look: for one of version 1, for that of another authority, and for its own. OpenSSL takes them.
    pub(super) fn vouches_for(&self, end_entity: &CertificateDer<'_>, now: UnixTime) -> bool {
        let Some(it) = certificate::parse(end_entity).filter(|it| it.is_valid_at(now) && it.may_serve()) else {
            return false;
        };
        let is_from = |authority: &Certificate<'_>, root: &CertificateDer<'_>| {
            authority.is_valid_at(now)
                && (root == end_entity || authority.has_signed(&it))
                && self.lists.as_ref().is_none_or(|lists| authority.stands_by(&it, lists.at(now)))
        };
        self.roots.iter().any(|root| certificate::parse(root).is_some_and(|authority| is_from(&authority, root)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
        KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
    };
    use tokio_rustls::rustls::CertificateError;
    use tokio_rustls::rustls::crypto::ring;

    use super::*;

    /// The first of January.
    fn year(year: i32) -> UnixTime {
        let seconds = date_time_ymd(year, 1, 1).unix_timestamp();
        UnixTime::since_unix_epoch(Duration::from_secs(seconds.unsigned_abs()))
    }

    #[test]
    fn of_lists_that_begin_and_end_it_is_the_newest_that_counts_at_each_time() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority");
        let root = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::new(vec!["db.example".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(7_u64));
        let end_entity = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone();
        let list = |[from, until]: [i32; 2], revokes: bool| {
            let revoked = RevokedCertParams {
                serial_number: SerialNumber::from(7_u64),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            };
            let list = CertificateRevocationListParams {
                this_update: date_time_ymd(from, 1, 1),
                next_update: date_time_ymd(until, 1, 1),
                crl_number: SerialNumber::from(1_u64),
                issuing_distribution_point: None,
                revoked_certs: Some(revoked).filter(|_| revokes).into_iter().collect(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            list.signed_by(&issuer).unwrap().der().clone()
        };
        let name = ServerName::try_from("db.example").unwrap();
        let provider = || Arc::new(ring::default_provider());
        let lists = vec![list([2030, 2040], true), list([2020, 2036], false), list([2033, 2035], false)];
        let trust = Trust::new(vec![root.clone()], Some(lists), provider(), year(2025)).unwrap();
        let outcome = |year| trust.verify(&end_entity, &[], &name, &[], year);
        let is_revoked = |year| matches!(outcome(year), Err(Error::InvalidCertificate(CertificateError::Revoked)));
        assert!(outcome(year(2025)).is_ok() && is_revoked(year(2031)), "as time goes by");
        assert!(outcome(year(2034)).is_ok() && is_revoked(year(2037)));
        assert!(outcome(year(2041)).unwrap_err().to_string().contains("no list of revoked certificates"));
        assert!(outcome(year(2025)).is_ok() && is_revoked(year(2031)), "a clock may go back");
        assert!(outcome(year(2019)).is_err(), "and before all lists");
        let nobody = Trust::new(vec![root], Some(vec![]), provider(), year(2025)).unwrap();
        assert!(nobody.verify(&end_entity, &[], &name, &[], year(2025)).is_err(), "there is no list at all");
    }
}
