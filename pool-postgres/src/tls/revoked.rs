//! Lists of revoked certificates, and which of them counts.

use tokio_rustls::rustls::pki_types::{CertificateRevocationListDer, UnixTime};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::certificate::seconds;

/// All that have been named.
#[derive(Debug)]
pub(super) struct Lists(Vec<List>);

#[derive(Debug)]
struct List {
    der: CertificateRevocationListDer<'static>,
    /// The first second at which it counts, and the last.
    begins: i64,
    ends: i64,
}

impl Lists {
    /// The newest first: of those of one authority it is that which counts, for OpenSSL and, if it comes first, for rustls.
    ///
    /// # Errors
    ///
    /// If one of them is none.
    pub(super) fn new(lists: Vec<CertificateRevocationListDer<'static>>) -> Result<Self, String> {
        let read = |der: CertificateRevocationListDer<'static>| {
            let wrong = |error| format!("a list of revoked certificates cannot be used: {error}");
            let (_, list) = CertificateRevocationList::from_der(&der).map_err(wrong)?;
            let (begins, number) = (list.last_update().timestamp(), list.crl_number().cloned());
            let ends = list.next_update().map_or(i64::MAX, |next| next.timestamp());
            Ok((number, List { begins, ends, der: der.clone() }))
        };
        let mut lists = lists.into_iter().map(read).collect::<Result<Vec<_>, String>>()?;
        lists.sort_by(|(one, a), (other, b)| (b.begins, other).cmp(&(a.begins, one)));
        Ok(Self(lists.into_iter().map(|(_, list)| list).collect()))
    }

    /// Those that count now, the newest first.
    pub(super) fn at(&self, now: UnixTime) -> impl Iterator<Item = &CertificateRevocationListDer<'static>> {
        let now = seconds(now);
        self.0.iter().filter(move |list| (list.begins..=list.ends).contains(&now)).map(|list| &list.der)
    }

    /// From when on others count.
    pub(super) fn changes(&self) -> impl Iterator<Item = i64> {
        self.0.iter().flat_map(|list| [list.begins, list.ends.saturating_add(1)])
    }
}
