use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

fn inbox(most: usize) -> Inbox {
    Inbox::new(NonZeroUsize::new(most).unwrap())
}

fn push(inbox: &Inbox, payloads: impl IntoIterator<Item = usize>) {
    for payload in payloads {
        drop(inbox.push(&Notification::new("c", &payload.to_string(), 1)));
    }
}

/// What is there, in short.
fn all(inbox: &Inbox) -> String {
    let mut said = Vec::new();
    while let Poll::Ready(event) = inbox.poll(Waker::noop()) {
        said.push(match event {
            Some(Event::Notification(notification)) => notification.payload().to_owned(),
            Some(Event::Lagged(lost)) => format!("-{lost}"),
            Some(Event::Gap { outages }) => format!("gap {outages}"),
            None => {
                said.push("end".to_owned());
                break;
            }
        });
    }
    said.join(" ")
}

#[test]
fn they_come_in_order() {
    let inbox = inbox(3);
    assert_eq!(all(&inbox), "");
    push(&inbox, 1..=3);
    assert_eq!(all(&inbox), "1 2 3");
}

#[test]
fn of_too_many_the_oldest_are_lost_and_counted() {
    let inbox = inbox(3);
    push(&inbox, 1..=8);
    assert_eq!(all(&inbox), "-5 6 7 8");
    push(&inbox, 9..=10);
    assert_eq!(all(&inbox), "9 10", "and counted once");
}

#[test]
fn one_place_is_enough() {
    let inbox = inbox(1);
    push(&inbox, 1..=3);
    assert_eq!(all(&inbox), "-2 3");
}

#[test]
fn a_gap_is_told_when_it_is_over_and_before_what_comes_after_it() {
    let inbox = inbox(9);
    push(&inbox, [1]);
    inbox.begin_gap();
    assert_eq!(all(&inbox), "1", "it is not over");
    inbox.begin_gap();
    push(&inbox, [2]);
    assert!(inbox.end_gap().is_none());
    push(&inbox, [3]);
    assert_eq!(all(&inbox), "gap 1 2 3", "once for each outage");
    drop(inbox.end_gap());
    assert_eq!(all(&inbox), "", "there was none");
}

#[test]
fn an_outage_after_which_nothing_was_sent_is_told_too() {
    let inbox = inbox(9);
    inbox.begin_gap();
    drop(inbox.end_gap());
    assert_eq!(all(&inbox), "gap 1");
}

#[test]
fn outages_between_the_same_two_notifications_are_told_together() {
    let inbox = inbox(9);
    push(&inbox, [1]);
    for _ in 0..1000 {
        inbox.begin_gap();
        drop(inbox.end_gap());
    }
    push(&inbox, [2]);
    assert_eq!(all(&inbox), "1 gap 1000 2");
}

#[test]
fn a_gap_is_not_lost_with_what_is_around_it() {
    let inbox = inbox(2);
    for round in [0, 10, 20] {
        push(&inbox, round..round + 10);
        inbox.begin_gap();
        drop(inbox.end_gap());
    }
    assert_eq!(all(&inbox), "-28 gap 2 28 29 gap 1");
}

#[test]
fn what_is_there_is_read_before_the_end() {
    let inbox = inbox(2);
    push(&inbox, 1..=3);
    drop(inbox.close());
    assert_eq!(all(&inbox), "-1 2 3 end");
    assert_eq!(all(&inbox), "end", "for ever");
}

#[test]
fn whoever_waits_is_woken_once() {
    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (inbox, count) = (inbox(2), Arc::new(Count::default()));
    let waker = Waker::from(Arc::clone(&count));
    let woken = || count.0.swap(0, Ordering::Relaxed);
    for event in [
        (|inbox| inbox.push(&Notification::new("c", "1", 1))) as fn(&Inbox) -> Option<Waker>,
        |inbox| {
            inbox.begin_gap();
            inbox.end_gap()
        },
        Inbox::orphan,
        Inbox::close,
    ] {
        all(&inbox);
        assert!(inbox.poll(&waker).is_pending() && inbox.poll(&waker).is_pending());
        event(&inbox).into_iter().for_each(Waker::wake);
        assert_eq!(woken(), 1);
        event(&inbox).into_iter().for_each(Waker::wake);
        assert_eq!(woken(), 0);
    }
}
