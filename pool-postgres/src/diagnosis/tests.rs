use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Advice::{FixConfiguration, Never, OutcomeUnknown, RetryLater, RetryNow, RetryTransaction};
use super::Fate::{Close, EvictHost, Keep, Reset};
use super::*;

/// What is expected of each code that matters, written down a second time and without the table's prefixes.
const EXPECTED: &[(&str, Advice, Fate)] = &[
    ("08000", OutcomeUnknown, Close),
    ("08001", RetryLater, Close),
    ("08003", OutcomeUnknown, Close),
    ("08004", RetryLater, Close),
    ("08006", OutcomeUnknown, Close),
    ("08007", OutcomeUnknown, Close),
    ("08P01", Never, Close),
    ("0A000", Never, Keep),
    ("22012", Never, Keep),
    ("22023", Never, Keep),
    ("23505", Never, Keep),
    ("23514", Never, Keep),
    ("25000", Never, Keep),
    ("25001", Never, Keep),
    ("25002", Never, Keep),
    ("25003", Never, Keep),
    ("25004", Never, Keep),
    ("25005", Never, Keep),
    ("25006", RetryLater, EvictHost),
    ("25007", Never, Keep),
    ("25008", Never, Keep),
    ("25P01", Never, Keep),
    ("25P02", Never, Reset),
    ("25P03", RetryTransaction, Close),
    ("25P04", RetryTransaction, Close),
    ("26000", RetryNow, Keep),
    ("28000", FixConfiguration, Close),
    ("28P01", FixConfiguration, Close),
    ("3D000", FixConfiguration, Close),
    ("40000", RetryTransaction, Keep),
    ("40001", RetryTransaction, Keep),
    ("40002", Never, Keep),
    ("40003", OutcomeUnknown, Keep),
    ("40P01", RetryTransaction, Keep),
    ("42501", Never, Keep),
    ("42601", Never, Keep),
    ("42P05", Never, Keep),
    ("53000", RetryLater, Keep),
    ("53100", RetryLater, Keep),
    ("53200", RetryLater, Keep),
    ("53300", RetryLater, Close),
    ("53400", RetryLater, Keep),
    ("54001", Never, Keep),
    ("55000", RetryLater, Keep),
    ("55006", RetryLater, Keep),
    ("55P02", Never, Keep),
    ("55P03", RetryLater, Keep),
    ("55P04", Never, Keep),
    ("57000", OutcomeUnknown, Close),
    ("57014", Never, Keep),
    ("57P01", OutcomeUnknown, Close),
    ("57P02", OutcomeUnknown, Close),
    ("57P03", RetryLater, Close),
    ("57P04", FixConfiguration, Close),
    ("57P05", RetryNow, Close),
    ("58000", RetryLater, Close),
    ("58030", RetryLater, Close),
    ("58P01", Never, Keep),
    ("72000", RetryTransaction, Keep),
    ("P0001", Never, Keep),
    ("XX000", Never, Keep),
    ("", Never, Keep),
];

#[test]
fn every_code_means_what_it_should() {
    for (code, advice, fate) in EXPECTED {
        let diagnosis = Diagnosis::of_sqlstate(code, "anything");
        assert_eq!((diagnosis.advice, diagnosis.fate), (*advice, *fate), "{code}");
        assert_eq!(diagnosis.prepare_again, *code == "26000", "{code}");
        assert!(!diagnosis.safe_to_retry, "a server that answers has been asked: {code}");
    }
}

#[test]
fn a_code_that_means_several_things_is_told_by_its_message() {
    for (code, message, advice, fate) in [
        ("0A000", "cached plan must not change result type", RetryNow, Keep),
        ("0A000", "cannot set transaction read-write mode during recovery", RetryLater, EvictHost),
        ("08P01", "query_wait_timeout", RetryLater, Close),
        ("08P01", "no more connections allowed (max_client_conn)", RetryLater, Close),
        ("08P01", "server login failed: FATAL too many clients", RetryLater, Close),
        ("08P01", "server login has been failing, try again later (server_login_retry)", RetryLater, Close),
        ("08P01", "server conn crashed?", OutcomeUnknown, Close),
        ("08P01", "invalid frontend message type 90", Never, Close),
        ("57014", "canceling authentication due to timeout", RetryLater, Close),
        ("57014", "canceling statement due to user request", Never, Keep),
    ] {
        let diagnosis = Diagnosis::of_sqlstate(code, message);
        assert_eq!((diagnosis.advice, diagnosis.fate), (advice, fate), "{code} {message}");
    }
    assert!(Diagnosis::of_sqlstate("0A000", "cached plan must not change result type").prepare_again);
}

