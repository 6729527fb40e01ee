//! F028, F029, F046, F131: messages that do not come, or that nobody expects.

use pool_testkit::proxy::{Direction, End, Frame, Place, Toxic, message};

use crate::asking::{answer, eventually, in_time};
use crate::common::{Chaos, impatient, query, quiet};
use crate::invariants;
use crate::users::SHORT;

/// The borders between the messages of a prepared query, in the order in which they come. The second `Z` is the end.
const BORDERS: [(u8, u64); 8] =
    [(b'1', 1), (b't', 1), (b'T', 1), (b'Z', 1), (b'2', 1), (b'D', 1), (b'C', 1), (b'Z', 2)];

#[tokio::test]
async fn f046_a_prepared_query_is_cut_at_each_border_of_the_answer() {
    let mut chaos = Chaos::start(1).await;
    let mut lost = 0;
    for (kind, nth) in BORDERS {
        for (place, end) in [(Place::Before, End::Close), (Place::After, End::Reset)] {
            let lease = quiet(&chaos).await;
            chaos.proxy.set_once(Direction::ToClient, Toxic::CutAt { kind, nth, place, end });
            let outcome = answer(&lease, 41).await;
            let whole = (kind, nth, place) == (b'Z', 2, Place::After);
            let at = format!("{place:?} {} {nth}", char::from(kind));
            match outcome {
                Ok(number) => assert!(whole && number == 42, "{at}"),
                Err(error) => {
                    assert!(!whole && error.code().is_none(), "{at}: the network failed, not the server: {error:?}");
                    chaos.note(&error);
                }
            }
            eventually("the connection is known to be lost", async || lease.is_closed()).await;
            drop(lease);
            lost += 1;
            drop(chaos.working().await);
            assert_eq!((chaos.pool.stats().broken, chaos.proxy.seen().struck), (lost, lost), "{at}");
        }
    }
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f046_a_prepared_query_is_cut_at_each_border_of_the_request() {
    let mut chaos = Chaos::start(1).await;
    let mut lost = 0;
    for (kind, nth) in [(b'P', 1), (b'D', 1), (b'S', 1), (b'B', 1), (b'E', 1), (b'S', 2)] {
        for place in [Place::Before, Place::After] {
            let lease = quiet(&chaos).await;
            chaos.proxy.set_once(Direction::ToServer, Toxic::CutAt { kind, nth, place, end: End::Reset });
            match answer(&lease, 41).await {
                // The answer may be quicker than the end of the connection.
                Ok(number) => assert_eq!((kind, nth, place, number), (b'S', 2, Place::After, 42)),
                Err(error) => {
                    assert!(error.code().is_none(), "{error:?}");
                    chaos.note(&error);
                }
            }
            eventually("the connection is known to be lost", async || lease.is_closed()).await;
            drop(lease);
            lost += 1;
            drop(chaos.working().await);
            assert_eq!(chaos.pool.stats().broken, lost);
        }
    }
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f046_a_simple_query_is_cut_before_the_server_is_ready() {
    let mut chaos = Chaos::start(1).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    chaos
        .proxy
        .set_once(Direction::ToClient, Toxic::CutAt { kind: b'Z', nth: 1, place: Place::Before, end: End::Close });
    let error = lease.batch_execute("SELECT 1").await.unwrap_err();
    assert!(error.code().is_none(), "{error:?}");
    chaos.note(&error);
    drop(lease);
    invariants::hold(chaos).await;
}

/// The end of a session as the server tells it, with something behind it that is no message.
fn fatal() -> Vec<u8> {
    let said = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0";
    [message(b'E', said), b"and more that nobody asked for".to_vec()].concat()
}

#[tokio::test]
async fn f028_an_end_that_the_server_tells_unasked_harms_nobody() {
    let mut chaos = Chaos::start(3).await;
    chaos.fill(2).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    chaos.proxy.inject(Direction::ToClient, &fatal());
    eventually("the idle one is closed", async || chaos.pool.stats().closed == 1).await;
    let error = answer(&lease, 1).await.unwrap_err();
    chaos.note(&error);
    drop(lease);
    drop(chaos.working().await);
    assert_eq!(chaos.pool.stats().broken, 2);
    invariants::hold(chaos).await;
}

/// Errors that no server would tell: without a SQLSTATE, without anything, without an end.
fn errors_without_a_state() -> [Vec<u8>; 4] {
    [b"SFATAL\0VFATAL\0Mno more connections\0\0".to_vec(), b"\0".to_vec(), vec![], b"SFATAL\0C".to_vec()]
        .map(|body| message(b'E', &body))
}

#[tokio::test]
async fn f029_an_error_without_a_state_instead_of_a_welcome() {
    let mut chaos = Chaos::start(1).await;
    for strange in errors_without_a_state() {
        let instead = move |frame: &Frame| match frame.kind() {
            b'R' => strange.clone(),
            _ => frame.bytes().to_vec(),
        };
        chaos.proxy.set(Direction::ToClient, Toxic::edit(instead));
        let error = chaos.told_within(2 * SHORT).await;
        assert!(error.to_string().contains("logging in of 127.0.0.1"), "{error}");
        chaos.proxy.calm().await;
        drop(chaos.working().await);
        chaos.pool.retire_all();
    }
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f029_an_error_without_a_state_instead_of_an_answer() {
    let mut chaos = impatient(1).await;
    for strange in errors_without_a_state() {
        for kind in *b"1D" {
            let strange = strange.clone();
            let instead = Toxic::edit(move |frame| match frame.kind() {
                same if same == kind => strange.clone(),
                _ => frame.bytes().to_vec(),
            });
            assert_eq!(query(&mut chaos, Direction::ToClient, instead).await, None);
            drop(chaos.working().await);
        }
    }
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f131_a_session_that_is_lost_while_it_is_reset_goes_to_nobody() {
    let chaos = impatient(2).await;
    for end in [End::Close, End::Reset, End::Silence] {
        let lease = quiet(&chaos).await;
        lease.batch_execute("BEGIN").await.unwrap();
        let (broken, struck) = (chaos.pool.stats().broken, chaos.proxy.seen().struck);
        chaos.reconfigure(|config| config.reset_timeout = SHORT);
        // The answer to the empty query comes, that to the rollback does not.
        chaos.proxy.set_once(Direction::ToClient, Toxic::CutAt { kind: b'C', nth: 1, place: Place::Before, end });
        drop(lease);
        // Whoever comes next is not to be hit in its place, and has more time for a reset of his own.
        in_time("it is cut", chaos.proxy.until(|seen| seen.struck > struck)).await;
        chaos.patient();
        drop(chaos.working().await);
        eventually("it is closed", async || chaos.pool.stats().broken == broken + 1).await;
        chaos.proxy.calm().await;
    }
    assert_eq!(chaos.pool.stats().errors.resets, 3);
    invariants::hold(chaos).await;
}
