//! Which requests have been sent, and which of them answered.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use pool_core::Recorder;

use super::changes::{Changes, keeps_its_rows};
use super::command::TAG;
use super::headers::Headers;
use super::parameters::PARAMETER;
use super::session::Session;
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
    /// Whether the server has described or sent rows since the last command was completed.
    has_answered: bool,
    stopwatch: Stopwatch,
}

/// So much is kept of the number of the server's process and what comes with it.
const PROCESS: u64 = 4;

impl Follower {
    pub(super) fn new(session: Arc<Session>, recorder: Option<Recorder>) -> Self {
        // The startup, which is answered as any request.
        session.requests().note_sent();
        Self {
            session,
            startup_left: None,
            startup_header: Vec::new(),
            sent: Headers::default(),
            // The names of what is completed, parameters, errors and notices, and the process.
            received: Headers::looking_into(&[
                (b'C', TAG as u64),
                (b'S', PARAMETER),
                (b'E', TEXT),
                (b'N', TEXT),
                (b'K', PROCESS),
            ]),
            unanswered: VecDeque::from([Request::Simple]),
            works: false,
            has_answered: false,
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
        self.follow_sent(bytes);
        self.session.traffic().note_sent(bytes.len(), self.in_flight());
    }

    pub(super) fn on_received(&mut self, bytes: &[u8]) {
        self.follow_received(bytes);
        self.session.traffic().note_received(bytes.len(), self.in_flight());
    }

    /// Those that somebody waits for, and one that has been sent in part.
    fn in_flight(&self) -> usize {
        let complete = self.unanswered.iter().filter(|request| **request != Request::Housekeeping).count();
        complete + usize::from(self.works)
    }

    fn follow_sent(&mut self, bytes: &[u8]) {
        let bytes = self.skip_startup(bytes);
        let Self { sent, unanswered, works, session, stopwatch, .. } = self;
        sent.scan(bytes, |kind, _| match kind {
            b'Q' | b'F' => {
                unanswered.push_back(Request::Simple);
                session.traffic().note_asked();
                session.requests().note_sent();
                session.set_busy();
                stopwatch.sent(true, session.is_on_duty());
            }
            b'S' if mem::take(works) => {
                unanswered.push_back(Request::Extended);
                session.requests().note_sent();
            }
            b'S' => unanswered.push_back(Request::Housekeeping),
            // `Close` and `Flush`; a password belongs to the startup.
            b'C' | b'H' | b'p' => {}
            _ => {
                if !mem::replace(works, true) {
                    session.traffic().note_asked();
                }
                session.set_busy();
                // `Execute`.
                stopwatch.sent(kind == b'E', session.is_on_duty());
            }
        });
        session.requests().note_partial(*works);
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

    fn follow_received(&mut self, bytes: &[u8]) {
        let Self { received, unanswered, session, works, has_answered, stopwatch, .. } = self;
        received.scan(bytes, |kind, beginning| match kind {
            // Rows, or what they look like.
            b'D' | b'T' => *has_answered = true,
            // Its name comes first in `CommandComplete`.
            b'C' => {
                let name = beginning.split(|byte| *byte == 0).next().unwrap_or_default();
                if keeps_its_rows(name, mem::take(has_answered), unanswered.front() == Some(&Request::Simple)) {
                    session.note_changes(Changes::TEMPORARY);
                }
                session.note_completed(name);
            }
            b'Z' => {
                let status = beginning.first().copied().unwrap_or(0);
                *has_answered = false;
                session.note_ready(status);
                if unanswered.pop_front().is_some_and(|request| request != Request::Housekeeping) {
                    session.requests().note_answered();
                }
                // Something may have been sent in part.
                if !*works && unanswered.iter().all(|request| *request == Request::Housekeeping) {
                    stopwatch.answered();
                    session.set(status);
                }
            }
            // The server starts to take COPY data and ignores the `Sync` that was sent along with the statement; another one follows the data.
            b'G' if unanswered.front() == Some(&Request::Extended) => {
                unanswered.pop_front();
                session.requests().note_answered();
            }
            _ => note(session, kind, beginning),
        });
    }
}

/// What the server says that ends no answer.
fn note(session: &Session, kind: u8, beginning: &[u8]) {
    match kind {
        b'2' => session.note_bound(),
        b'S' => session.note_parameter(beginning),
        b'E' => session.note_error(Words::read(beginning)),
        b'N' => session.note_notice(Words::read(beginning)),
        b'K' => session.note_process(beginning),
        _ => {}
    }
}
