//! What the sessions of a driver show about their servers, for one who follows what becomes of those.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;

use crate::connection::PostgresConnection;
use crate::server::Server;

/// For how long a server is asked what it is, before a session with it is closed.
const PATIENCE: Duration = Duration::from_secs(1);

/// One who follows. Called wherever connections are opened and closed, so it does not wait.
pub(crate) trait Follow: Send + Sync {
    /// A session has begun with a server that is what is wanted.
    fn on_found(&self, server: &Server);

    /// The server of a session is not what it was when that began.
    fn on_changed(&self, connection: &PostgresConnection);
}

/// Looks at a session that is about to be closed, and tells what it shows.
///
/// Cancel safety: nothing is lost; the others find out for themselves.
pub(crate) async fn look(follower: Option<&Arc<dyn Follow>>, connection: &PostgresConnection) {
    let Some(follower) = follower else { return };
    // Owned across the await: nothing.
    if timeout(PATIENCE, has_changed(connection)).await == Ok(true) {
        follower.on_changed(connection);
    }
}

/// Whether the server is not what it was, and not this session alone.
async fn has_changed(connection: &PostgresConnection) -> bool {
    let Some(role) = connection.left_its_role() else { return false };
    let is_by_setting = role.is_read_only && !role.is_standby;
    // Owned across the await: nothing.
    !is_by_setting || is_read_only_for_all(connection).await
}

/// Whether new sessions only read, unless told otherwise. What the session itself was told does not count.
async fn is_read_only_for_all(connection: &PostgresConnection) -> bool {
    let _duty = connection.session().on_duty();
    let asked = "ROLLBACK; SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only'";
    // Owned across the await: nothing. The session is about to be closed.
    let said = connection.simple_query(asked).await.unwrap_or_default();
    said.iter().any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("on")))
}
