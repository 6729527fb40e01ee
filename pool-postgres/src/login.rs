//! What to log in with.

use std::sync::Arc;

use crate::config::{ChannelBinding, Host, Password, PostgresConfig, PostgresConfigError, Wanted, look_up};
use crate::credentials::{Cache, Credentials, CredentialsFailure, CredentialsRequest};

/// What a configuration says about logging in, and who knows the rest.
pub(crate) struct Logins {
    /// Without a password.
    plain: tokio_postgres::Config,
    user: String,
    database: String,
    provider: Option<Arc<Cache>>,
}

/// What to log in with at one server.
pub(crate) struct Login {
    /// Without the password.
    plain: tokio_postgres::Config,
    password: Option<Password>,
    /// What the provider has said.
    provided: Option<Arc<Credentials>>,
}

impl Logins {
    pub(crate) fn new(config: &PostgresConfig) -> Result<Self, PostgresConfigError> {
        let user = config.resolved_user()?;
        let mut plain = tokio_postgres::Config::new();
        plain.user(&user);
        plain.ssl_mode(tokio_postgres::config::SslMode::Disable);
        plain.channel_binding(match config.channel_binding {
            ChannelBinding::Disable => tokio_postgres::config::ChannelBinding::Disable,
            ChannelBinding::Prefer => tokio_postgres::config::ChannelBinding::Prefer,
            ChannelBinding::Require => tokio_postgres::config::ChannelBinding::Require,
        });
        // Named, although it has the name of the user by default: a provider may say another user, and means the same database.
        let database = config.database.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
        plain.dbname(&database);
        if let Some(name) = &config.application_name {
            plain.application_name(name);
        }
        // The limits come last, and so count for more.
        let all = config.options.clone().into_iter().chain(config.limits.options());
        if let Some(options) = all.reduce(|all, more| all + " " + &more) {
            plain.options(&options);
        }
        Ok(Self { plain, user, database, provider: None })
    }

    /// As they are, with a provider.
    pub(crate) fn with(mut self, provider: Arc<Cache>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Whether there is a provider.
    pub(crate) fn are_provided(&self) -> bool {
        self.provider.is_some()
    }

    /// Whether there is one who may say something else of each server.
    pub(crate) fn differ_by_host(&self) -> bool {
        self.provider.as_ref().is_some_and(|provider| provider.differ_by_host())
    }

    /// What to log in with at a server: what the provider says if there is one, or else the password of the configuration, or else one of the password file. Not what the server has refused.
    ///
    /// Cancel safety: nothing is lost.
    pub(crate) async fn at(
        &self,
        host: &Host,
        config: &PostgresConfig,
        refused: Option<&Login>,
    ) -> Result<Login, CredentialsFailure> {
        let mut login = Login { plain: self.plain.clone(), password: config.password.clone(), provided: None };
        if let Some(provider) = &self.provider {
            let refused = refused.and_then(|login| login.provided.as_deref());
            let (user, database) = (self.user.clone(), self.database.clone());
            let request = CredentialsRequest { host: host.clone(), user, database };
            // Owned across the await: nothing. The provider's call goes on without us.
            let provided = provider.get(&request, refused).await?;
            login.password = Some(provided.password.clone());
            if let Some(user) = &provided.user {
                login.plain.user(user);
            }
            login.provided = Some(provided);
        } else if config.password.is_none() {
            // Owned across the await: nothing.
            login.password = self.in_file(host, config).await;
        }
        Ok(login)
    }

    /// The password of the password file, read where it holds up nobody.
    async fn in_file(&self, host: &Host, config: &PostgresConfig) -> Option<Password> {
        let file = config.passfile.clone()?;
        let name = if host.is_local_default() { "localhost".to_owned() } else { host.peer() };
        let (port, database, user) = (host.port, self.database.clone(), self.user.clone());
        let look = move || look_up(&file, Wanted { host: &name, port, database: &database, user: &user });
        // Owned across the await: nothing. Dropped, the file is read to its end in vain.
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }
}

impl Login {
    /// For the moment of logging in. The password is put in here and not before, since what is in there is not overwritten when it is dropped.
    pub(crate) fn config(&self) -> tokio_postgres::Config {
        let mut config = self.plain.clone();
        if let Some(password) = &self.password {
            config.password(password.reveal());
        }
        config
    }

    /// Whether there may be others, that the server does not refuse.
    pub(crate) fn is_provided(&self) -> bool {
        self.provided.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    /// User and database that are logged in with. The provider is told the same database.
    async fn whom(text: &str, provided: Option<&'static str>) -> (String, String) {
        let config: PostgresConfig = text.parse().unwrap();
        let mut logins = Logins::new(&config).unwrap();
        if let Some(user) = provided {
            let vault = move |request: CredentialsRequest| {
                let is_told = ["app", "d"].contains(&request.database.as_str());
                ready(if is_told { Ok(Credentials::new("s3cr3t").user(user)) } else { Err("another one".into()) })
            };
            logins = logins.with(Arc::new(Cache::new(vault)));
        }
        let login = logins.at(&config.hosts[0], &config, None).await.unwrap().config();
        (login.get_user().unwrap().to_owned(), login.get_dbname().unwrap().to_owned())
    }

    #[tokio::test]
    async fn the_database_is_that_of_the_configuration_whoever_logs_in() {
        for (text, provided, user, database) in [
            ("user=app", None, "app", "app"),
            ("user=app dbname=d", None, "app", "d"),
            ("user=app", Some("v-app-7f3a"), "v-app-7f3a", "app"),
            ("user=app dbname=d", Some("v-app-7f3a"), "v-app-7f3a", "d"),
        ] {
            let wanted = (user.to_owned(), database.to_owned());
            assert_eq!(whom(text, provided).await, wanted, "{text}, {provided:?}");
        }
    }
}
