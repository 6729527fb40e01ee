//! Requests that share a `Sync`, as the client and the server see them.

use std::sync::Arc;

use bytes::BytesMut;
use proptest::prelude::*;

use super::follower::Follower;
use super::joining::{READY, SKIPPED};
use super::session::Session;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

/// What there is in some bytes, if it is whole.
fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    while let [kind, a, b, c, d, rest @ ..] = bytes {
        let (body, next) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4);
        messages.push((*kind, body.to_vec()));
        bytes = next;
    }
    assert!(bytes.is_empty(), "{bytes:?}");
    messages
}

fn kinds(bytes: &[u8]) -> String {
    messages(bytes).into_iter().map(|(kind, _)| char::from(kind)).collect()
}

fn logged_in() -> (Arc<Session>, Follower) {
    let session = Arc::new(Session::default());
    let mut follower = Follower::new(Arc::clone(&session), None);
    follower.on_sent(&[0, 0, 0, 8, 0, 3, 0, 0]);
    follower.on_received(&message(b'Z', b"I"));
    (session, follower)
}

/// A request of so many bytes.
fn request(size: usize) -> Vec<u8> {
    [message(b'B', &vec![b'S'; size]), message(b'E', &[0; 5]), message(b'S', b"")].concat()
}

fn closing() -> Vec<u8> {
    [message(b'C', b"Ss0\0"), message(b'S', b"")].concat()
}

/// What the server gets of these bytes of the client's.
fn send(follower: &mut Follower, mut bytes: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    while !bytes.is_empty() {
        let taken = if follower.session().joining.is_expected() {
            follower.join(bytes, &mut out)
        } else {
            follower.on_sent(bytes);
            out.extend_from_slice(bytes);
            bytes.len()
        };
        assert!(taken > 0);
        bytes = &bytes[taken..];
    }
    out.to_vec()
}

/// What the client gets of these bytes of the server's.
fn hear(follower: &mut Follower, mut bytes: &[u8], pieces: &mut impl Iterator<Item = usize>) -> Vec<u8> {
    let mut out = BytesMut::new();
    while !bytes.is_empty() {
        let (now, later) = bytes.split_at(pieces.next().unwrap_or(usize::MAX).min(bytes.len()));
        if follower.is_joined() {
            follower.answer(now, &mut out);
        } else {
            follower.on_received(now);
            out.extend_from_slice(now);
        }
        bytes = later;
    }
    out.to_vec()
}

/// A server that fails at one of the executions, or at the end.
struct Server {
    said: Vec<u8>,
    executed: usize,
    fails: Option<usize>,
    at_end: bool,
    passes_over: bool,
    works: bool,
}

impl Server {
    fn fail(&mut self) {
        self.said.extend(message(b'E', &[&b"SERROR\0VERROR\0C23505\0M"[..], &[b'x'; 900], b"\0\0"].concat()));
    }

    fn sync(&mut self) {
        if self.at_end && self.works {
            self.fail();
        }
        self.said.extend(message(b'Z', b"I"));
        (self.passes_over, self.works) = (false, false);
    }

    fn execute(&mut self) {
        if self.fails == Some(self.executed) {
            self.fail();
            (self.passes_over, self.works) = (true, false);
            return;
        }
        self.executed += 1;
        self.said.extend(message(b'N', b"SNOTICE\0C00000\0Mhow do you do\0\0"));
        self.said.extend(message(b'D', &[b'Z'; 700]));
        let (kind, name) = if self.executed.is_multiple_of(3) { (b'I', &b""[..]) } else { (b'C', &b"SELECT 1\0"[..]) };
        self.said.extend(message(kind, name));
    }

    fn hear(&mut self, kind: u8) {
        match kind {
            b'S' => self.sync(),
            _ if self.passes_over => {}
            b'B' => {
                self.works = true;
                self.said.extend(message(b'2', b""));
            }
            b'E' => self.execute(),
            b'C' => self.said.extend(message(b'3', b"")),
            _ => {}
        }
    }
}

/// What such a server says to all of this.
fn serve(bytes: &[u8], fails: Option<usize>, at_end: bool) -> Vec<u8> {
    let mut server = Server { said: Vec::new(), executed: 0, fails, at_end, passes_over: false, works: false };
    for (kind, _) in messages(bytes) {
        server.hear(kind);
    }
    server.said
}

/// What the client gets for the request with this index among so many.
fn expected(index: usize, count: usize, fails: Option<usize>, at_end: bool) -> String {
    let end = if (index + 1).is_multiple_of(3) { 'I' } else { 'C' };
    let late = if at_end && index + 1 == count { "E" } else { "" };
    match fails {
        Some(at) if index == at => "2EZ".to_owned(),
        Some(at) if index > at => "EZ".to_owned(),
        _ => format!("2ND{end}{late}Z"),
    }
}

/// What is sent for requests of these sizes, with these closings in front, written where it is cut; and which of the answers somebody waits for.
fn send_all(follower: &mut Follower, sizes: &[usize], closings: &[bool], cuts: &[bool]) -> (Vec<u8>, Vec<bool>) {
    let (mut sent, mut waiting, mut awaited) = (Vec::new(), Vec::new(), Vec::new());
    for (index, size) in sizes.iter().enumerate() {
        if closings[index] {
            waiting.extend(closing());
            awaited.push(false);
        }
        waiting.extend(request(*size));
        awaited.push(true);
        // The client writes all that it has.
        if cuts[index] || index + 1 == sizes.len() {
            sent.extend(send(follower, &waiting));
            waiting.clear();
        }
    }
    (sent, awaited)
}

