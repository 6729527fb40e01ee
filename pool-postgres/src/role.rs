//! What a server is, and whether that will do.

use std::fmt;

use crate::config::TargetSessionAttrs;
use crate::connection::PostgresConnection;

/// What a server is, as far as that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) is_standby: bool,
    /// Always so for a standby.
    pub(crate) is_read_only: bool,
}

/// As the server has reported it (PostgreSQL 14 and later); asked for if something in between keeps that to itself.
pub(crate) async fn role_of(connection: &PostgresConnection) -> Result<Role, tokio_postgres::Error> {
    if let Some(role) = connection.session().role() {
        return Ok(role);
    }
    let _duty = connection.session().on_duty();
    let asked = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'";
    // Owned across the await: nothing.
    let row = connection.query_one(asked, &[]).await?;
    Ok(Role { is_standby: row.get(0), is_read_only: row.get(1) })
}

impl Role {
    /// What it is to others, whether it writes or not.
    pub(crate) fn name(self) -> &'static str {
        if self.is_standby { "standby" } else { "primary" }
    }

    /// What it is, if it is not what is wanted.
    pub(crate) fn unsuitable(self, wanted: TargetSessionAttrs) -> Option<&'static str> {
        let (is_right, is) = match wanted {
            TargetSessionAttrs::ReadWrite => (!self.is_read_only, "read-only"),
            TargetSessionAttrs::ReadOnly => (self.is_read_only, "read-write"),
            TargetSessionAttrs::Primary => (!self.is_standby, "a standby"),
            TargetSessionAttrs::Standby => (self.is_standby, "no standby"),
            TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby => (true, "anything"),
        };
        (!is_right).then_some(is)
    }
}

/// A server that is not what is wanted.
#[derive(Debug)]
pub(crate) struct Unsuitable {
    pub(crate) is: &'static str,
    pub(crate) wanted: TargetSessionAttrs,
}

impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is {}, and target_session_attrs is {}", self.is, self.wanted)
    }
}

impl std::error::Error for Unsuitable {}
