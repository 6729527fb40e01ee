//! Which requests are under way, and what holds back the next ones while the server is asked to cancel those.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::session::Session;

/// The requests of a session, by their numbers: the first one is 1. What only closes statements is none, since nobody waits for its answer.
#[derive(Default)]
pub(crate) struct Requests {
    /// How many have been sent to their end.
    sent: AtomicU64,
    /// How many of these have been answered.
    answered: AtomicU64,
    /// Whether another one has been sent in part.
    is_partial: AtomicBool,
    /// Whether nothing is sent or received any more.
    has_ended: AtomicBool,
    /// How many wait for an answer to something.
    askers: AtomicU32,
    is_held: AtomicBool,
    wakers: Mutex<Wakers>,
}

#[derive(Default)]
struct Wakers {
    /// Who wants to write.
    writer: Option<Waker>,
    /// Who waits for the answers.
    watcher: Option<Waker>,
}

/// Whether the server may be asked to cancel what somebody does not wait for any more.
#[derive(Debug)]
pub(crate) enum Grip {
    /// It may: this one request is under way and no other, and nothing is sent until the guard is dropped.
    Held(Hold),
    /// Not yet, since the request with this number is not there or not alone; others that somebody waits for may be in the way.
    Later { number: u64, others: bool },
    /// It is held back itself, or has asked nothing: another one is being cancelled.
    Behind,
    /// Nothing of it is under way, or it cannot be told from what others wait for.
    Never,
}

impl Requests {
    /// A request has been sent to its end. Only whoever holds the wire writes.
    pub(super) fn note_sent(&self) {
        self.sent.store(self.sent() + 1, Ordering::Release);
    }

    /// Whether a part of another one has been sent.
    pub(super) fn note_partial(&self, is_partial: bool) {
        self.is_partial.store(is_partial, Ordering::Release);
    }

    /// A request has been answered. Only whoever holds the wire reads.
    pub(super) fn note_answered(&self) {
        self.answered.store(self.answered() + 1, Ordering::Release);
        if self.is_held() {
            self.wake_watcher();
        }
    }

    /// The stream is gone, and with it whatever was held back.
    pub(super) fn note_end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.is_held.store(false, Ordering::Release);
        self.wake_watcher();
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// How many have been answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }

    /// Somebody asks something. How many requests were sent before.
    pub(crate) fn begin(&self) -> u64 {
        self.askers.fetch_add(1, Ordering::Relaxed);
        self.sent()
    }

    /// Somebody has been answered, or does not want to be any more.
    pub(crate) fn finish(&self) {
        self.askers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether nothing is sent for now.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }

    /// Whether nothing may be sent now; whoever asks is woken when it may.
    pub(super) fn holds_back(&self, context: &Context<'_>) -> bool {
        if !self.is_held() {
            return false;
        }
        self.wakers().writer = Some(context.waker().clone());
        // It may have been let go before the waker was there.
        self.is_held()
    }

    /// Whether nothing is under way.
    fn is_quiet(&self) -> bool {
        self.has_ended.load(Ordering::Acquire) || self.answered() == self.sent()
    }

    /// Whether all has been answered, and what comes next is held back nevertheless, since a cancellation is still on its way.
    pub(crate) fn is_held_for_nothing(&self) -> bool {
        self.is_held() && self.is_quiet()
    }

    /// Returns once nothing is under way.
    ///
    /// Cancel safety: nothing is lost.
    pub(crate) async fn quiet(&self) {
        // Owned across the await: nothing but a waker, which wakes in vain if the future is dropped.
        poll_fn(|context| {
            if self.is_quiet() {
                return Poll::Ready(());
            }
            self.wakers().watcher = Some(context.waker().clone());
            if self.is_quiet() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// What has become of a request of somebody who began when so many had been sent, waits for no more than one answer at a time, and now for none. For whoever holds the wire, after all that
    /// can be sent has been.
    fn find(&self, before: u64) -> Found {
        if self.has_ended.load(Ordering::Acquire) || self.askers.load(Ordering::Relaxed) > 0 {
            return Found::Lost;
        }
        let (sent, answered) = (self.sent(), self.answered());
        if self.is_held() {
            // What is held back has no number yet, and may never have one.
            let is_it = before < sent && answered < sent;
            return if is_it { Found::At { number: sent, others: false } } else { Found::Behind };
        }
        let number = sent + u64::from(self.is_partial.load(Ordering::Acquire));
        let is_one = number.checked_sub(answered.max(before)) == Some(1);
        if is_one { Found::At { number, others: answered < before } } else { Found::Lost }
    }

    /// Whether the request with this number is under way, all of it and no other one.
    fn is_alone(&self, number: u64) -> bool {
        !self.is_held()
            && self.sent() == number
            && self.answered() + 1 == number
            && !self.is_partial.load(Ordering::Acquire)
    }

    /// Whether the request with this number may still come to be alone under way.
    fn may_be_alone(&self, number: u64) -> bool {
        !self.has_ended.load(Ordering::Acquire) && self.sent() <= number && self.answered() < number
    }

    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_watcher(&self) {
        let watcher = self.wakers().watcher.take();
        watcher.into_iter().for_each(Waker::wake);
    }
}

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
        match session.requests().find(before) {
            Found::At { number, others } => Self::grip_on(session, number, others),
            Found::Behind => Grip::Behind,
            Found::Lost => Grip::Never,
        }
    }

    /// The same, for the request with this number.
    pub(crate) fn grip_on(session: &Arc<Session>, number: u64, others: bool) -> Grip {
        let requests = session.requests();
        if requests.is_alone(number) {
            requests.is_held.store(true, Ordering::Release);
            Grip::Held(Self(Arc::clone(session)))
        } else if requests.may_be_alone(number) {
            Grip::Later { number, others }
        } else {
            Grip::Never
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let requests = self.0.requests();
        requests.is_held.store(false, Ordering::Release);
        let writer = requests.wakers().writer.take();
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
        (0..sent).for_each(|_| session.requests().note_sent());
        (0..answered).for_each(|_| session.requests().note_answered());
        session.requests().note_partial(is_partial);
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
        session.requests().begin();
        assert!(matches!(Hold::grip(&session, 4), Grip::Never));
        session.requests().finish();
        assert!(matches!(Hold::grip(&session, 4), Grip::Held(_)));
        session.requests().note_end();
        assert!(matches!(Hold::grip(&session, 4), Grip::Never), "it has ended");
    }

    #[test]
    fn what_is_held_back_is_behind_what_is_being_cancelled() {
        let session = session(5, 4, false);
        let hold = Hold::grip(&session, 4);
        let seen = || {
            let grips = [4, 5].map(|before| show(&Hold::grip(&session, before)));
            (grips.join(", "), session.requests().is_held_for_nothing())
        };
        assert_eq!(seen(), ("5 false, behind".to_owned(), false), "the one is being cancelled, the other held back");
        session.requests().note_answered();
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
        assert!(!session.requests().holds_back(&writer));
        let Grip::Held(hold) = Hold::grip(&session, 0) else { panic!("it is alone") };
        assert!(session.requests().holds_back(&writer));
        let mut quiet = std::pin::pin!(session.requests().quiet());
        let mut watcher = watcher;
        assert!(quiet.as_mut().poll(&mut watcher).is_pending());
        session.requests().note_answered();
        assert_eq!(woken(), [0, 1]);
        assert!(quiet.as_mut().poll(&mut watcher).is_ready());
        drop(hold);
        assert_eq!(woken(), [1, 1]);
        assert!(!session.requests().holds_back(&writer));
    }
}
