//! Settings that are one of a few words.

/// An enum of words: written and read as libpq writes them.
macro_rules! choices {
    ($(#[$about:meta])* $name:ident: $($(#[$doc:meta])* $word:literal => $choice:ident),+ $(,)?) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $choice,)+
        }

        impl $name {
            /// The words, as they are told to who has used another one.
            pub(crate) const ALLOWED: &'static str = choices!(@list $($word),+);
        }

        impl std::str::FromStr for $name {
            type Err = $crate::config::PostgresConfigError;

            /// Reads the word.
            ///
            /// # Errors
            ///
            /// Any other word, with those that are allowed.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$choice),)+
                    other => Err($crate::config::PostgresConfigError::value(stringify!($name), other, Self::ALLOWED)),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self {
                    $(Self::$choice => $word,)+
                })
            }
        }
    };
    (@list $first:literal $(, $other:literal)*) => {
        concat!($first $(, ", ", $other)*)
    };
}

choices! {
    /// Whether to use TLS and what to verify, as libpq's `sslmode` says it.
    SslMode:
    /// No TLS.
    "disable" => Disable,
    /// Plain, unless the server insists on TLS; that unverified. Protects from nobody who can change what is sent.
    "allow" => Allow,
    /// TLS if the server offers it, unverified; plain otherwise. Protects from nobody who can change what is sent.
    #[default]
    "prefer" => Prefer,
    /// TLS or nothing. Unverified, unless there is a root certificate: then as `VerifyCa`.
    "require" => Require,
    /// TLS with a certificate from a trusted authority.
    "verify-ca" => VerifyCa,
    /// TLS with a certificate from a trusted authority for this host name.
    "verify-full" => VerifyFull,
}

choices! {
    /// How TLS begins.
    SslNegotiation:
    /// The server is asked first whether it has TLS.
    #[default]
    "postgres" => Postgres,
    /// At once, which saves a round trip. PostgreSQL 17 and later.
    "direct" => Direct,
}

choices! {
    /// Whether a certificate of the client is sent.
    SslCertMode:
    /// Never.
    "disable" => Disable,
    /// If the server asks for one and there is one.
    #[default]
    "allow" => Allow,
    /// The server has to ask for it.
    "require" => Require,
}

choices! {
    /// A version of TLS. Older ones than 1.2 are not spoken.
    TlsVersion:
    /// 1.2.
    #[default]
    "TLSv1.2" => V1_2,
    /// 1.3.
    "TLSv1.3" => V1_3,
}

choices! {
    /// Whether logging in proves that it is this TLS connection that is logged in on (SCRAM-SHA-256-PLUS), so that nobody can stand in between.
    ChannelBinding:
    /// It does not.
    "disable" => Disable,
    /// If the server can.
    #[default]
    "prefer" => Prefer,
    /// Or not at all.
    "require" => Require,
}

choices! {
    /// Which servers of the list will do.
    TargetSessionAttrs:
    /// Any.
    #[default]
    "any" => Any,
    /// One that takes writes.
    "read-write" => ReadWrite,
    /// One that does not.
    "read-only" => ReadOnly,
    /// One that is not a standby.
    "primary" => Primary,
    /// A standby.
    "standby" => Standby,
    /// A standby if there is one, or else any.
    "prefer-standby" => PreferStandby,
}

choices! {
    /// In which order the servers of the list are tried, and the addresses of each.
    LoadBalanceHosts:
    /// As they are written.
    #[default]
    "disable" => Disable,
    /// In another order each time.
    "random" => Random,
}

choices! {
    /// How much of what a user leaves behind in a session is cleared away before the next one gets it.
    ReleaseMode:
    /// What the names of the commands tell that were executed: a session that was not changed costs nothing.
    #[default]
    "changed" => Changed,
    /// Nothing but transactions and what still runs.
    "fast" => Fast,
    /// As `Changed`; and after each use the server is asked for a sign of life, before anybody else gets the session.
    "verified" => Verified,
    /// Everything, after each use, but for the statements that the client has prepared.
    "clean" => Clean,
    /// Nothing but transactions and what still runs; then the [statements](crate::ReleasePolicy::sql) of the configuration are executed, after each use.
    "custom" => Custom,
}

choices! {
    /// What becomes of a session whose user has left a transaction open.
    OpenTransaction:
    /// It is rolled back.
    #[default]
    "rollback" => RollBack,
    /// The session is closed, which rolls it back as well.
    "close" => Close,
}
