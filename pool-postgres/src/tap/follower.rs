//! Follows the bytes of a connection: where messages begin, and which of them are sent in another form.

use std::sync::Arc;

use bytes::BytesMut;
use pool_core::Recorder;

use super::command::TAG;
use super::copying::FLUSH;
use super::course::Course;
use super::headers::{Headers, Kept, kept};
use super::joining::{Answers, join};
use super::parameters::PARAMETER;
use super::prepared;
use super::session::Session;

/// So much is kept of an error or a notice. Codes come before texts there, and texts are told by how they begin.
const TEXT: u16 = 512;

/// So much is kept of the number of the server's process and what comes with it.
const PROCESS: u16 = 4;

/// The names of what is completed, parameters, errors and notices, and the process.
static KEPT_OF_RECEIVED: Kept = kept(&[(b'C', TAG), (b'S', PARAMETER), (b'E', TEXT), (b'N', TEXT), (b'K', PROCESS)]);

/// So much is kept of a simple query: enough to see whether it is a `COMMIT`.
const BEGINNING: u16 = 16;

/// What is asked by a simple query, and what is prepared.
static KEPT_OF_SENT: Kept = kept(&[(b'Q', BEGINNING), (b'P', prepared::BEGINNING)]);

/// Follows both directions of one connection.
#[derive(Debug)]
pub(super) struct Follower {
    course: Course,
    /// The startup message has no type; it is the first thing sent.
    startup_left: Option<u64>,
    startup_header: Vec<u8>,
    sent: Headers,
    received: Headers,
    /// How many bytes have been sent.
    written: u64,
    /// After how many bytes the `Sync` comes that a COPY must not have.
    sync_at: Option<u64>,
    answers: Answers,
}

impl Follower {
    pub(super) fn new(session: Arc<Session>, recorder: Option<Recorder>) -> Self {
        Self {
            course: Course::new(session, recorder),
            startup_left: None,
            startup_header: Vec::new(),
            sent: Headers::looking_into(&KEPT_OF_SENT),
            received: Headers::looking_into(&KEPT_OF_RECEIVED),
            written: 0,
            sync_at: None,
            answers: Answers::default(),
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.course.session
    }

    pub(super) fn about_to_send(&mut self) {
        self.course.stopwatch.about_to_send();
    }

    /// What is sent of these bytes now, and in what form.
    pub(super) fn before_sending<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.session().copying.is_expected() {
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
        let Some(beginning) = self.session().copying.beginning() else { return };
        let (mut at, mut bound) = (self.sent.border(bytes), false);
        while let Some([kind, a, b, c, d, body @ ..]) = bytes.get(at..) {
            match kind {
                b'B' => bound = body.starts_with(&beginning),
                b'S' if bound => {
                    self.sync_at = Some(self.written + at as u64);
                    return self.session().copying.forget();
                }
                _ => {}
            }
            at = at.saturating_add(1 + u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        }
    }

    pub(super) fn on_sent(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        if self.sync_at.is_some_and(|at| at < self.written) {
            (self.sync_at, self.course.is_copying) = (None, true);
        }
        let messages = self.skip_startup(bytes);
        self.sent.scan(messages, |kind, beginning| self.course.note_sent(kind, beginning));
        self.course.on_sent(self.sent.is_at_border());
        self.session().traffic().note_sent(bytes.len(), self.course.in_flight());
    }

    /// As [`on_sent`](Self::on_sent), while requests are sent that share a `Sync`: how many of these bytes are, and in what form.
    pub(super) fn join(&mut self, bytes: &[u8], out: &mut BytesMut) -> usize {
        let before = out.len();
        let taken = join(&mut self.course, &mut self.sent, bytes, out);
        let more = out.len() - before;
        self.written += more as u64;
        self.session().traffic().note_sent(more, self.course.in_flight());
        taken
    }

    /// Whether the client waits for more than the server says.
    pub(super) fn is_joined(&self) -> bool {
        self.course.is_joined()
    }

    /// As [`on_received`](Self::on_received), while it does: what is passed on.
    pub(super) fn answer(&mut self, bytes: &[u8], out: &mut BytesMut) {
        self.answers.hear(&mut self.course, &mut self.received, bytes, out);
        self.session().traffic().note_received(bytes.len(), self.course.in_flight());
    }

    pub(super) fn on_received(&mut self, bytes: &[u8]) {
        self.received.scan(bytes, |kind, beginning| self.course.note_received(kind, beginning));
        self.session().traffic().note_received(bytes.len(), self.course.in_flight());
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
}
