//! Waiting until a session can be looked at.

use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::sleep;

use crate::connection::PostgresConnection;

/// How often others have a turn before it is looked again at leisure: a turn of the session's task takes microseconds, unless the system has taken the processor from it.
const TURNS: u32 = 10;
/// How long after that.
const LEISURE: Duration = Duration::from_millis(1);

/// Returns once the session's own task is done with its turn, and nothing is held back. It passes an answer on before the end of its turn, and whoever looks at the session next, as the pool does after a ping, does not wait for that, but takes
/// a session that does not settle for one that is busy.
///
/// It ends: the task gives the wire back at the end of its turn, also if it panics there; a runtime that is shut down drops the task, and with it ends the session; and whoever holds requests back lets go when the server has been told, or has not
/// been reached in its time, or with his runtime. Only with a part of an answer that somebody has leaked it does not. Whoever calls has a limit of his own, within which a ping or a reset has to end.
///
/// Cancel safety: nothing is lost.
pub(crate) async fn settled(connection: &PostgresConnection) {
    let mut turns = 0;
    while !connection.settle() {
        turns += 1;
        // Owned across the awaits: nothing.
        if turns < TURNS { yield_now().await } else { sleep(LEISURE).await }
    }
}
