//! Which requests are under way, and what holds back the next ones while the server is asked to cancel those.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::place::Place;
use super::session::Session;
use crate::query::Query;

/// The requests of a session, by their numbers: the first one is 1. What only closes statements is none, since nobody waits for its answer.
#[derive(Default)]
pub(crate) struct Requests {
    /// How many have been sent to their end.
    sent: AtomicU64,
    /// How many of these have been answered.
    answered: AtomicU64,
    /// Whether another one has been sent in part.
    is_partial: AtomicBool,
    /// Whether the stream did not take all that it was given last.
    is_stuck: AtomicBool,
    /// Whether nothing is sent or received any more.
    has_ended: AtomicBool,
    /// How many wait for an answer to something.
    askers: AtomicU32,
    /// The place of the last of these who has asked.
    last: AtomicU64,
    /// How many had been sent when one of them was last found to have a place of which others cannot tell what became, and one more.
    muddled: AtomicU64,
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
    /// It may: what is under way is this request, and perhaps others for which nobody waits any more either; and nothing is sent until the guard is dropped.
    Held(Hold),
    /// Not yet, since it is not there or not alone; others that somebody waits for may be in the way.
    Later { target: Target, others: bool },
    /// It is held back itself, or has asked nothing: another one is being cancelled.
    Behind(Target),
    /// Nothing of it is under way, or it cannot be told from what others wait for.
    Never,
}

