//! The beginning of an acquire, without its end.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::contenders::Contender;

/// Begins to acquire and gives up after the first poll. Whether it would have had to wait; if not, the connection goes back at once.
pub(crate) async fn polled_once<C: Contender>(contender: &C) -> bool {
    let mut acquire = pin!(contender.acquire());
    poll_fn(|context| Poll::Ready(acquire.as_mut().poll(context).is_pending())).await
}
