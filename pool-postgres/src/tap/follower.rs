//! Which requests have been sent, and which of them answered.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use pool_core::Recorder;

use super::changes::{Changes, keeps_its_rows};
use super::command::TAG;
use super::copying::FLUSH;
use super::headers::Headers;
use super::parameters::PARAMETER;
use super::prepared;
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
    /// A simple query that begins with `COMMIT`, or what is the same.
    Commit,
    /// Ended by `Sync`.
    Extended,
    /// Ended by `Sync`, and nothing but the closing of statements: whoever comes next need not wait for the answer.
    Housekeeping,
}

/// Follows both directions of one connection.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each is about messages of its own
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
    /// Whether a request of one message has begun, and perhaps been sent in part.
    has_begun: bool,
    /// Whether the server has described or sent rows since the last command was completed.
    has_answered: bool,
    /// How many bytes have been sent.
    written: u64,
    /// After how many bytes the `Sync` comes that a COPY must not have.
    sync_at: Option<u64>,
    /// Whether a COPY is under way that has none.
    in_step: bool,
    stopwatch: Stopwatch,
}

/// So much is kept of the number of the server's process and what comes with it.
const PROCESS: u64 = 4;

/// So much is kept of a simple query: enough to see whether it is a `COMMIT`.
const BEGINNING: u64 = 16;

impl Follower {
    pub(super) fn new(session: Arc<Session>, recorder: Option<Recorder>) -> Self {
        // The startup, which is answered as any request.
        session.requests().note_sent();
        Self {
            session,
            startup_left: None,
            startup_header: Vec::new(),
            sent: Headers::looking_into(&[(b'Q', BEGINNING), (b'P', prepared::BEGINNING)]),
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
            has_begun: false,
            has_answered: false,
            written: 0,
            sync_at: None,
            in_step: false,
            stopwatch: Stopwatch::new(recorder),
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn about_to_send(&mut self) {
        self.stopwatch.about_to_send();
    }

    /// What is sent of these bytes now, and in what form.
    pub(super) fn before_sending<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.session.copying.is_expected() {
            self.find_sync(bytes);
        }
        let Some(at) = self.sync_at else { return bytes };
        match usize::try_from(at - self.written).unwrap_or(usize::MAX) {
            0 => FLUSH,
            ahead => &bytes[..ahead.min(bytes.len())],
        }
    }

    /// Looks for the COPY that is expected, and the `Sync` behind it. The client puts both into its buffer in one go, so that they are seen together.
    #[cold]
    fn find_sync(&mut self, bytes: &[u8]) {
        let Some(beginning) = self.session.copying.beginning() else { return };
        let (mut at, mut bound) = (self.sent.border(bytes), false);
        while let Some([kind, a, b, c, d, body @ ..]) = bytes.get(at..) {
            match kind {
                b'B' => bound = body.starts_with(&beginning),
                b'S' if bound => {
                    self.sync_at = Some(self.written + at as u64);
                    return self.session.copying.forget();
                }
                _ => {}
            }
            at = at.saturating_add(1 + u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        }
    }

    pub(super) fn on_sent(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        if self.sync_at.is_some_and(|at| at < self.written) {
            (self.sync_at, self.in_step) = (None, true);
        }
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
        let mut sent = mem::take(&mut self.sent);
        sent.scan(bytes, |kind, beginning| self.note_sent(kind, beginning));
        self.sent = sent;
        if self.sent.is_at_border() {
            self.end_simple();
        }
        self.session.requests().note_partial(self.works || self.has_begun);
    }

    /// A message of this kind is sent, with this beginning.
    fn note_sent(&mut self, kind: u8, beginning: &[u8]) {
        self.end_simple();
        match kind {
            b'Q' if is_commit(beginning) => {
                self.session.note_commit_asked();
                self.begin_simple(Request::Commit);
            }
            b'Q' | b'F' => self.begin_simple(Request::Simple),
            b'S' if mem::take(&mut self.works) => {
                self.unanswered.push_back(Request::Extended);
                self.session.requests().note_sent();
            }
            b'S' => self.unanswered.push_back(Request::Housekeeping),
            // `Close` and `Flush`; a password belongs to the startup.
            b'C' | b'H' | b'p' => {}
            _ => self.note_part(kind, beginning),
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
        // `Execute`.
        self.begin(kind == b'E');
    }

    /// `CopyDone` or `CopyFail`, perhaps: the server has refused before, or may, and then it is ready twice.
    fn note_end_of_copy(&self, kind: u8) {
        if matches!(kind, b'c' | b'f') && !self.in_step && !self.session.copying.is_taking() {
            self.session.condemn();
        }
    }

    /// A request of one message begins.
    fn begin_simple(&mut self, request: Request) {
        self.unanswered.push_back(request);
        self.note_turn();
        self.session.traffic().note_asked();
        self.has_begun = true;
        self.begin(true);
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
    fn begin(&mut self, executes: bool) {
        self.session.set_busy();
        self.stopwatch.sent(executes, self.session.is_on_duty());
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
        let mut received = mem::take(&mut self.received);
        received.scan(bytes, |kind, beginning| self.note_received(kind, beginning));
        self.received = received;
    }

    /// A message of this kind is received, with this beginning.
    fn note_received(&mut self, kind: u8, beginning: &[u8]) {
        match kind {
            // Rows, or what they look like.
            b'D' | b'T' => self.has_answered = true,
            b'C' => self.note_completed(beginning),
            b'Z' => self.note_ready(beginning.first().copied().unwrap_or(0)),
            b'G' => {
                self.session.copying.begin();
                // The server starts to take COPY data and ignores the `Sync` that was sent along with the statement, if there was one; another one follows the data.
                if !self.in_step && self.unanswered.front() == Some(&Request::Extended) {
                    self.unanswered.pop_front();
                    self.session.requests().note_answered();
                }
            }
            b'E' => note_error(&self.session, Words::read(beginning), self.in_step),
            _ => note(&self.session, kind, beginning),
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

    /// An answer has ended.
    fn note_ready(&mut self, status: u8) {
        let session = &self.session;
        self.has_answered = false;
        session.note_ready(status);
        session.copying.end();
        match self.unanswered.pop_front() {
            Some(Request::Housekeeping) => {}
            Some(_) => {
                session.requests().note_answered();
                self.in_step = false;
            }
            // An answer too many, after a COPY that did not go as its client thinks.
            None => session.condemn(),
        }
        self.note_turn();
        let session = &self.session;
        // Something may have been sent in part.
        if !self.works && self.unanswered.iter().all(|request| *request == Request::Housekeeping) {
            self.stopwatch.answered();
            session.set(status);
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
