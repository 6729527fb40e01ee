use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::session::Session;
use super::*;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

fn startup() -> Vec<u8> {
    [&9_u32.to_be_bytes()[..], b"Q\0\0\0S"].concat()
}

/// What the session looks like after each message; `true` is sent, `false` received.
fn follow(steps: &[(bool, Vec<u8>)], chunk: usize) -> Vec<u8> {
    let mut follower = Follower::new(Arc::default(), None);
    let mut statuses = Vec::new();
    for (sent, bytes) in steps {
        for part in bytes.chunks(chunk.max(1)) {
            if *sent { follower.on_sent(part) } else { follower.on_received(part) }
        }
        statuses.push(follower.session().status());
    }
    statuses
}

fn conversation() -> Vec<(bool, Vec<u8>)> {
    vec![
        (true, startup()),
        (false, [message(b'R', &[0; 4]), message(b'S', b"a\0b\0"), message(b'Z', b"I")].concat()),
        (true, message(b'Q', b"BEGIN\0")),
        (false, [message(b'C', b"BEGIN\0"), message(b'Z', b"T")].concat()),
        (
            true,
            [message(b'P', b"\0SELECT\0\0\0"), message(b'B', &[0; 8]), message(b'E', &[0; 5]), message(b'S', b"")]
                .concat(),
        ),
        (false, [message(b'1', b""), message(b'D', b"ZZZZZ"), message(b'Z', b"E")].concat()),
        (true, [message(b'Q', b"ROLLBACK\0"), message(b'Q', b"SELECT 1\0")].concat()),
        (false, message(b'Z', b"I")),
        (false, message(b'Z', b"I")),
    ]
}

const STATUSES: [u8; 9] = [0, b'I', 0, b'T', 0, b'E', 0, 0, b'I'];

#[test]
fn the_status_follows_the_conversation() {
    assert_eq!(follow(&conversation(), usize::MAX), STATUSES);
}

/// Whether something was completed, and whether a transaction has ended, as these bytes came one by one.
fn hear(follower: &mut Follower, messages: &[Vec<u8>]) -> (bool, bool) {
    let mark = follower.session().mark();
    messages.concat().chunks(1).for_each(|byte| follower.on_received(byte));
    let session = follower.session();
    (!session.has_completed_nothing_since(mark), session.has_ended_one_since(mark))
}

#[test]
fn what_the_server_has_completed_is_known() {
    let mut follower = Follower::new(Arc::default(), None);
    let mut hear = |messages: &[Vec<u8>]| hear(&mut follower, messages);
    assert_eq!(hear(&[message(b'I', b""), message(b'E', b"C40001\0\0"), message(b'Z', b"I")]), (false, true));
    assert_eq!(hear(&[message(b'C', b"SELECT 1\0"), message(b'Z', b"T"), message(b'Z', b"E")]), (true, false));
    assert_eq!(hear(&[message(b'C', b"COMMIT\0")]), (true, true));
    assert_eq!(hear(&[message(b'C', b"COMMIT PREPARED\0")]), (true, false), "another transaction");
    assert_eq!(hear(&[message(b'3', b"")]), (false, false), "a statement was closed");
    assert_eq!(hear(&[message(b'C', b"ROLLBACK\0"), message(b'Z', b"I")]), (true, true));
    assert_eq!(hear(&[message(b'C', b"INSERT 0 1\0"), message(b'C', b"COMMIT\0")]), (true, true));
}

/// How a transaction has ended, by what comes after its `BEGIN`.
fn ending(messages: &[Vec<u8>]) -> Ending {
    let mut follower = Follower::new(Arc::default(), None);
    follower.on_received(&[message(b'Z', b"I"), message(b'C', b"BEGIN\0"), message(b'Z', b"T")].concat());
    assert!(follower.session().has_begun());
    let mark = follower.session().mark();
    follower.on_received(&messages.concat());
    follower.session().ending_since(mark)
}

