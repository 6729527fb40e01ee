//! Which requests have been sent, and which of them answered.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use pool_core::Recorder;

use super::headers::Headers;
use super::session::{NAME, PARAMETER, Session};
use super::stopwatch::Stopwatch;
use super::words::Words;

/// So much is kept of an error or a notice. Codes come before texts there, and texts are told by how they begin.
const TEXT: u64 = 512;

/// A request that the server has not finished answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// Startup, or a simple query.
    Simple,
    /// Ended by `Sync`.
    Extended,
    /// Ended by `Sync`, and nothing but the closing of statements: whoever comes next need not wait for the answer.
    Housekeeping,
}

/// Follows both directions of one connection.
#[derive(Debug)]
pub(super) struct Follower {
    session: Arc<Session>,
    /// The startup message has no type; it is the first thing sent.
    startup_left: Option<u64>,
    startup_header: Vec<u8>,
    sent: Headers,
    received: Headers,
    unanswered: VecDeque<Request>,
    /// Whether more than housekeeping has been sent since the last `Sync`.
    works: bool,
    stopwatch: Stopwatch,
}

impl Follower {
    pub(super) fn new(session: Arc<Session>, recorder: Option<Recorder>) -> Self {
        Self {
            session,
            startup_left: None,
            startup_header: Vec::new(),
            sent: Headers::default(),
            // Errors and notices, the names of what is completed, parameters, and the process.
            received: Headers::looking_into(&[(b'E', TEXT), (b'N', TEXT), (b'C', NAME), (b'S', PARAMETER), (b'K', 4)]),
            unanswered: VecDeque::from([Request::Simple]),
            works: false,
            stopwatch: Stopwatch::new(recorder),
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn about_to_send(&mut self) {
        self.stopwatch.about_to_send();
    }

    pub(super) fn on_sent(&mut self, bytes: &[u8]) {
        let bytes = self.skip_startup(bytes);
        let Self { sent, unanswered, works, session, stopwatch, .. } = self;
        sent.scan(bytes, |kind, _| match kind {
            b'Q' | b'F' => {
                unanswered.push_back(Request::Simple);
                session.set_busy();
                stopwatch.sent(true, session.is_on_duty());
            }
            b'S' => unanswered.push_back(if mem::take(works) { Request::Extended } else { Request::Housekeeping }),
            // `Close` and `Flush`; a password belongs to the startup.
            b'C' | b'H' | b'p' => {}
            _ => {
                *works = true;
                session.set_busy();
                // `Execute`.
                stopwatch.sent(kind == b'E', session.is_on_duty());
            }
        });
    }

    /// The rest of what was sent after the startup message.
    fn skip_startup<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while self.startup_left.is_none() {
            let Some((first, rest)) = bytes.split_first() else { return bytes };
            self.startup_header.push(*first);
            bytes = rest;
            if let [a, b, c, d] = self.startup_header[..] {
                self.startup_left = Some(u64::from(u32::from_be_bytes([a, b, c, d]).saturating_sub(4)));
            }
        }
        let left = self.startup_left.unwrap_or(0);
        let skip = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.startup_left = Some(left - skip as u64);
        &bytes[skip..]
    }

    pub(super) fn on_received(&mut self, bytes: &[u8]) {
        let Self { received, unanswered, session, works, stopwatch, .. } = self;
        received.scan(bytes, |kind, beginning| match kind {
            b'Z' => {
                let status = beginning.first().copied().unwrap_or(0);
                session.note_ready(status);
                unanswered.pop_front();
                // Something may have been sent in part.
                if !*works && unanswered.iter().all(|request| *request == Request::Housekeeping) {
                    stopwatch.answered();
                    session.set(status);
                }
            }
            // The server starts to take COPY data and ignores the `Sync` that was sent along with the statement; another one follows the data.
            b'G' if unanswered.front() == Some(&Request::Extended) => {
                unanswered.pop_front();
            }
            _ => note(session, kind, beginning),
        });
    }
}

/// What the server says that ends no answer.
fn note(session: &Session, kind: u8, beginning: &[u8]) {
    match kind {
        // Its name comes first in `CommandComplete`.
        b'C' => session.note_completed(beginning),
        b'S' => session.note_parameter(beginning),
        b'K' => session.note_process(beginning),
        b'E' => session.note_error(Words::read(beginning)),
        b'N' => session.note_notice(Words::read(beginning)),
        _ => {}
    }
}
