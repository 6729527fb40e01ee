//! What is known of a COPY that takes data.
//!
//! tokio-postgres sends two of `Sync` for one: behind the statement, and behind the data. A server that takes data overlooks the first. One that refuses before it has looked for data does not: it is ready twice,
//! and the client takes the second time for the answer to whatever comes next. So the first one becomes a `Flush`, which is as long, and has everything said all the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A `Flush`, as far as it differs from a `Sync`.
pub(super) const FLUSH: &[u8] = b"H";

/// What is known outside of the session's task.
#[derive(Debug, Default)]
pub(crate) struct Copying {
    /// Whether there is a name below.
    expected: AtomicBool,
    /// The name of the statement that is about to be executed.
    statement: Mutex<Option<String>>,
    /// Whether the server takes data.
    taking: AtomicBool,
    /// Whether it has reported an error since it began to.
    refused: AtomicBool,
}

impl Copying {
    /// The statement of this name is a COPY that takes data, and is about to be executed. By somebody who has the session for himself.
    pub(crate) fn expect(&self, statement: String) {
        self.refused.store(false, Ordering::Release);
        *self.statement() = Some(statement);
        self.expected.store(true, Ordering::Release);
    }

    /// It is not executed after all.
    pub(crate) fn forget(&self) {
        self.expected.store(false, Ordering::Release);
        *self.statement() = None;
    }

    pub(super) fn is_expected(&self) -> bool {
        self.expected.load(Ordering::Acquire)
    }

    /// How the `Bind` of the statement begins: the portal without a name, and the statement's.
    pub(super) fn beginning(&self) -> Option<Vec<u8>> {
        self.statement().as_ref().map(|name| [b"\0", name.as_bytes(), b"\0"].concat())
    }

    /// Whether the server takes data at the moment.
    pub(crate) fn is_taking(&self) -> bool {
        self.taking.load(Ordering::Acquire)
    }

