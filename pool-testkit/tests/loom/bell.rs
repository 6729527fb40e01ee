//! The bell of a session of PostgreSQL: whoever finds it silent need not move the messages.

use std::task::Waker;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU32, Ordering};

use crate::common::race;
use file::Bell;

mod atomics {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use pool_core::internals::order;
}

/// The code that a session runs.
#[allow(dead_code)] // what it wakes has no model
#[path = "../../../pool-postgres/src/bell.rs"]
mod file;

/// A session, what lies ready on its wire, and how much of that has been moved.
struct Session {
    bell: Bell,
    ready: AtomicU32,
    /// Also the lock of the wire.
    moved: Mutex<u32>,
}

fn session() -> Session {
    Session { bell: Bell::new(Waker::noop().clone()), ready: AtomicU32::new(0), moved: Mutex::new(0) }
}

/// The same, with something that lies ready.
fn with_something() -> Session {
    let session = session();
    something(&session);
    session
}

/// Something happens.
fn something(session: &Session) {
    session.ready.fetch_add(1, Ordering::Relaxed);
    session.bell.ring();
}

/// Whoever has reason to, moves what is there.
fn moving(session: &Session) {
    let mut moved = session.moved.lock().unwrap();
    if session.bell.is_rung() {
        session.bell.silence();
        *moved = session.ready.load(Ordering::Relaxed);
    }
}

/// What has happened has been moved, or the bell is rung.
#[test]
fn nothing_is_left_where_the_bell_is_silent() {
    race(2, session, [something, something, moving], |session| {
        let moved = *session.moved.lock().unwrap();
        assert!(session.bell.is_rung() || moved == 2, "{moved} of 2 were moved");
    });
}

/// Nobody takes a session for the one that he has seen before if something has happened since.
#[test]
fn a_session_that_was_moved_is_not_taken_for_untouched() {
    let looking = |session: &Session| {
        let seen = session.bell.silent_at();
        assert_ne!(seen, Some(0), "it was rung before, and has been moved once");
    };
    race(2, with_something, [moving, looking], |session| {
        assert_eq!(session.bell.silent_at(), Some(1));
    });
}
