//! What becomes of requests, by the messages that pass.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use pool_core::Recorder;

use super::changes::{Changes, keeps_its_rows};
use super::joining::{READY, SKIPPED};
use super::session::Session;
use super::stopwatch::Stopwatch;
use super::words::Words;
use crate::diagnosis::error_type;

/// A request that the server has not finished answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// Startup, or a simple query.
    Simple,
    /// A simple query that begins with `COMMIT`, or what is the same.
    Commit,
    /// Ended by `Sync`.
    Extended,
    /// The same, but nothing is executed: a statement is prepared, or described.
    Preparing,
    /// A COPY that takes data and has one `Sync` alone, which has been sent.
    Copy,
    /// Ended by `Sync`, and nothing but the closing of statements: whoever comes next need not wait for the answer.
    Housekeeping,
    /// As [`Extended`](Self::Extended), but without a `Sync` of its own: it shares that of the next one.
    Joined,
    /// Housekeeping that came between such requests, and has none either.
    JoinedHousekeeping,
}

/// What has been asked, and how far that has been answered.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each is about messages of its own
pub(super) struct Course {
    pub(super) session: Arc<Session>,
    unanswered: VecDeque<Request>,
    /// How many of these somebody waits for: all but housekeeping.
    owed: usize,
    /// Whether more than housekeeping has been sent since the last `Sync`.
    works: bool,
    /// Whether that executes something.
    executes: bool,
    /// Whether a request of one message has begun, and perhaps been sent in part.
    has_begun: bool,
    /// Whether the server has described or sent rows since the last command was completed.
    has_answered: bool,
    /// Whether a COPY has been sent that has no `Sync` but the one behind its data, and not its end.
    pub(super) is_copying: bool,
    /// How many are unanswered that share a `Sync` with one behind them.
    joined: usize,
    /// Whether one of these has been sent, and the one with the `Sync` has not.
    is_joining: bool,
    /// Whether one of these has failed, so that the server passes over what comes before its `Sync`.
    is_passing_over: bool,
    pub(super) stopwatch: Stopwatch,
}

impl Course {
    /// That of a session that begins with its startup, which is answered as any request.
    pub(super) fn new(session: Arc<Session>, recorder: Option<Recorder>) -> Self {
        session.requests().note_sent();
        Self {
            session,
            unanswered: VecDeque::from([Request::Simple]),
            owed: 1,
            works: false,
            executes: false,
            has_begun: false,
            has_answered: false,
            is_copying: false,
            joined: 0,
            is_joining: false,
            is_passing_over: false,
            stopwatch: Stopwatch::new(recorder),
        }
    }

    /// How many requests somebody waits for, with one that has been sent in part.
    pub(super) fn in_flight(&self) -> usize {
        self.owed + usize::from(self.works)
    }

    /// Some bytes have been sent, and perhaps the last message to its end.
    pub(super) fn on_sent(&mut self, is_at_border: bool) {
        if is_at_border {
            self.end_simple();
        }
        self.session.requests().note_partial(self.works || self.has_begun);
    }

    /// A message of this kind is sent, with this beginning.
    pub(super) fn note_sent(&mut self, kind: u8, beginning: &[u8]) {
        self.end_simple();
        match kind {
            b'Q' if is_commit(beginning) => {
                self.session.note_commit_asked();
                self.begin_simple(Request::Commit);
            }
            b'Q' | b'F' => self.begin_simple(Request::Simple),
            b'S' if mem::take(&mut self.works) => {
                let request = self.end_extended();
                self.owe(request);
                self.session.requests().note_sent();
            }
            b'S' => self.unanswered.push_back(Request::Housekeeping),
            // `Close` and `Flush`; a password belongs to the startup.
            b'C' | b'H' | b'p' => {}
            _ => self.note_part(kind, beginning),
        }
    }

    /// What `Sync` ends.
    fn end_extended(&mut self) -> Request {
        match (mem::take(&mut self.is_copying), mem::take(&mut self.executes)) {
            (true, _) => Request::Copy,
            (false, true) => Request::Extended,
            (false, false) => Request::Preparing,
        }
    }

    /// A part of a request is sent.
    fn note_part(&mut self, kind: u8, beginning: &[u8]) {
        if kind == b'P' {
            self.session.prepared.note(beginning);
        }
        self.note_end_of_copy(kind);
        if !mem::replace(&mut self.works, true) {
            self.session.traffic().note_asked();
        }
        // `Execute`, and what a COPY takes until its end.
        self.executes |= kind == b'E' || self.session.copying.is_taking();
        self.begin();
    }