#[test]
fn what_is_said_here_is_a_message() {
    assert_eq!((kinds(SKIPPED), kinds(READY)), ("E".to_owned(), "Z".to_owned()));
    let [(_, body)] = &messages(SKIPPED)[..] else { panic!("one") };
    assert!(body.ends_with(b"failed\0\0") && body.starts_with(b"SERROR\0VERROR\0C25P02\0M"));
}

#[test]
fn one_sync_is_left_and_the_others_are_as_if_they_had_been_sent() {
    for flushes in [false, true] {
        let (session, mut follower) = logged_in();
        session.joining.expect(3, flushes);
        let sent = send(&mut follower, &[request(3), request(0), closing(), request(200_000), request(1)].concat());
        let joined = if flushes { "BEHBEHCHBESBES" } else { "BEBECBESBES" };
        assert_eq!(kinds(&sent), joined);
        assert!(!session.joining.is_expected() && session.is_busy());
        assert_eq!((session.requests().sent(), session.requests().answered()), (5, 1));
    }
}

#[test]
fn nothing_is_at_rest_before_the_end() {
    let (session, mut follower) = logged_in();
    session.joining.expect(3, false);
    let first = send(&mut follower, &request(3));
    let heard = hear(&mut follower, &serve(&first, None, false), &mut std::iter::empty());
    assert_eq!(kinds(&heard), "2NDCZ");
    assert!(session.is_busy() && !session.is_at_rest(), "it has been answered, and the transaction goes on");
    assert_eq!((session.requests().sent(), session.requests().answered()), (2, 2));
    let rest = send(&mut follower, &[request(0), request(0)].concat());
    hear(&mut follower, &serve(&rest, None, false), &mut std::iter::empty());
    assert!(session.is_at_rest() && !follower.is_joined());
    assert_eq!((session.requests().sent(), session.requests().answered()), (4, 4));
}

proptest! {
    /// However it is cut, and wherever it fails, the client gets one answer to each request.
    #[test]
    fn each_request_has_its_answer(
        sizes in prop::collection::vec(prop_oneof![Just(0_usize), 1..50_usize, 60_000..70_000_usize], 2..9),
        closings in prop::collection::vec(any::<bool>(), 10),
        flushes in any::<bool>(),
        fails in prop::option::of(0_usize..9),
        at_end in any::<bool>(),
        cuts in prop::collection::vec(any::<bool>(), 10),
        pieces in prop::collection::vec(prop_oneof![1_usize..9, 1_usize..2000], 0..200),
    ) {
        let (session, mut follower) = logged_in();
        let (count, mut pieces) = (sizes.len(), pieces.into_iter());
        let fails = fails.filter(|at| *at < count);
        session.joining.expect(count as u64, flushes);
        let (sent, awaited) = send_all(&mut follower, &sizes, &closings, &cuts);
        let syncs = kinds(&sent).matches('S').count();
        prop_assert_eq!(syncs, 1 + usize::from(closings[0]), "what is closed before the first is none of them");
        let heard = hear(&mut follower, &serve(&sent, fails, at_end), &mut pieces);
        let heard = messages(&heard);
        let answers: Vec<_> = heard.split_inclusive(|(kind, _)| *kind == b'Z').collect();
        prop_assert_eq!(answers.len(), awaited.len());
        let mut index = 0;
        for (answer, is_awaited) in answers.iter().zip(awaited) {
            let kinds: String = answer.iter().map(|(kind, _)| char::from(*kind)).collect();
            if is_awaited {
                prop_assert_eq!(&kinds, &expected(index, count, fails, at_end));
                prop_assert!(kinds != "EZ" || answer[0].1.starts_with(b"SERROR\0VERROR\0C25P02\0"));
                index += 1;
            } else {
                prop_assert!(kinds == "3Z" || kinds == "Z", "{}", kinds);
            }
        }
        prop_assert!(session.is_at_rest() && !follower.is_joined() && !session.is_condemned(true));
        prop_assert_eq!(session.requests().sent(), 1 + count as u64);
        prop_assert_eq!(session.requests().answered(), 1 + count as u64);
        prop_assert_eq!(session.in_flight(), 0);
    }

    #[test]
    fn no_answer_makes_it_panic(said in prop::collection::vec(prop_oneof![
        Just(message(b'Z', b"I")), Just(message(b'C', b"SELECT 1\0")), Just(message(b'E', b"C40001\0\0")), Just(message(b'3', b"")),
        prop::collection::vec(any::<u8>(), 0..20),
    ], 0..20), pieces in prop::collection::vec(1_usize..9, 0..50)) {
        let (session, mut follower) = logged_in();
        session.joining.expect(3, false);
        send(&mut follower, &[request(0), closing(), request(0)].concat());
        hear(&mut follower, &said.concat(), &mut pieces.into_iter());
        send(&mut follower, &request(0));
        hear(&mut follower, &said.concat(), &mut std::iter::empty());
    }
}
