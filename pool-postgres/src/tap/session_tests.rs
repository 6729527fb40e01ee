//! What is known of a session, message by message.

use std::sync::Arc;

use proptest::prelude::*;

use super::changes::Changes;
use super::follower::Follower;
use super::headers::{Headers, Kept, kept};
use super::session::Session;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

fn completed(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

/// What a server says to let somebody in.
fn login() -> Vec<u8> {
    let parameters = [&b"TimeZone\0UTC\0"[..], b"default_transaction_read_only\0off\0", b"in_hot_standby\0off\0"];
    let all = parameters.map(|parameter| message(b'S', parameter)).concat();
    [message(b'R', &[0; 4]), all, message(b'K', &[0, 0, 48, 57, 1, 2, 3, 4]), ready(b'I')].concat()
}

fn startup() -> Vec<u8> {
    9_u32.to_be_bytes().into_iter().chain(*b"Q\0\0\0S").collect()
}

/// A session that has been logged in, and what is sent and received on it.
fn followed() -> (Arc<Session>, Follower) {
    let session = Arc::new(Session::default());
    let mut follower = Follower::new(Arc::clone(&session), None);
    follower.on_sent(&startup());
    follower.on_received(&login());
    (session, follower)
}

/// What has been changed by this answer to a query of either protocol.
fn changed(is_simple: bool, answer: &[Vec<u8>]) -> Changes {
    let (session, mut follower) = followed();
    assert!(session.changes().is_none(), "a login changes nothing");
    let query = [message(b'B', &[0; 8]), message(b'E', &[0; 5]), message(b'S', b"")].concat();
    follower.on_sent(&if is_simple { message(b'Q', b"?\0") } else { query });
    follower.on_received(&answer.concat());
    follower.on_received(&ready(b'I'));
    assert!(session.is_at_rest());
    session.changes()
}

#[test]
fn what_is_completed_tells_what_has_changed() {
    let row = || message(b'D', b"\0\0");
    let description = || message(b'T', b"\0\0");
    assert_eq!(changed(true, &[completed("SET"), completed("LISTEN")]), Changes::SETTINGS.and(Changes::CHANNELS));
    assert_eq!(changed(true, &[description(), row(), completed("SELECT 1")]), Changes::NONE);
    assert_eq!(changed(true, &[description(), completed("SELECT 0")]), Changes::NONE);
    assert_eq!(changed(true, &[completed("SELECT 0")]), Changes::TEMPORARY, "it has no rows to describe");
    let both = [description(), row(), completed("SELECT 1"), completed("SELECT 1")];
    assert_eq!(changed(true, &both), Changes::TEMPORARY, "the second one");
    assert_eq!(changed(false, &[message(b'2', b""), row(), completed("SELECT 1")]), Changes::NONE);
    assert_eq!(changed(false, &[message(b'2', b""), completed("SELECT 0")]), Changes::NONE, "no rows were found");
    assert_eq!(changed(false, &[message(b'2', b""), completed("SELECT 7")]), Changes::TEMPORARY);
}

#[test]
fn a_parameter_that_is_reported_after_the_login_was_set() {
    let report = |parameter: &[u8]| message(b'S', parameter);
    assert_eq!(changed(true, &[report(b"TimeZone\0Asia/Tokyo\0")]), Changes::SETTINGS);
    assert_eq!(changed(true, &[report(b"in_hot_standby\0on\0")]), Changes::NONE, "nobody can set it");
    let (session, mut follower) = followed();
    assert_eq!(session.parameter("TimeZone").as_deref(), Some("UTC"));
    follower.on_received(&[report(b"TimeZone\0Asia/Tokyo\0"), report(b"no value"), report(b"a\0b")].concat());
    let all = session.parameters();
    assert_eq!(all.get("TimeZone").map(String::as_str), Some("Asia/Tokyo"));
    assert_eq!(all.len(), 4, "{all:?}");
    for n in 0..1000 {
        follower.on_received(&report(format!("p{n}\0x\0").as_bytes()));
    }
    assert!(session.parameters().len() <= 100, "no server has so many");
}

#[test]
fn what_passes_is_counted() {
    let (session, mut follower) = followed();
    let (sent, received) = session.bytes();
    assert_eq!((sent, received), (startup().len() as u64, login().len() as u64));
    assert_eq!((session.in_flight(), session.asked(), session.process()), (0, 0, Some(12_345)));
    let closing = [message(b'C', b"Ss0\0"), message(b'S', b"")].concat();
    follower.on_sent(&closing);
    assert_eq!((session.in_flight(), session.asked()), (0, 0), "nobody asks anything");
    follower.on_sent(&message(b'Q', b"BEGIN\0")[..3]);
    follower.on_sent(&message(b'Q', b"BEGIN\0")[3..]);
    follower.on_sent(&message(b'P', b"\0SELECT\0\0\0"));
    assert_eq!((session.in_flight(), session.asked()), (2, 2));
    follower.on_received(&[message(b'3', b""), ready(b'I'), completed("BEGIN"), ready(b'T')].concat());
    assert_eq!((session.in_flight(), session.last_command().as_deref()), (1, Some("BEGIN")));
    assert_eq!(session.bytes().0, (startup().len() + closing.len() + 11 + 15) as u64);
}

/// Something that a server may say.
fn said() -> impl Strategy<Value = Vec<u8>> {
    let tags =
        ["SET", "SELECT 3", "SELECT 0", "INSERT 0 1", "LISTEN", "CREATE TABLE", "COMMIT", "DO", "COPY 20000", ""];
    prop_oneof![
        prop::sample::select(tags.to_vec()).prop_map(completed),
        prop::sample::select(b"ITE".to_vec()).prop_map(ready),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|row| message(b'D', &row)),
        "[a-c]{1,3}".prop_map(|name| message(b'S', format!("{name}\0on\0").as_bytes())),
        Just(message(b'E', b"SERROR\0VERROR\0C23505\0Mno\0\0")),
        Just(message(b'N', &[&b"SWARNING\0VWARNING\0C01000\0M"[..], &[b'x'; 600], b"\0\0"].concat())),
        Just(message(b'A', b"\0\0\0\x01news\0payload\0")),
        Just(message(b'T', b"\0\x01")),
        Just(message(b'G', b"\0\0\0")),
        prop::collection::vec(any::<u8>(), 5..40),
    ]
}

