//! The keywords of libpq 18: which variable of the environment stands for each, and what becomes of it here.

/// What becomes of a keyword.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    /// It sets something.
    Sets,
    /// It is accepted, and nothing comes of it.
    Ignored {
        /// Why not.
        why: &'static str,
    },
    /// It is accepted with these values, with which nothing comes of it either, and refused with any other.
    Only {
        values: &'static [&'static str],
        /// Why no other.
        why: &'static str,
    },
}

use Role::{Ignored, Only, Sets};

/// A keyword of libpq.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyword {
    pub(super) name: &'static str,
    /// Of the environment.
    pub(super) variable: Option<&'static str>,
    pub(super) role: Role,
}

const fn keyword(name: &'static str, variable: &'static str, role: Role) -> Keyword {
    Keyword { name, variable: Some(variable), role }
}

const fn bare(name: &'static str, role: Role) -> Keyword {
    Keyword { name, variable: None, role }
}

const GSS: &str = "there is no GSSAPI here";
const OAUTH: &str = "there is no OAuth here; a server that asks for it is refused";
const NO_KEYS: &str = "logging in takes a password, and not what is derived from it";

/// Those with a secret, which is never shown.
pub(super) const SECRETS: [&str; 5] =
    ["password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"];

/// All of them, in libpq's order.
pub(super) const KEYWORDS: [Keyword; 50] = [
    keyword("service", "PGSERVICE", Sets),
    keyword("user", "PGUSER", Sets),
    keyword("password", "PGPASSWORD", Sets),
    keyword("passfile", "PGPASSFILE", Sets),
    keyword("channel_binding", "PGCHANNELBINDING", Sets),
    keyword("connect_timeout", "PGCONNECT_TIMEOUT", Sets),
    keyword("dbname", "PGDATABASE", Sets),
    keyword("host", "PGHOST", Sets),
    keyword("hostaddr", "PGHOSTADDR", Sets),
    keyword("port", "PGPORT", Sets),
    keyword(
        "client_encoding",
        "PGCLIENTENCODING",
        Only { values: &["", "auto", "UTF8", "utf8", "UTF-8", "utf-8"], why: "text is UTF-8 in Rust" },
    ),
    keyword("options", "PGOPTIONS", Sets),
    keyword("application_name", "PGAPPNAME", Sets),
    bare("fallback_application_name", Sets),
    bare("keepalives", Sets),
    bare("keepalives_idle", Sets),
    bare("keepalives_interval", Sets),
    bare("keepalives_count", Sets),
    bare("tcp_user_timeout", Sets),
    keyword("sslmode", "PGSSLMODE", Sets),
    keyword("sslnegotiation", "PGSSLNEGOTIATION", Sets),
    keyword("sslcompression", "PGSSLCOMPRESSION", Ignored { why: "nobody compresses TLS any more" }),
    keyword("sslcert", "PGSSLCERT", Sets),
    keyword("sslkey", "PGSSLKEY", Sets),
    keyword("sslcertmode", "PGSSLCERTMODE", Sets),
    bare("sslpassword", Ignored { why: "a key that is encrypted is refused, and others need no password" }),
    keyword("sslrootcert", "PGSSLROOTCERT", Sets),
    keyword("sslcrl", "PGSSLCRL", Sets),
    keyword("sslcrldir", "PGSSLCRLDIR", Sets),
    keyword("sslsni", "PGSSLSNI", Sets),
    keyword("requirepeer", "PGREQUIREPEER", Sets),
    keyword("require_auth", "PGREQUIREAUTH", Sets),
    keyword(
        "min_protocol_version",
        "PGMINPROTOCOLVERSION",
        Only { values: &["3.0"], why: "version 3.0 of the protocol is spoken" },
    ),
    keyword(
        "max_protocol_version",
        "PGMAXPROTOCOLVERSION",
        Only { values: &["3.0", "3.2", "latest"], why: "version 3.0 of the protocol is spoken" },
    ),
    keyword("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Sets),
    keyword("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Sets),
    keyword("gssencmode", "PGGSSENCMODE", Only { values: &["disable", "prefer"], why: GSS }),
    keyword("krbsrvname", "PGKRBSRVNAME", Ignored { why: GSS }),
    keyword("gsslib", "PGGSSLIB", Ignored { why: GSS }),
    keyword("gssdelegation", "PGGSSDELEGATION", Ignored { why: GSS }),
    bare(
        "replication",
        Only { values: &["", "false", "off", "no", "0"], why: "a session of replication is none of a pool" },
    ),
    keyword("target_session_attrs", "PGTARGETSESSIONATTRS", Sets),
    keyword("load_balance_hosts", "PGLOADBALANCEHOSTS", Sets),
    bare("scram_client_key", Only { values: &[], why: NO_KEYS }),
    bare("scram_server_key", Only { values: &[], why: NO_KEYS }),
    bare("oauth_issuer", Ignored { why: OAUTH }),
    bare("oauth_client_id", Ignored { why: OAUTH }),
    bare("oauth_client_secret", Ignored { why: OAUTH }),
    bare("oauth_scope", Ignored { why: OAUTH }),
    bare("sslkeylogfile", Only { values: &[""], why: "the keys of a session are not written down" }),
];
