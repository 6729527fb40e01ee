//! Requests that share one `Sync`.
//!
//! tokio-postgres ends every request with a `Sync`, and waits for a `ReadyForQuery` behind every answer. Of requests that are to be one transaction, the `Sync` of all but the last is left out on the
//! way to the server, and the client is told what it waits for: after an answer that it is complete, and after an error that whatever follows was not executed, as the server passes that over up to the `Sync`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::BytesMut;

use super::course::Course;
use super::headers::Headers;

/// No more of the client's bytes than this are taken at once.
const MOST: usize = 64 << 10;

const HEADER: usize = 5;

/// Has the server send what it has.
const FLUSH: &[u8] = b"H\0\0\0\x04";

/// The server is ready, inside of the transaction that the requests are.
pub(super) const READY: &[u8] = b"Z\0\0\0\x05T";

/// The code with which a server refuses what comes after an error, and what is said here.
pub(super) const SKIPPED: &[u8] =
    b"E\0\0\0\x58SERROR\0VERROR\0C25P02\0Mnot executed, since an earlier statement of its batch failed\0\0";

/// How many of the next requests share one `Sync`, as far as they have not been sent.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    left: AtomicU64,
    flushes: AtomicBool,
}

impl Joining {
    /// So many requests are about to be given to the client, and share one `Sync`. By somebody who has the session for himself, when the client has nothing else in its queue.
    ///
    /// A server keeps short answers back until it has some more of them. With `flushes`, it is told to send each as soon as it has it.
    pub(crate) fn expect(&self, requests: u64, flushes: bool) {
        self.flushes.store(flushes, Ordering::Release);
        self.left.store(requests, Ordering::Release);
    }

    /// Whether there are any of which the `Sync` has not been sent. Whoever moves the wire has got the requests from the client's queue, and knows of this before them.
    pub(crate) fn is_expected(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    fn flushes(&self) -> bool {
        self.flushes.load(Ordering::Relaxed)
    }

    /// The next one has come to its end. Whether others follow. Only whoever holds the wire writes.
    pub(super) fn has_more(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed).saturating_sub(1);
        self.left.store(left, Ordering::Release);
        left > 0
    }
}

/// Copies what is sent of these bytes of the client's, without the `Sync` of requests that share one with the next. How many bytes were taken; none behind the last of these requests.
pub(super) fn join(course: &mut Course, sent: &mut Headers, bytes: &[u8], out: &mut BytesMut) -> usize {
    let (mut from, mut at) = (0, sent.border(bytes));
    let mut take = |course: &mut Course, part: &[u8]| {
        out.extend_from_slice(part);
        sent.scan(part, |kind, beginning| course.note_sent(kind, beginning));
        course.on_sent(sent.is_at_border());
    };
    while at < MOST
        && let Some((kind, end)) = measure(bytes, at)
    {
        if kind == b'S' {
            // What was sent before it belongs to its request.
            take(course, &bytes[from..at]);
            if !course.joins_next() {
                let end = end.min(bytes.len());
                take(course, &bytes[at..end]);
                return end;
            }
            if course.session.joining.flushes() {
                take(course, FLUSH);
            }
            from = end.min(bytes.len());
        }
        at = end;
    }
    // A message may be cut off, as long as it may be.
    let end = if at < MOST { bytes.len() } else { at.min(MOST).max(from).min(bytes.len()) };
    take(course, &bytes[from..end]);
    end
}

/// The kind of the message that begins there, and where it ends; `None` if its header is not there.
fn measure(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let [kind, a, b, c, d] = *bytes.get(at..)?.first_chunk::<HEADER>()?;
    let body = u32::from_be_bytes([a, b, c, d]).saturating_sub(4) as usize;
    Some((kind, at.saturating_add(HEADER).saturating_add(body)))
}

/// What the server has said that has not been passed on yet, while requests that share a `Sync` are under way.
#[derive(Debug, Default)]
pub(super) struct Answers {
    kept: BytesMut,
}

impl Answers {
    /// Passes on what the server says, with what the client waits for. What cannot be told yet is kept: the beginning of a message, and all of one that ends an answer.
    pub(super) fn hear(&mut self, course: &mut Course, received: &mut Headers, bytes: &[u8], out: &mut BytesMut) {
        self.kept.extend_from_slice(bytes);
        let begun = received.border(&self.kept);
        pass_on(course, received, &self.kept.split_to(begun), out);
        while course.is_joined()
            && let Some((kind, end)) = measure(&self.kept, 0)
        {
            if matches!(kind, b'C' | b'I' | b'E' | b'3' | b'Z') && self.kept.len() < end {
                return;
            }
            let message = self.kept.split_to(end.min(self.kept.len()));
            if kind == b'Z' {
                course.pass_over(|words| out.extend_from_slice(words));
            }
            let ends = course.ends_joined(kind);
            pass_on(course, received, &message, out);
            if ends {
                out.extend_from_slice(READY);
            }
        }
        if !course.is_joined() {
            pass_on(course, received, &self.kept.split(), out);
        }
    }
}

fn pass_on(course: &mut Course, received: &mut Headers, part: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(part);
    received.scan(part, |kind, beginning| course.note_received(kind, beginning));
}