    /// Whether the server has refused the data: it overlooks what is still sent.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    pub(super) fn begin(&self) {
        self.refused.store(false, Ordering::Release);
        self.taking.store(true, Ordering::Release);
    }

    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.taking.store(false, Ordering::Release);
    }

    fn statement(&self) -> MutexGuard<'_, Option<String>> {
        self.statement.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::tap::follower::Follower;
    use crate::tap::session::Session;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    /// A statement of this name is executed.
    fn request(name: &str) -> Vec<u8> {
        let bind = [b"\0", name.as_bytes(), b"\0\0\0\0\0\0\0"].concat();
        [message(b'B', &bind), message(b'E', &[0; 5]), message(b'S', b"")].concat()
    }

    fn logged_in() -> (Arc<Session>, Follower) {
        let session = Arc::new(Session::default());
        let mut follower = Follower::new(Arc::clone(&session), None);
        follower.on_sent(&[0, 0, 0, 8, 0, 3, 0, 0]);
        follower.on_received(&message(b'Z', b"I"));
        (session, follower)
    }

    /// What the server gets if the stream takes so many bytes at a time.
    fn send(follower: &mut Follower, mut bytes: &[u8], most: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while !bytes.is_empty() {
            let now = follower.before_sending(bytes);
            let now = &now[..now.len().min(most)];
            follower.on_sent(now);
            sent.extend_from_slice(now);
            bytes = &bytes[now.len()..];
        }
        sent
    }

    /// The server says this, and the session is at rest, and condemned, or is not.
    fn hear(follower: &mut Follower, messages: &[Vec<u8>]) -> (bool, bool) {
        follower.on_received(&messages.concat());
        (follower.session().is_at_rest(), follower.session().is_condemned(true))
    }

    #[test]
    fn the_one_sync_is_a_flush_however_it_is_written() {
        for most in 1..100 {
            let (session, mut follower) = logged_in();
            session.copying.expect("s7".to_owned());
            let closing = [message(b'C', b"Ss1\0"), message(b'S', b"")].concat();
            let before = [closing.clone(), request("s1"), request("s77")].concat();
            let after = [message(b'd', b"S\0\0\0\x04"), message(b'c', b""), message(b'S', b""), request("s7")].concat();
            // The client's buffer has a request as a whole, or nothing of it.
            let mut sent = send(&mut follower, &before[..3], most);
            sent.extend(send(&mut follower, &[&before[3..], &request("s7")].concat(), most));
            sent.extend(send(&mut follower, &after, most));
            let mut flushed = request("s7");
            let sync = flushed.len() - 5;
            flushed[sync] = b'H';
            assert_eq!(sent, [before, flushed, after].concat(), "{most}");
        }
    }

    #[test]
    fn a_copy_is_answered_once_however_it_ends() {
        let end = [message(b'c', b""), message(b'S', b"")].concat();
        let (error, ready) = (message(b'E', b"C23505\0\0"), message(b'Z', b"I"));
        // What is said before the client tells the end, and after that.
        for (first, last) in [
            (vec![message(b'2', b""), message(b'G', &[0; 3])], vec![message(b'C', b"COPY 1\0"), ready.clone()]),
            (vec![message(b'2', b""), message(b'G', &[0; 3])], vec![error.clone(), ready.clone()]),
            (vec![message(b'2', b""), message(b'G', &[0; 3]), error.clone()], vec![ready.clone()]),
            (vec![message(b'2', b""), error.clone()], vec![ready.clone()]),
        ] {
            let (session, mut follower) = logged_in();
            session.copying.expect("s7".to_owned());
            send(&mut follower, &request("s7"), usize::MAX);
            assert_eq!(hear(&mut follower, &first), (false, false));
            send(&mut follower, &[&end[..], &request("s8")].concat(), usize::MAX);
            assert_eq!(hear(&mut follower, &last), (false, false), "another one is under way");
            assert_eq!((session.requests().sent(), session.requests().answered()), (3, 2));
            assert_eq!(hear(&mut follower, &[message(b'C', b"SELECT 1\0"), ready.clone()]), (true, false));
        }
    }

    #[test]
    fn what_was_asked_before_a_copy_is_no_answer_to_it() {
        let (copying, end) = (message(b'G', &[0; 3]), [message(b'c', b""), message(b'S', b"")].concat());
        let (error, ready) = (message(b'E', b"C23505\0\0"), message(b'Z', b"I"));
        let (session, mut follower) = logged_in();
        send(&mut follower, &request("s1"), usize::MAX);
        session.copying.expect("s7".to_owned());
        send(&mut follower, &request("s7"), usize::MAX);
        let before = [error.clone(), ready.clone()];
        assert_eq!(hear(&mut follower, &before), (false, false), "that was the one before");
        assert_eq!(hear(&mut follower, &[copying.clone(), error.clone()]), (false, false), "and this is the copy");
        send(&mut follower, &end, usize::MAX);
        // The next one follows before it is answered.
        session.copying.expect("s8".to_owned());
        send(&mut follower, &request("s8"), usize::MAX);
        assert_eq!(hear(&mut follower, std::slice::from_ref(&ready)), (false, false));
        assert_eq!(hear(&mut follower, &[copying, error]), (false, false));
        send(&mut follower, &end, usize::MAX);
        assert_eq!(hear(&mut follower, &[ready]), (true, false));
        assert_eq!((session.requests().sent(), session.requests().answered()), (4, 4));
    }

    #[test]
    fn a_copy_that_may_be_answered_twice_condemns() {
        let (copying, failing) = (message(b'G', &[0; 3]), [message(b'f', b"\0"), message(b'S', b"")].concat());
        let said = |text: &str| message(b'E', text.as_bytes());
        let ready = message(b'Z', b"I");
        for (first, last, condemned) in [
            (vec![copying.clone()], vec![said("C57014\0MCOPY from stdin failed: \0\0"), ready.clone()], false),
            (vec![copying.clone()], vec![said("C57014\0Mcanceling statement\0\0"), ready.clone()], true),
            (vec![copying.clone(), said("C42809\0\0"), ready.clone()], vec![ready.clone()], true),
            (vec![said("C42P01\0\0"), ready.clone()], vec![ready.clone()], true),
        ] {
            let (_, mut follower) = logged_in();
            send(&mut follower, &request("s7"), usize::MAX);
            hear(&mut follower, &first);
            send(&mut follower, &failing, usize::MAX);
            assert_eq!(hear(&mut follower, &last), (true, condemned));
        }
    }
}
