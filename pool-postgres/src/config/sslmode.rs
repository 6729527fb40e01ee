//! Whether to use TLS and what to verify.

use std::str::FromStr;

/// Whether to use TLS and what to verify, as libpq's `sslmode` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server offers it, unverified; plain otherwise. Protects from nobody who can change what is sent.
    #[default]
    Prefer,
    /// TLS or nothing. Unverified, unless `sslrootcert` is set: then as `VerifyCa`.
    Require,
    /// TLS with a certificate from a trusted authority.
    VerifyCa,
    /// TLS with a certificate from a trusted authority for this host name.
    VerifyFull,
}

pub(super) const ALLOWED: &str = "disable, prefer, require, verify-ca, verify-full";

impl FromStr for SslMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return Err(()),
        })
    }
}