#[test]
fn a_commit_that_is_answered_with_rollback_is_told_from_one_that_is_not() {
    assert_eq!(ending(&[message(b'C', b"COMMIT\0"), message(b'Z', b"I")]), Ending::Committed);
    assert_eq!(ending(&[message(b'C', b"ROLLBACK\0"), message(b'Z', b"I")]), Ending::RolledBack);
    let twice = [message(b'C', b"COMMIT\0"), message(b'Z', b"I"), message(b'C', b"COMMIT\0"), message(b'Z', b"I")];
    assert_eq!(ending(&twice), Ending::Before);
}

#[test]
fn copy_in_leaves_the_session_at_rest() {
    let steps = [
        (true, startup()),
        (false, message(b'Z', b"I")),
        (true, [message(b'B', b"\0\0"), message(b'E', &[0; 5]), message(b'S', b"")].concat()),
        (false, [message(b'2', b""), message(b'G', &[0; 3])].concat()),
        (true, [message(b'd', b"S\0Q"), message(b'c', b""), message(b'S', b"")].concat()),
        (false, [message(b'C', b"COPY 1\0"), message(b'Z', b"I")].concat()),
    ];
    assert_eq!(follow(&steps, usize::MAX), [0, b'I', 0, 0, 0, b'I']);
}

#[test]
fn closing_a_statement_keeps_nobody_waiting() {
    let closing = || [message(b'C', b"Ss0\0"), message(b'S', b"")].concat();
    let steps = [
        (true, startup()),
        (true, message(b'p', b"secret\0")),
        (false, message(b'Z', b"I")),
        (true, closing()),
        (true, message(b'Q', b"BEGIN\0")),
        (false, [message(b'3', b""), message(b'Z', b"I")].concat()),
        (false, message(b'Z', b"T")),
        (true, closing()),
        (false, message(b'Z', b"T")),
    ];
    assert_eq!(follow(&steps, usize::MAX), [0, 0, b'I', b'I', 0, 0, b'T', b'T', b'T']);
}