/// Which request is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Those with the numbers from the first to the last of these.
    Numbers(u64, u64),
    /// The one with this place.
    Place(Place),
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

    /// Somebody asks something.
    pub(crate) fn begin(&self, query: &Query<'_>) {
        query.terms.asked.expect();
        self.askers.fetch_add(1, Ordering::Relaxed);
    }

    /// The client is given a request of his, or the next one, without an await in between.
    pub(crate) fn ask(&self, query: &Query<'_>) {
        if !query.terms.asked.is_expected() {
            return;
        }
        let place = Place { before: self.begun(), count: 1 };
        let place = if self.is_asked_alone() { place } else { self.behind(place) };
        self.last.store(place.pack(), Ordering::Relaxed);
        query.terms.asked.note(place);
    }

    /// Whether nobody else waits for anything, as far as one who asks can tell.
    pub(crate) fn is_asked_alone(&self) -> bool {
        self.askers.load(Ordering::Relaxed) <= 1
    }

    /// Whether several wait for answers.
    pub(crate) fn are_many(&self) -> bool {
        self.askers.load(Ordering::Relaxed) > 1
    }

    /// What others have asked may still be in the client's queue.
    fn behind(&self, place: Place) -> Place {
        let last = Place::unpack(self.last.load(Ordering::Relaxed));
        if last.before == place.before { Place { count: last.count + 1, ..place } } else { place }
    }

    /// Of what somebody has asked, others cannot tell what has become: it was perhaps not sent, or goes on though he has what he has waited for.
    pub(crate) fn muddle(&self) {
        // Not a store: another one may have looked later, and been faster.
        self.muddled.fetch_max(self.sent() + 1, Ordering::Release);
    }

    /// What he has asked last has failed, perhaps before it was sent: then nobody is behind it. If it was sent after all, whoever asks next cannot be told from it, or is behind all that was.
    pub(crate) fn give_back(&self, query: &Query<'_>) {
        self.muddle();
        if let Some(place) = Self::place(query) {
            let ahead = Place { count: place.count - 1, ..place };
            // If others have asked since, these stay where they are.
            let _ = self.last.compare_exchange(place.pack(), ahead.pack(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// What he has asked last, if he has asked anything.
    pub(crate) fn place(query: &Query<'_>) -> Option<Place> {
        query.terms.asked.place()
    }

    /// Whether anybody waits for an answer who has not said that he does not want to any more.
    pub(crate) fn are_awaited(&self) -> bool {
        self.askers.load(Ordering::Relaxed) > 0
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

    /// Whether more may become known of what cannot be found: something is under way, or is being cancelled.
    pub(crate) fn may_tell_more(&self) -> bool {
        self.is_held() || !self.is_quiet()
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

    /// How many have been sent, or begun to be.
    fn begun(&self) -> u64 {
        self.sent() + u64::from(self.is_partial.load(Ordering::Acquire))
    }

    /// The stream has taken all that it was given, or has not. Only whoever holds the wire writes.
    pub(super) fn note_stuck(&self, is_stuck: bool) {
        if self.is_stuck.load(Ordering::Relaxed) != is_stuck {
            self.is_stuck.store(is_stuck, Ordering::Release);
        }
    }

    /// Whether nothing of what the client has been given is left to be sent, after all that can be has been.
    pub(crate) fn is_drained(&self) -> bool {
        !self.is_partial.load(Ordering::Acquire) && !self.is_stuck.load(Ordering::Acquire)
    }

    /// What has become of a request with this place, for which nobody waits any more. For whoever holds the wire, after all that can be sent has been.
    fn find(&self, place: Place) -> Found {
        let since = self.begun().saturating_sub(place.before);
        if self.has_ended.load(Ordering::Acquire) || since > place.count {
            return Found::Lost;
        }
        let others = self.answered() < place.before;
        if self.is_held() {
            // What is held back has no number yet, and may never have one.
            if since > 0 && !self.is_quiet() { Found::Later { others: false } } else { Found::Behind }
        } else if !self.is_drained() {
            Found::Later { others }
        } else if self.is_past_telling(place, since) {
            Found::Lost
        } else if others {
            Found::Later { others }
        } else {
            Found::Here
        }
    }

    /// Whether nothing more can become known of what has this place, though all has been sent, and so many since: it was not, or has been answered, or cannot be told from what others wait for.
    fn is_past_telling(&self, place: Place, since: u64) -> bool {
        since < place.count || self.is_quiet() || self.is_muddled(place)
    }

    /// Whether what has this place cannot be told from what others wait for.
    fn is_muddled(&self, place: Place) -> bool {
        let is_one_of_many = place.count > 1;
        is_one_of_many && (self.are_awaited() || self.muddled.load(Ordering::Acquire) > place.before)
    }

    /// Whether requests with these numbers are under way, all of the last of them and no other one.
    fn are_alone(&self, first: u64, last: u64) -> bool {
        !self.is_held() && self.sent() == last && (first..=last).contains(&(self.answered() + 1)) && self.is_drained()
    }

    /// Whether requests up to that with this number may still come to be alone under way.
    fn may_be_alone(&self, last: u64) -> bool {
        !self.has_ended.load(Ordering::Acquire) && self.sent() <= last && self.answered() < last
    }

    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_watcher(&self) {
        let watcher = self.wakers().watcher.take();
        watcher.into_iter().for_each(Waker::wake);
    }
}

/// What has become of a request that is looked for.
enum Found {
    /// It is under way, and so is nothing that anybody waits for.
    Here,
    Later {
        others: bool,
    },
    Behind,
    Lost,
}

/// While it is there, the session sends nothing.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub(crate) struct Hold(Arc<Session>);

impl Hold {
    /// Takes hold of a request for which nobody waits any more. For whoever holds the wire, after all that can be sent has been.
    pub(crate) fn grip(session: &Arc<Session>, target: Target) -> Grip {
        let requests = session.requests();
        let found = match target {
            Target::Place(place) => requests.find(place),
            Target::Numbers(first, last) if requests.are_alone(first, last) => Found::Here,
            Target::Numbers(_, last) if requests.may_be_alone(last) => Found::Later { others: false },
            Target::Numbers(..) => Found::Lost,
        };
        match found {
            Found::Here => {
                requests.is_held.store(true, Ordering::Release);
                Grip::Held(Self(Arc::clone(session)))
            }
            Found::Later { others } => Grip::Later { target, others },
            Found::Behind => Grip::Behind(target),
            Found::Lost => Grip::Never,
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

    fn grip(sent: u64, answered: u64, is_partial: bool, before: u64) -> String {
        show(&Hold::grip(&session(sent, answered, is_partial), Target::Place(place(before, 1))))
    }

    fn place(before: u64, count: u64) -> Place {
        Place { before, count }
    }

    fn show(grip: &Grip) -> String {
        match grip {
            Grip::Held(_) => "held".to_owned(),
            Grip::Later { others: false, .. } => "later".to_owned(),
            Grip::Later { others: true, .. } => "after others".to_owned(),
            Grip::Behind(_) => "behind".to_owned(),
            Grip::Never => "never".to_owned(),
        }
    }

    #[test]
    fn only_what_is_alone_under_way_is_taken_hold_of() {
        assert_eq!(grip(5, 4, false, 4), "held", "it was the only one");
        assert_eq!(grip(5, 4, false, 3), "never", "it may have been answered, and that be another one's");
        assert_eq!(grip(5, 5, false, 4), "never", "it has been answered");
        assert_eq!(grip(5, 5, false, 5), "never", "it has asked nothing");
        assert_eq!(grip(5, 4, false, 5), "never", "that is another one's");
        assert_eq!(grip(4, 4, true, 4), "later", "it has not been sent to its end");
        assert_eq!(grip(6, 4, false, 5), "after others", "another one is ahead of it");
        assert_eq!(grip(6, 4, false, 4), "never", "one of the two is another one's");
        assert_eq!(grip(5, 4, true, 4), "never", "another one comes after it");
    }

    fn held(session: &Arc<Session>, place: Place) -> String {
        show(&Hold::grip(session, Target::Place(place)))
    }

    #[test]
    fn what_was_asked_together_is_taken_hold_of_together() {
        let session = session(6, 4, false);
        assert_eq!(held(&session, place(4, 2)), "held", "both are of those who do not wait any more");
        assert_eq!(held(&session, place(4, 1)), "never", "it may be the other one");
        assert_eq!(held(&session, place(4, 3)), "never", "it was not sent");
        session.requests().note_stuck(true);
        assert_eq!(held(&session, place(4, 3)), "later", "it is in the queue");
        session.requests().note_stuck(false);
        session.requests().note_answered();
        assert_eq!(held(&session, place(4, 2)), "held", "the other one has been answered");
        session.requests().askers.fetch_add(1, Ordering::Relaxed);
        assert_eq!(held(&session, place(4, 2)), "never", "it may be of the one who waits");
        assert_eq!(held(&session, place(4, 2).after(5)), "held", "that has been answered for sure");
        session.requests().finish();
        session.requests().muddle();
        assert_eq!(held(&session, place(4, 2)), "never", "one goes on that nobody waits for");
        session.requests().note_end();
        assert_eq!(held(&session, place(5, 1)), "never", "it has ended");
    }

    #[test]
    fn whoever_asks_while_others_do_is_behind_them() {
        let session = session(5, 5, false);
        let requests = session.requests();
        let queries = ["a", "b", "c"].map(Query::from);
        let places = || queries.each_ref().map(Requests::place);
        requests.ask(&queries[0]);
        assert_eq!(places(), [None; 3], "nobody keeps watch over it");
        for query in &queries {
            requests.begin(query);
        }
        assert_eq!(places(), [None; 3], "nothing is asked");
        for query in &queries {
            requests.ask(query);
        }
        assert_eq!(places(), [1, 2, 3].map(|count| Some(place(5, count))));
        requests.note_sent();
        requests.ask(&queries[1]);
        requests.note_partial(true);
        requests.ask(&queries[0]);
        assert_eq!(places(), [place(7, 1), place(6, 1), place(5, 3)].map(Some), "what is sent is not in the queue");
        assert_eq!(Requests::place(&queries[0].clone()), None);
        requests.give_back(&queries[0]);
        requests.ask(&queries[2]);
        assert_eq!(Requests::place(&queries[2]), Some(place(7, 1)), "nobody is behind what was not sent");
        requests.ask(&queries[1]);
        requests.give_back(&queries[2]);
        requests.ask(&queries[0]);
        assert_eq!(Requests::place(&queries[0]), Some(place(7, 3)), "others have asked since");
    }

    #[test]
    fn what_is_held_back_is_behind_what_is_being_cancelled() {
        let session = session(5, 4, false);
        let hold = Hold::grip(&session, Target::Place(place(4, 1)));
        let seen = || {
            let grips = [4, 5].map(|before| held(&session, place(before, 1)));
            (grips.join(", "), session.requests().is_held_for_nothing())
        };
        assert_eq!(seen(), ("later, behind".to_owned(), false), "the one is being cancelled, the other held back");
        session.requests().note_answered();
        assert_eq!(seen(), ("behind, behind".to_owned(), true), "its next step may be held back");
        drop(hold);
    }

    /// As with [`grip`], of the request with the number 6.
    fn grip_on(sent: u64, answered: u64) -> String {
        show(&Hold::grip(&session(sent, answered, false), Target::Numbers(6, 6)))
    }

    #[test]
    fn what_comes_later_is_taken_hold_of_by_its_number() {
        assert_eq!(grip_on(5, 5), "later", "it is not there");
        assert_eq!(grip_on(6, 4), "later", "it is not alone");
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
        let Grip::Held(hold) = Hold::grip(&session, Target::Numbers(1, 1)) else { panic!("it is alone") };
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