    /// `CopyDone` or `CopyFail`, perhaps: the server has refused before, or may, and then it is ready twice.
    fn note_end_of_copy(&self, kind: u8) {
        if matches!(kind, b'c' | b'f') && !self.is_copying && !self.session.copying.is_taking() {
            self.session.condemn();
        }
    }

    /// A request of one message begins.
    fn begin_simple(&mut self, request: Request) {
        self.owe(request);
        self.note_turn();
        self.session.traffic().note_asked();
        self.has_begun = true;
        self.begin();
    }

    /// Another request may be the one that the server is at.
    fn note_turn(&self) {
        self.session.set_committing(self.unanswered.front() == Some(&Request::Commit));
    }

    /// If a request of one message has begun, it has been sent to its end.
    fn end_simple(&mut self) {
        if mem::take(&mut self.has_begun) {
            self.session.requests().note_sent();
        }
    }

    /// The server has something to do.
    fn begin(&mut self) {
        self.session.set_busy();
        self.stopwatch.sent(self.session.is_on_duty());
    }

    /// A message of this kind is received, with this beginning.
    pub(super) fn note_received(&mut self, kind: u8, beginning: &[u8]) {
        match kind {
            // Rows, or what they look like.
            b'D' | b'T' => self.has_answered = true,
            b'C' | b'I' | b'3' => self.note_end(kind, beginning),
            b'Z' => self.note_ready(beginning.first().copied().unwrap_or(0)),
            b'G' => {
                self.session.copying.begin();
                // The server starts to take COPY data and ignores the `Sync` that was sent along with the statement, if there was one; another one follows the data.
                if self.unanswered.front() == Some(&Request::Extended) {
                    self.unanswered.pop_front();
                    self.note_answered();
                }
            }
            b'E' => {
                let words = Words::read(beginning);
                self.stopwatch.fails(error_type(&words.code));
                note_error(&self.session, words, self.is_in_step());
                self.is_passing_over |= self.joined > 0 && self.end_joined(kind);
            }
            _ => note(&self.session, kind, beginning),
        }
    }

    /// Whether the server is at a COPY that has one `Sync` alone, and at nothing that was asked before it.
    fn is_in_step(&self) -> bool {
        self.unanswered.front().map_or(self.is_copying, |request| *request == Request::Copy)
    }

    /// A command is completed, or there was none, or a statement is closed.
    fn note_end(&mut self, kind: u8, beginning: &[u8]) {
        if kind == b'C' {
            self.note_completed(beginning);
        }
        if self.joined > 0 {
            self.end_joined(kind);
        }
    }

    /// Whether requests are unanswered that share a `Sync` with one behind them, or that one is that was passed over.
    pub(super) fn is_joined(&self) -> bool {
        self.joined > 0 || self.is_passing_over
    }

    /// A request is to end here. Whether it shares the `Sync` of the next one.
    pub(super) fn joins_next(&mut self) -> bool {
        if !mem::take(&mut self.works) {
            if self.is_joining {
                self.unanswered.push_back(Request::JoinedHousekeeping);
                self.joined += 1;
            }
            return self.is_joining;
        }
        self.is_joining = self.session.joining.has_more();
        if self.is_joining {
            self.owe(Request::Joined);
            self.joined += 1;
            self.session.requests().note_sent();
        } else {
            // Its own `Sync` follows.
            self.works = true;
        }
        self.is_joining
    }

    /// Whether a message of this kind ends the answer to a request that has no `Sync`.
    pub(super) fn ends_joined(&self, kind: u8) -> bool {
        match self.unanswered.front() {
            Some(Request::Joined) => matches!(kind, b'C' | b'I' | b'E'),
            Some(Request::JoinedHousekeeping) => matches!(kind, b'3' | b'E'),
            _ => false,
        }
    }

    /// The same, for one that is received.
    fn end_joined(&mut self, kind: u8) -> bool {
        let ends = self.ends_joined(kind);
        if ends {
            self.has_answered = false;
            self.take_joined();
        }
        ends
    }

    /// Whether a request without a `Sync` was the next to be answered, and was one that somebody waits for. It is not any more.
    fn take_joined(&mut self) -> Option<bool> {
        let first = self.unanswered.pop_front_if(|it| matches!(it, Request::Joined | Request::JoinedHousekeeping))?;
        self.joined -= 1;
        if first == Request::Joined {
            self.note_answered();
        }
        Some(first == Request::Joined)
    }

