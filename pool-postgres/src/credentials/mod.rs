//! Users and passwords that change: tokens of a cloud, secrets of a vault.

mod cache;
mod call;
mod failure;

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use crate::config::{Host, Password};

pub(crate) use cache::Cache;
pub use failure::CredentialsFailure;

/// What to log in with. `Debug` does not show the password.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use pool_postgres::Credentials;
///
/// let credentials = Credentials::new("a token").user("app").valid_for(Duration::from_mins(15));
/// assert!(!format!("{credentials:?}").contains("a token"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The user. `None`: that of the configuration. The [database](CredentialsRequest::database) stays the same.
    pub user: Option<String>,
    /// The password.
    pub password: Password,
    /// For how long they are good, from the moment when the provider was asked. Zero: for those who wait for them alone. `None`: until the server refuses them.
    pub valid_for: Option<Duration>,
}

impl Credentials {
    /// A password for the user of the configuration, good until the server refuses it.
    pub fn new(password: impl Into<Password>) -> Self {
        Self { user: None, password: password.into(), valid_for: None }
    }

    /// Another user than that of the configuration.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Good for so long, from the moment when the provider was asked.
    #[must_use]
    pub fn valid_for(mut self, time: Duration) -> Self {
        self.valid_for = Some(time);
        self
    }

    /// Good until then, by the clock of this machine as it is now.
    #[must_use]
    pub fn valid_until(self, end: SystemTime) -> Self {
        self.valid_for(end.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

/// What a provider is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialsRequest {
    /// The server that is connected to; the first that wanted them, unless they are [different for each](CredentialsProvider::differ_by_host).
    pub host: Host,
    /// The user of the configuration.
    pub user: String,
    /// The database: that of the configuration, which is named as its user by default, whatever user the credentials are for.
    pub database: String,
}

/// What a provider fails with. Its text is shown in errors and logs, so that no secret may be in it.
pub type CredentialsError = Box<dyn StdError + Send + Sync>;

/// Says what to log in with whenever a connection is opened, for [`PostgresDriver::with_credentials`](crate::PostgresDriver::with_credentials) and its kin. A function of a request that returns a future is one, too.
///
/// What it answers is kept for as long as it is [good](Credentials::valid_for). In the last minute of that, or the last fifth if that is less, the provider is asked again in the background by whoever opens a
/// connection, who takes what there is. However many want to know, there is one call at a time, and it belongs to none of them: it goes on if they give up, and the next finds its answer.
///
/// If the server refuses the credentials (28P01, 28000), they are forgotten, and the provider is asked once more before the attempt to connect fails. So the password of a role can be changed under a pool: that
/// the provider knows the new one as soon as the server does is all it takes.
///
/// A provider that fails, panics or takes too long fails the attempt to connect with [`ConnectStep::Credentials`](crate::ConnectStep::Credentials) and a [`CredentialsFailure`] as its
/// [source](std::error::Error::source). To the pool that may pass by itself. An opener waits for three quarters of the time that it has for the server.
///
/// Some servers are sent the password as it is, such as those that take tokens of a cloud. Then `sslmode` should be `require` at least: the default, `prefer`, tries without encryption if a server refuses
/// who comes with it.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use pool_postgres::{Credentials, CredentialsError, CredentialsProvider, CredentialsRequest, PostgresConfig, PostgresPool};
///
/// struct Vault;
///
/// impl Vault {
///     async fn secret(&self, user: &str) -> Result<String, CredentialsError> {
///         Ok(format!("the secret of {user}")) // Here it asks.
///     }
/// }
///
/// impl CredentialsProvider for Vault {
///     async fn credentials(&self, request: CredentialsRequest) -> Result<Credentials, CredentialsError> {
///         let password = self.secret(&request.user).await?;
///         Ok(Credentials::new(password).valid_for(Duration::from_hours(1)))
///     }
/// }
///
/// # fn build(config: PostgresConfig) -> Result<(), Box<dyn std::error::Error>> {
/// let pool = PostgresPool::from(PostgresPool::builder_with_credentials(config, Vault)?.build()?);
/// # Ok(())
/// # }
/// ```
pub trait CredentialsProvider: Send + Sync + 'static {
    /// The credentials. It runs in a task of its own, on the runtime of whoever wants them.
    ///
    /// Cancel safety: the future is dropped when its [timeout](Self::timeout) is over, and when the pool and all its connections are gone.
    ///
    /// # Errors
    ///
    /// Any error fails the attempts to connect that wait for it.
    fn credentials(
        &self,
        request: CredentialsRequest,
    ) -> impl Future<Output = Result<Credentials, CredentialsError>> + Send;

    /// How long a call may take. Default 10 s.
    fn timeout(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Whether they are different for each server, as tokens are that name the host: then each server has its own. Asked for once. Default `false`.
    fn differ_by_host(&self) -> bool {
        false
    }
}

impl<F, A> CredentialsProvider for F
where
    F: Fn(CredentialsRequest) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Credentials, CredentialsError>> + Send,
{
    fn credentials(&self, request: CredentialsRequest) -> impl Future<Output = A::Output> + Send {
        self(request)
    }
}

type Called<'a> = Pin<Box<dyn Future<Output = Result<Credentials, CredentialsError>> + Send + 'a>>;

/// A provider of any type.
pub(crate) trait AnyProvider: Send + Sync {
    fn credentials(&self, request: CredentialsRequest) -> Called<'_>;
    fn timeout(&self) -> Duration;
}

impl<P: CredentialsProvider> AnyProvider for P {
    fn credentials(&self, request: CredentialsRequest) -> Called<'_> {
        Box::pin(CredentialsProvider::credentials(self, request))
    }

    fn timeout(&self) -> Duration {
        CredentialsProvider::timeout(self)
    }
}