#[test]
fn a_request_that_is_sent_in_part_is_under_way() {
    let steps = [
        (true, startup()),
        (false, message(b'Z', b"I")),
        (true, [message(b'C', b"Ss0\0"), message(b'S', b"")].concat()),
        (true, [message(b'P', b"\0SELECT\0\0\0"), message(b'B', &[0; 8]), message(b'E', &[0; 5])].concat()),
        (false, [message(b'3', b""), message(b'Z', b"I")].concat()),
        (true, message(b'S', b"")),
        (false, [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat()),
    ];
    assert_eq!(follow(&steps, usize::MAX), [0, b'I', b'I', 0, 0, 0, b'I']);
}

/// How many executions are counted in these steps.
fn executions(steps: &[(bool, Vec<u8>)]) -> u64 {
    let recorder = Recorder::default();
    let mut follower = Follower::new(Arc::default(), Some(recorder.clone()));
    for (sent, bytes) in steps {
        if *sent { follower.on_sent(bytes) } else { follower.on_received(bytes) }
    }
    recorder.executions().count
}

#[test]
fn executions_are_counted_one_by_one() {
    assert_eq!(executions(&conversation()), 4, "BEGIN, SELECT, and two in one go");
    let prepared = [
        (true, startup()),
        (false, message(b'Z', b"I")),
        (true, [message(b'P', b"\0SELECT\0\0\0"), message(b'D', b"S\0"), message(b'S', b"")].concat()),
        (false, [message(b'1', b""), message(b'Z', b"I")].concat()),
        (true, [message(b'B', &[0; 8]), message(b'E', &[0; 5]), message(b'S', b"")].concat()),
        (false, [message(b'2', b""), message(b'Z', b"I")].concat()),
        (true, [message(b'C', b"Ss0\0"), message(b'S', b"")].concat()),
        (false, [message(b'3', b""), message(b'Z', b"I")].concat()),
    ];
    assert_eq!(executions(&prepared), 1, "neither to prepare a statement nor to close it is an execution");
}

#[test]
fn a_stream_is_left_to_whoever_wants_it() {
    let session = Arc::new(Session::default());
    let tap = || Tap::new(Box::new(tokio::io::empty()), Arc::clone(&session), None);
    drop(tap());
    assert!(session.take_stream_of(()).is_none(), "it was closed");
    assert!(session.take_stream_of(tap()).is_some());
    assert!(session.take_stream_of(()).is_none(), "it has been taken");
}

#[test]
fn a_session_is_at_rest_in_a_transaction_or_busy() {
    let session = Session::default();
    assert!(!session.is_at_rest() && !session.is_in_transaction());
    session.set(b'I');
    assert!(session.is_at_rest() && !session.is_in_transaction());
    session.set(b'E');
    assert!(!session.is_at_rest() && session.is_in_transaction());
}

fn report(fields: &[u8]) -> Vec<u8> {
    message(b'E', fields)
}

/// A session on which the server has said this, in chunks.
fn told(said: &[Vec<u8>], chunk: usize) -> Arc<Session> {
    let session = Arc::new(Session::default());
    let mut follower = Follower::new(Arc::clone(&session), None);
    said.concat().chunks(chunk).for_each(|part| follower.on_received(part));
    session
}

const FATAL: &[u8] = b"SFATAL\0VFATAL\0C57P05\0Mterminating connection\0\0";
const CRASH: &[u8] = b"SWARNUNG\0VWARNING\0C57P02\0Mterminating connection because of crash\0\0";
const REFUSAL: &[u8] = b"SERROR\0VERROR\0C23505\0Mduplicate key\0\0";

#[test]
fn why_the_server_ends_a_session_is_kept_however_the_bytes_are_split() {
    let long = [&b"SFATAL\0VFATAL\0C57P01\0M"[..], &[b'x'; 5000], b"\0\0"].concat();
    for chunk in [1, 7, 1 << 20] {
        let farewell = |said: &[Vec<u8>]| told(said, chunk).farewell().map(|words| words.code);
        assert_eq!(farewell(&[report(FATAL)]).as_deref(), Some("57P05"));
        assert_eq!(farewell(&[message(b'N', CRASH)]).as_deref(), Some("57P02"));
        assert_eq!(farewell(&[report(REFUSAL), message(b'N', REFUSAL)]), None);
        assert_eq!(farewell(&[report(&long), message(b'Z', b"I")]).as_deref(), Some("57P01"));
        assert_eq!(farewell(&[report(b"VFATAL\0\0")]).as_deref(), Some(""), "without a code");
        let words = told(&[report(&long)], chunk).farewell().unwrap();
        assert!(words.message.len() > 400 && words.message.len() < 600, "a part of it");
    }
}

/// Whether a server writes, by what it says of itself.
fn says(standby: &str, read_only: &str) -> Vec<u8> {
    let parameter = |name, value| message(b'S', format!("{name}\0{value}\0").as_bytes());
    [parameter("in_hot_standby", standby), parameter("default_transaction_read_only", read_only)].concat()
}

#[test]
fn what_a_server_says_of_itself_counts_until_it_says_otherwise() {
    let role = |said: &[Vec<u8>]| told(said, 3).role().map(|role| (role.is_standby, role.is_read_only));
    assert_eq!(role(&[]), None);
    assert_eq!(role(&[message(b'S', b"in_hot_standby\0on\0")]), None, "a part of it");
    assert_eq!(role(&[says("on", "off")]), Some((true, true)));
    assert_eq!(role(&[says("on", "off"), message(b'S', b"in_hot_standby\0off\0")]), Some((false, false)));
    assert_eq!(role(&[says("off", "on"), message(b'S', b"application_name\0off\0")]), Some((false, true)));
    assert_eq!(role(&[says("off", "off"), message(b'S', b""), message(b'S', b"in_hot_standby")]), Some((false, false)));
}

#[test]
fn an_error_decides_what_becomes_of_the_session() {
    let condemned = |code: &str, read_only: &str| {
        let fields = format!("SERROR\0VERROR\0C{code}\0Mno\0\0");
        let session = told(&[report(fields.as_bytes()), report(REFUSAL), says("off", read_only)], usize::MAX);
        session.set(b'I');
        let first = session.is_condemned(true);
        session.note_parameter(b"in_hot_standby\0on\0");
        (first, session.is_condemned(true))
    };
    assert_eq!(condemned("23505", "on"), (false, false));
    assert_eq!(condemned("58030", "off"), (true, true));
    assert_eq!(condemned("25006", "on"), (true, true));
    assert_eq!(condemned("25006", "off"), (false, false), "it is asked once");
}

#[test]
fn whether_a_server_writes_is_not_settled_before_its_answer_has_ended() {
    let session = told(&[report(b"SERROR\0VERROR\0C25006\0Mno\0\0")], usize::MAX);
    session.set(Session::BUSY);
    assert!(!session.is_condemned(true), "it has not said so yet");
    session.set(b'I');
    assert!(!session.is_condemned(false), "what it said may not have been looked at");
    session.note_parameter(b"default_transaction_read_only\0on\0");
    assert!(session.is_condemned(true), "now it has");
}

#[tokio::test]
async fn what_is_written_after_a_mark_is_noticed() {
    let session = Arc::new(Session::default());
    let mut tap = Tap::new(Box::new(tokio::io::empty()), Arc::clone(&session), None);
    session.set(b'I');
    let mark = session.mark();
    assert!(session.is_unwritten_since(mark) && mark.was_at_rest());
    tap.write_all(b"Q").await.unwrap();
    assert!(!session.is_unwritten_since(mark));
    assert!(!told(&[], 1).mark().was_at_rest(), "before the login is done");
}

#[tokio::test]
async fn what_does_not_begin_like_a_server_is_refused() {
    let read = async |said: &'static [u8]| {
        let mut tap = Tap::last(Box::new(tokio::io::join(said, tokio::io::sink())));
        tap.read(&mut [0; 64]).await.map_err(|error| error.to_string())
    };
    for greeting in [&b"R"[..], b"E", b"N", b"v", b""] {
        assert_eq!(read(greeting).await, Ok(greeting.len()));
    }
    let refused = read(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap_err();
    assert_eq!(refused, "the server does not speak PostgreSQL's protocol; it begins with HTTP/1.1 400 Bad");
}

/// PgBouncer takes the end of what a client sends for the end of the client, and passes no request on then.
#[tokio::test]
async fn whoever_asks_to_cancel_stays_until_the_server_goes() {
    let (ours, mut theirs) = tokio::io::duplex(64);
    let mut tap = Tap::asking(Box::new(ours));
    tap.write_all(b"request").await.unwrap();
    let now = std::time::Duration::ZERO;
    assert!(tokio::time::timeout(now, tap.shutdown()).await.is_err(), "the server has not gone");
    theirs.read_exact(&mut [0; 7]).await.unwrap();
    assert!(tokio::time::timeout(now, theirs.read(&mut [0])).await.is_err(), "and hears of no end");
    drop(theirs);
    tap.shutdown().await.unwrap();
}

proptest! {
    #[test]
    fn where_the_bytes_are_split_makes_no_difference(chunk in 1_usize..20) {
        prop_assert_eq!(follow(&conversation(), chunk), STATUSES);
    }

    #[test]
    fn no_bytes_make_it_panic(sent in prop::collection::vec(any::<u8>(), 0..200), received in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut follower = Follower::new(Arc::default(), None);
        follower.on_sent(&sent);
        follower.on_received(&received);
    }
}

/// Is slow to say that it has written.
struct Slow(tokio::io::DuplexStream);

const NAP: std::time::Duration = std::time::Duration::from_millis(20);

impl AsyncRead for Slow {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Slow {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.get_mut().0).poll_write(cx, bytes);
        // As if the system had other things to do when it was written.
        std::thread::sleep(NAP);
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn an_execution_is_timed_from_before_it_is_written() {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    let recorder = Recorder::default();
    let mut tap = Tap::new(Box::new(Slow(ours)), Arc::default(), Some(recorder.clone()));
    for (asked, answered) in [
        (startup(), [message(b'R', &[0; 4]), message(b'Z', b"I")].concat()),
        (message(b'Q', b"SELECT 1\0"), message(b'Z', b"I")),
    ] {
        tap.write_all(&asked).await.unwrap();
        theirs.write_all(&answered).await.unwrap();
        let mut answer = vec![0; answered.len()];
        tap.read_exact(&mut answer).await.unwrap();
    }
    let executions = recorder.executions();
    assert!(executions.count == 1 && executions.max >= NAP, "{executions:?}");
}
