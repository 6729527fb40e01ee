//! Whom to trust.

use std::fmt;
use std::path::PathBuf;

/// The certificates of the authorities to trust.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootCertificates {
    /// Those of the operating system.
    System,
    /// Those of a file (PEM).
    File(PathBuf),
}

impl RootCertificates {
    /// As `sslrootcert` names them: `system`, or a file.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "" => None,
            "system" => Some(Self::System),
            file => Some(Self::File(file.into())),
        }
    }
}

impl<P: Into<PathBuf>> From<P> for RootCertificates {
    fn from(file: P) -> Self {
        Self::File(file.into())
    }
}

impl fmt::Display for RootCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::File(file) => write!(f, "{}", file.display()),
        }
    }
}