#[test]
fn no_row_is_there_twice_or_in_vain() {
    for (place, row) in SQLSTATES.iter().enumerate() {
        let code = format!("{:Z<5}", row.code);
        assert_eq!(table::find(&code, row.message.unwrap_or_default()), Some(row), "{row:?}");
        let same = |other: &&SqlStateRow| (other.code, other.message) == (row.code, row.message);
        assert_eq!(SQLSTATES.iter().filter(same).count(), 1, "row {place}");
    }
}

#[test]
fn a_stream_that_fails_leaves_the_outcome_open_unless_there_was_no_session() {
    for (kind, advice) in [
        (ErrorKind::ConnectionReset, OutcomeUnknown),
        (ErrorKind::ConnectionAborted, OutcomeUnknown),
        (ErrorKind::BrokenPipe, OutcomeUnknown),
        (ErrorKind::TimedOut, OutcomeUnknown),
        (ErrorKind::UnexpectedEof, OutcomeUnknown),
        (ErrorKind::HostUnreachable, OutcomeUnknown),
        (ErrorKind::Other, OutcomeUnknown),
        (ErrorKind::ConnectionRefused, RetryLater),
        (ErrorKind::NotFound, RetryLater),
        (ErrorKind::AddrNotAvailable, RetryLater),
        (ErrorKind::PermissionDenied, FixConfiguration),
    ] {
        let diagnosis = Diagnosis::of_io(kind);
        assert_eq!((diagnosis.advice, diagnosis.fate, diagnosis.safe_to_retry), (advice, Close, false), "{kind:?}");
    }
}

#[test]
fn nothing_was_sent_if_no_connection_could_be_had() {
    let closed = Diagnosis::of_acquire(&AcquireError::Closed);
    assert_eq!((closed.advice, closed.safe_to_retry), (Never, true));
}

/// A server that says what it is told to, once to the startup message and once to a query.
async fn answer(login: &[u8], query: Option<&[u8]>) -> (tokio_postgres::Error, tokio::io::DuplexStream) {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let server = async {
        theirs.read_exact(&mut [0; 4]).await.unwrap();
        theirs.write_all(login).await.unwrap();
        if let Some(query) = query {
            // The rest of the startup message and the query.
            let mut seen = Vec::new();
            while !seen.ends_with(b"asked\0") {
                theirs.read_buf(&mut seen).await.unwrap();
            }
            theirs.write_all(query).await.unwrap();
        }
        theirs
    };
    let mut config = tokio_postgres::Config::new();
    let config = config.user("u").ssl_mode(tokio_postgres::config::SslMode::Disable);
    let client = async {
        let (client, connection) = config.connect_raw(ours, tokio_postgres::NoTls).await?;
        let connection = tokio::spawn(connection);
        let outcome = client.batch_execute("asked").await;
        connection.abort();
        outcome
    };
    let (outcome, theirs) = tokio::join!(client, server);
    (outcome.unwrap_err(), theirs)
}

const LET_IN: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

async fn kind_at_login(login: &[u8]) -> String {
    format!("{:?}", Kind::of(&answer(login, None).await.0))
}

async fn kind_in_session(query: &[u8]) -> String {
    format!("{:?}", Kind::of(&answer(LET_IN, Some(query)).await.0))
}

/// The texts by which the kinds are told are those of the version that is used.
#[tokio::test]
async fn errors_without_a_code_are_told_apart() {
    assert_eq!(kind_at_login(b"R\0\0\0\x08\0\0\0\x03").await, "Login", "it wants a password, and there is none");
    assert_eq!(kind_at_login(b"R\0\0\0\x08\0\0\0\x07").await, "Login", "by a means that is not known");
    assert_eq!(kind_at_login(b"Z\0\0\0\x05I").await, "Protocol", "a message that is not expected");
    assert_eq!(kind_at_login(b"?\0\0\0\x05I").await, "Protocol", "a message that does not exist");
    assert_eq!(kind_at_login(b"R\0\0\0\x01").await, "Protocol", "a length that does not exist");
    assert_eq!(kind_at_login(b"E\0\0\0\x05\0").await, "Protocol", "an error without its fields");
    assert_eq!(kind_in_session(b"?\0\0\0\x04").await, "Protocol", "a message that does not exist");
    assert_eq!(kind_in_session(b"s\0\0\0\x04").await, "Protocol", "a message that is not expected");
}

/// A stream that is reset when it is read.
struct Torn;

impl AsyncRead for Torn {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for Torn {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_stream_that_fails_is_told_by_its_kind() {
    let config = "user=u sslmode=disable".parse::<tokio_postgres::Config>().unwrap();
    let error = config.connect_raw(Torn, tokio_postgres::NoTls).await.map(drop).unwrap_err();
    assert_eq!(Kind::of(&error), Kind::Stream(ErrorKind::ConnectionReset));
}
