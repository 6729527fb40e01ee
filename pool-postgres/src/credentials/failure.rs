//! Why there are no credentials.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::CredentialsError;
use crate::chain::Whole;

/// Why a [provider](crate::CredentialsProvider) has not said what to log in with. All who waited for the call are told the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CredentialsFailure {
    /// It failed.
    Failed(Arc<dyn StdError + Send + Sync>),
    /// It took longer than its timeout, or than this attempt to connect could wait.
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// It panicked.
    Panicked {
        /// The message of the panic.
        message: String,
    },
}

impl CredentialsFailure {
    pub(super) fn of(error: CredentialsError) -> Self {
        Self::Failed(Arc::from(error))
    }
}

impl fmt::Display for CredentialsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "the provider failed: {}", Whole(error.as_ref())),
            Self::TimedOut { after } => write!(f, "it took longer than {after:?}"),
            Self::Panicked { message } => write!(f, "the provider panicked: {message}"),
        }
    }
}

impl StdError for CredentialsFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Failed(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}