    /// The server is ready after requests that share a `Sync`. What the client is to be told before that: the server says nothing of those that it has passed over.
    pub(super) fn pass_over(&mut self, mut say: impl FnMut(&[u8])) {
        while let Some(is_awaited) = self.take_joined() {
            if is_awaited {
                say(SKIPPED);
            }
            say(READY);
        }
        if mem::take(&mut self.is_passing_over) {
            say(SKIPPED);
        }
    }

    /// A command is completed. Its name comes first.
    fn note_completed(&mut self, beginning: &[u8]) {
        let name = beginning.split(|byte| *byte == 0).next().unwrap_or_default();
        let is_simple = matches!(self.unanswered.front(), Some(Request::Simple | Request::Commit));
        if keeps_its_rows(name, mem::take(&mut self.has_answered), is_simple) {
            self.session.note_changes(Changes::TEMPORARY);
        }
        self.session.note_completed(name);
    }

    /// Somebody waits for the answer to this.
    fn owe(&mut self, request: Request) {
        self.unanswered.push_back(request);
        self.owed += 1;
    }

    /// What somebody has waited for is there.
    fn note_answered(&mut self) {
        self.owed -= 1;
        self.session.requests().note_answered();
    }

    /// An answer has ended.
    fn note_ready(&mut self, status: u8) {
        let session = &self.session;
        self.has_answered = false;
        session.note_ready(status);
        session.copying.end();
        match self.unanswered.pop_front() {
            Some(Request::Housekeeping) => {}
            Some(request) => {
                self.note_answered();
                self.stopwatch.answered(request != Request::Preparing);
            }
            // An answer too many, after a COPY that did not go as its client thinks.
            None => session.condemn(),
        }
        self.note_turn();
        // Something may have been sent in part.
        if self.in_flight() == 0 {
            self.stopwatch.rest();
            self.session.set(status);
        } else {
            self.stopwatch.go_on(self.session.is_on_duty());
        }
    }
}

/// Whether a simple query begins with what commits a transaction. One behind a comment or behind other statements is not seen.
fn is_commit(beginning: &[u8]) -> bool {
    let text = beginning.trim_ascii_start();
    let word = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    [&b"COMMIT"[..], b"END"].iter().any(|name| text[..word].eq_ignore_ascii_case(name))
}

fn note_error(session: &Session, words: Words, in_step: bool) {
    if session.copying.is_taking() {
        session.copying.refuse();
        // Nobody knows whether the server had come to look at what was sent, and so how often it will be ready; but it has if it answers `CopyFail`.
        if !in_step && !words.is_copy_given_up() {
            session.condemn();
        }
    }
    session.traffic().note_error(&words.code);
    session.note_error(words);
}

/// What the server says that ends no answer.
fn note(session: &Session, kind: u8, beginning: &[u8]) {
    match kind {
        b'2' => session.note_bound(),
        b'S' => session.note_parameter(beginning),
        b'N' => session.note_notice(Words::read(beginning)),
        b'K' => session.note_process(beginning),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::follower::Follower;

    #[test]
    fn a_commit_is_told_by_how_it_begins() {
        for text in ["COMMIT\0", " \n\tcommit;\0", "Commit AND CHAIN\0", "END\0", "end transaction\0", "COMMIT/**/\0"] {
            assert!(is_commit(text.as_bytes()), "{text}");
        }
        for text in ["", "\0", "COMMITTED\0", "ENDING\0", "end_of\0", "SELECT 1\0", "ROLLBACK\0", "-- a\nCOMMIT\0"] {
            assert!(!is_commit(text.as_bytes()), "{text}");
        }
    }

    /// However it is written, and whatever is in front of it.
    #[test]
    fn a_commit_is_under_way_from_its_turn_to_its_answer() {
        let query = |sql: &str| {
            [&b"Q"[..], &u32::try_from(sql.len() + 5).unwrap().to_be_bytes(), sql.as_bytes(), b"\0"].concat()
        };
        let ready = [b'Z', 0, 0, 0, 5, b'T'];
        for most in [1, 7, 100] {
            let session = Arc::new(Session::default());
            let mut follower = Follower::new(Arc::clone(&session), None);
            follower.on_sent(&[0, 0, 0, 8, 0, 3, 0, 0]);
            follower.on_received(&ready);
            let begun = session.mark();
            for piece in [query("SELECT 1"), query("COMMIT"), query("SELECT 2")].concat().chunks(most) {
                follower.on_sent(piece);
            }
            assert!(!begun.asks_no_commit_until(session.mark()));
            let under_way = [(); 3].map(|()| {
                let is_committing = session.is_committing();
                follower.on_received(&ready);
                is_committing
            });
            assert_eq!((under_way, session.is_committing()), ([false, true, false], false), "{most}");
        }
    }
}