/// All that is known of a session.
fn known(said: &[u8], pieces: impl Iterator<Item = usize>) -> String {
    let (session, mut follower) = followed();
    follower.on_sent(&[message(b'Q', b"?\0"), message(b'B', b"\0\0"), message(b'S', b"")].concat());
    let mut rest = said;
    for piece in pieces {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        follower.on_received(now);
        rest = later;
    }
    follower.on_received(rest);
    format!(
        "{} {:?} {:?} {:?} {:?} {:?} {} {:?}",
        session.status(),
        session.changes(),
        session.last_command(),
        session.parameters(),
        session.bytes(),
        session.process(),
        session.in_flight(),
        session.farewell()
    )
}

/// What messages there are, by reading all of it at once.
fn messages(mut bytes: &[u8], kept: impl Fn(u8) -> usize) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    while let [kind, a, b, c, d, rest @ ..] = bytes {
        let body = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(4);
        let wanted = body.min(kept(*kind));
        if rest.len() < wanted {
            break;
        }
        messages.push((*kind, rest[..wanted].to_vec()));
        bytes = &rest[body.min(rest.len())..];
    }
    messages
}

proptest! {
    #[test]
    fn what_is_known_does_not_depend_on_how_it_comes(
        said in prop::collection::vec(said(), 0..20),
        pieces in prop::collection::vec(1_usize..40, 0..60),
    ) {
        let said = said.concat();
        prop_assert_eq!(known(&said, pieces.into_iter()), known(&said, std::iter::empty()));
    }

    #[test]
    fn broken_messages_are_split_as_whole_ones(
        bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(4), Just(9), any::<u8>()], 0..200),
        pieces in prop::collection::vec(1_usize..20, 0..40),
    ) {
        static KEPT: Kept = kept(&[(4, 3), (9, 100)]);
        let mut headers = Headers::looking_into(&KEPT);
        let mut seen = Vec::new();
        let mut rest = &bytes[..];
        for piece in pieces {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            headers.scan(now, |kind, body| seen.push((kind, body.to_vec())));
            rest = later;
        }
        headers.scan(rest, |kind, body| seen.push((kind, body.to_vec())));
        let most = |kind| match kind { 4 => 3, 9 => 100, _ => 1 };
        prop_assert_eq!(seen, messages(&bytes, most));
    }
}
