//! How much passes, and when something did last.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What has passed so far. Whoever holds the wire notes it, and nobody else.
#[derive(Debug)]
pub(super) struct Traffic {
    began: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    /// In microseconds since the beginning.
    last: AtomicU64,
    /// Requests that are not answered, and those of which a part has been sent.
    in_flight: AtomicU64,
    /// How many requests there have been, the closing of statements left out.
    asked: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        let (sent, received, last, in_flight, asked) = (zero(), zero(), zero(), zero(), zero());
        Self { began: Instant::now(), sent, received, last, in_flight, asked }
    }
}

impl Traffic {
    pub(super) fn note_sent(&self, bytes: usize, in_flight: usize) {
        add(&self.sent, bytes);
        self.note(in_flight);
    }

    pub(super) fn note_received(&self, bytes: usize, in_flight: usize) {
        add(&self.received, bytes);
        self.note(in_flight);
    }

    fn note(&self, in_flight: usize) {
        self.in_flight.store(in_flight as u64, Ordering::Release);
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Release);
    }

    pub(super) fn note_asked(&self) {
        add(&self.asked, 1);
    }

    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    pub(super) fn in_flight(&self) -> usize {
        usize::try_from(self.in_flight.load(Ordering::Acquire)).unwrap_or(usize::MAX)
    }

    /// For how long nothing has passed.
    pub(super) fn quiet_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_micros(self.last.load(Ordering::Acquire)))
    }
}

<<<<<<< HEAD
/// One thread at a time writes, so that no stronger operation is needed.
fn add(counter: &AtomicU64, more: usize) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more as u64), Ordering::Release);
=======
/// Where the one request is that is looked for.
enum Found {
    At { number: u64, others: bool },
    Behind,
    Lost,
}

/// While it is there, the session sends nothing.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub(crate) struct Hold(Arc<Session>);

impl Hold {
    /// Takes hold for somebody who began when so many requests had been sent. For whoever holds the wire, after all that can be sent has been.
    pub(crate) fn grip(session: &Arc<Session>, before: u64) -> Grip {
        match session.traffic().find(before) {
            Found::At { number, others } => Self::grip_on(session, number, others),
            Found::Behind => Grip::Behind,
            Found::Lost => Grip::Never,
        }
    }

    /// The same, for the request with this number.
    pub(crate) fn grip_on(session: &Arc<Session>, number: u64, others: bool) -> Grip {
        let traffic = session.traffic();
        if traffic.is_alone(number) {
            traffic.is_held.store(true, Ordering::Release);
            Grip::Held(Self(Arc::clone(session)))
        } else if traffic.may_be_alone(number) {
            Grip::Later { number, others }
        } else {
            Grip::Never
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let traffic = self.0.traffic();
        traffic.is_held.store(false, Ordering::Release);
        let writer = traffic.wakers().writer.take();
        writer.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn session(sent: u64, answered: u64, is_partial: bool) -> Arc<Session> {
        let session = Arc::new(Session::default());
        (0..sent).for_each(|_| session.traffic().note_sent());
        (0..answered).for_each(|_| session.traffic().note_answered());
        session.traffic().note_partial(is_partial);
        session
    }

    /// `held`, `never`, or the number of the request and whether others are ahead of it.
    fn grip(sent: u64, answered: u64, is_partial: bool, before: u64) -> String {
        show(&Hold::grip(&session(sent, answered, is_partial), before))
    }

    fn show(grip: &Grip) -> String {
        match grip {
            Grip::Held(_) => "held".to_owned(),
            Grip::Later { number, others } => format!("{number} {others}"),
            Grip::Behind => "behind".to_owned(),
            Grip::Never => "never".to_owned(),
        }
    }

    #[test]
    fn only_what_is_alone_under_way_is_taken_hold_of() {
        assert_eq!(grip(5, 4, false, 4), "held", "it was the only one");
        assert_eq!(grip(5, 4, false, 3), "held", "another one of its own has been answered");
        assert_eq!(grip(5, 5, false, 4), "never", "it has been answered");
        assert_eq!(grip(5, 5, false, 5), "never", "it has asked nothing");
        assert_eq!(grip(5, 4, false, 5), "never", "that is another one's");
        assert_eq!(grip(4, 4, true, 4), "5 false", "it has not been sent to its end");
        assert_eq!(grip(6, 4, false, 5), "6 true", "another one is ahead of it");
        assert_eq!(grip(6, 4, false, 4), "never", "one of the two is another one's");
        assert_eq!(grip(5, 4, true, 4), "never", "another one comes after it");
    }

    #[test]
    fn nothing_is_taken_hold_of_while_others_ask() {
        let session = session(5, 4, false);
        session.traffic().begin();
        assert!(matches!(Hold::grip(&session, 4), Grip::Never));
        session.traffic().finish();
        assert!(matches!(Hold::grip(&session, 4), Grip::Held(_)));
        session.traffic().note_end();
        assert!(matches!(Hold::grip(&session, 4), Grip::Never), "it has ended");
    }

    #[test]
    fn what_is_held_back_is_behind_what_is_being_cancelled() {
        let session = session(5, 4, false);
        let hold = Hold::grip(&session, 4);
        let seen = || {
            let grips = [4, 5].map(|before| show(&Hold::grip(&session, before)));
            (grips.join(", "), session.traffic().is_held_for_nothing())
        };
        assert_eq!(seen(), ("5 false, behind".to_owned(), false), "the one is being cancelled, the other held back");
        session.traffic().note_answered();
        assert_eq!(seen(), ("behind, behind".to_owned(), true), "its next step may be held back");
        drop(hold);
    }

    /// As with [`grip`], of the request with the number 6.
    fn grip_on(sent: u64, answered: u64) -> String {
        show(&Hold::grip_on(&session(sent, answered, false), 6, false))
    }

    #[test]
    fn what_comes_later_is_taken_hold_of_by_its_number() {
        assert_eq!(grip_on(5, 5), "6 false", "it is not there");
        assert_eq!(grip_on(6, 4), "6 false", "it is not alone");
        assert_eq!(grip_on(6, 5), "held");
        assert_eq!(grip_on(7, 5), "never", "another one comes after it");
        assert_eq!(grip_on(7, 6), "never", "it has been answered");
    }

    #[test]
    fn whoever_is_held_back_is_woken_and_whoever_waits_for_the_answer_is_told() {
        let session = session(1, 0, false);
        let counts = [Arc::new(Count::default()), Arc::new(Count::default())];
        let wakers = counts.each_ref().map(|count| Waker::from(Arc::clone(count)));
        let [writer, watcher] = wakers.each_ref().map(Context::from_waker);
        let woken = || counts.each_ref().map(|count| count.0.load(Ordering::Relaxed));
        assert!(!session.traffic().holds_back(&writer));
        let Grip::Held(hold) = Hold::grip(&session, 0) else { panic!("it is alone") };
        assert!(session.traffic().holds_back(&writer));
        let mut quiet = std::pin::pin!(session.traffic().quiet());
        let mut watcher = watcher;
        assert!(quiet.as_mut().poll(&mut watcher).is_pending());
        session.traffic().note_answered();
        assert_eq!(woken(), [0, 1]);
        assert!(quiet.as_mut().poll(&mut watcher).is_ready());
        drop(hold);
        assert_eq!(woken(), [1, 1]);
        assert!(!session.traffic().holds_back(&writer));
    }
>>>>>>> h-lim
}
