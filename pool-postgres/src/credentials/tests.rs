use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{JoinSet, yield_now};
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::credentials::CredentialsError;

/// A minute and a second.
const LONG: Duration = Duration::from_secs(61);

/// Answers with a password of the call's number, after a while.
struct Numbered {
    calls: Arc<AtomicU64>,
    takes: Duration,
    valid_for: Option<Duration>,
    by_host: bool,
    answer: fn(u64) -> Result<(), CredentialsError>,
}

impl CredentialsProvider for Numbered {
    async fn credentials(&self, _: CredentialsRequest) -> Result<Credentials, CredentialsError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        sleep(self.takes).await;
        (self.answer)(number)?;
        Ok(Credentials { valid_for: self.valid_for, ..Credentials::new(number.to_string()) })
    }

    fn differ_by_host(&self) -> bool {
        self.by_host
    }
}

/// A cache of a provider, and its number of calls.
fn cache(change: impl FnOnce(&mut Numbered)) -> (Arc<Cache>, impl Fn() -> u64) {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let (takes, valid_for) = (Duration::from_millis(10), Some(Duration::from_mins(10)));
    let mut provider = Numbered { calls, takes, valid_for, by_host: false, answer: |_| Ok(()) };
    change(&mut provider);
    (Arc::new(Cache::new(provider)), move || counted.load(Ordering::Relaxed))
}

fn request(host: &str) -> CredentialsRequest {
    CredentialsRequest { host: Host::new(host, 5432), user: "u".to_owned(), database: "d".to_owned() }
}

/// The password that is got, or the failure.
async fn get(cache: &Cache) -> Result<String, String> {
    got(cache.get(&request("h"), None).await)
}

fn got(outcome: Outcome) -> Result<String, String> {
    outcome.map(|it| it.password.reveal().to_owned()).map_err(|failure| failure.to_string())
}

/// Lets everything run that can.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_good_is_asked_for_once() {
    let (cache, calls) = cache(|_| {});
    assert_eq!(get(&cache).await.unwrap(), "1");
    advance(Duration::from_mins(8)).await;
    assert_eq!((get(&cache).await.unwrap().as_str(), calls()), ("1", 1));
}

#[tokio::test(start_paused = true)]
async fn many_who_want_to_know_make_one_call() {
    let (cache, calls) = cache(|_| {});
    let mut all = JoinSet::new();
    for _ in 0..50 {
        let cache = Arc::clone(&cache);
        all.spawn(async move { get(&cache).await });
    }
    assert!(all.join_all().await.into_iter().all(|got| got.unwrap() == "1"));
    assert_eq!(calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_without_whoever_began_it() {
    let (cache, calls) = cache(|_| {});
    let short = Duration::from_millis(4);
    assert!(timeout(short, get(&cache)).await.is_err(), "it takes longer");
    let waiting = tokio::spawn({
        let cache = Arc::clone(&cache);
        async move { get(&cache).await }
    });
    settle().await;
    assert!(timeout(short, get(&cache)).await.is_err(), "and so for the next");
    assert_eq!((waiting.await.unwrap().unwrap().as_str(), calls()), ("1", 1));
    advance(Duration::from_mins(10)).await;
    assert!(timeout(short, get(&cache)).await.is_err(), "it has ended");
    sleep(Duration::from_millis(20)).await;
    assert_eq!((get(&cache).await.unwrap().as_str(), calls()), ("2", 2), "nobody has waited for it to the end");
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_not_used_any_more() {
    let (cache, calls) = cache(|it| it.takes = Duration::from_secs(1));
    get(&cache).await.unwrap();
    // Good since it was asked for.
    advance(Duration::from_secs(599)).await;
    assert_eq!((get(&cache).await.unwrap().as_str(), calls()), ("2", 2));
}

#[tokio::test(start_paused = true)]
async fn what_ends_soon_is_asked_for_again_while_it_is_used() {
    let (cache, calls) = cache(|_| {});
    get(&cache).await.unwrap();
    advance(Duration::from_secs(539)).await;
    get(&cache).await.unwrap();
    settle().await;
    assert_eq!(calls(), 1, "a minute and a second before");
    advance(Duration::from_secs(1)).await;
    for _ in 0..3 {
        assert_eq!(get(&cache).await.unwrap(), "1", "at once");
    }
    settle().await;
    assert_eq!(calls(), 2);
    sleep(Duration::from_millis(20)).await;
    assert_eq!(get(&cache).await.unwrap(), "2");
    assert_eq!(calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_lives_shortly_is_asked_for_again_in_the_last_fifth() {
    let (cache, calls) = cache(|it| it.valid_for = Some(Duration::from_secs(10)));
    get(&cache).await.unwrap();
    advance(Duration::from_millis(7980)).await;
    get(&cache).await.unwrap();
    settle().await;
    assert_eq!(calls(), 1);
    advance(Duration::from_millis(20)).await;
    get(&cache).await.unwrap();
    settle().await;
    assert_eq!(calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_ahead_fails_nobody_and_is_made_up_for_later() {
    let fails = |number| if number == 2 { Err("closed for lunch".into()) } else { Ok(()) };
    let (cache, calls) = cache(|it| it.answer = fails);
    get(&cache).await.unwrap();
    advance(Duration::from_secs(541)).await;
    get(&cache).await.unwrap();
    sleep(Duration::from_millis(20)).await;
    for _ in 0..3 {
        assert_eq!(get(&cache).await.unwrap(), "1");
        settle().await;
    }
    assert_eq!(calls(), 2, "not at once");
    advance(Duration::from_secs(6)).await;
    get(&cache).await.unwrap();
    sleep(Duration::from_millis(20)).await;
    assert_eq!((get(&cache).await.unwrap().as_str(), calls()), ("3", 3));
}

#[tokio::test(start_paused = true)]
async fn what_is_good_for_no_time_is_for_those_who_wait_for_it() {
    let (cache, calls) = cache(|it| it.valid_for = Some(Duration::ZERO));
    let both = tokio::join!(get(&cache), get(&cache));
    assert_eq!(both, (Ok("1".to_owned()), Ok("1".to_owned())));
    assert_eq!((get(&cache).await.unwrap().as_str(), calls()), ("2", 2));
}

#[tokio::test(start_paused = true)]
async fn what_never_ends_is_kept_until_it_is_refused() {
    let (cache, calls) = cache(|it| it.valid_for = None);
    get(&cache).await.unwrap();
    advance(LONG * 10_000_000).await;
    let first = cache.get(&request("h"), None).await.unwrap();
    assert_eq!((first.password.reveal(), calls()), ("1", 1));
    let mut all = JoinSet::new();
    for _ in 0..10 {
        let (cache, first) = (Arc::clone(&cache), Arc::clone(&first));
        all.spawn(async move { got(cache.get(&request("h"), Some(&first)).await) });
    }
    assert!(all.join_all().await.into_iter().all(|got| got.unwrap() == "2"));
    assert_eq!(calls(), 2, "one for all who were refused");
    assert_eq!(got(cache.get(&request("h"), Some(&first)).await).unwrap(), "2");
    assert_eq!((get(&cache).await.unwrap().as_str(), calls()), ("2", 2), "there are others already");
}

/// Only what was asked for after the refusal is sure to be new.
#[tokio::test(start_paused = true)]
async fn a_call_from_before_the_refusal_does_not_count() {
    let (cache, calls) = cache(|it| it.takes = Duration::from_secs(1));
    let first = cache.get(&request("h"), None).await.unwrap();
    advance(Duration::from_secs(545)).await;
    get(&cache).await.unwrap();
    settle().await;
    assert_eq!(calls(), 2, "ahead");
    assert_eq!(got(cache.get(&request("h"), Some(&first)).await).unwrap(), "3");
    assert_eq!((get(&cache).await.unwrap().as_str(), calls()), ("3", 3));
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_are_told_of_a_failure_and_the_next_asks_again() {
    let (cache, calls) = cache(|it| it.answer = |number| if number == 1 { Err("closed".into()) } else { Ok(()) });
    let both = tokio::join!(get(&cache), get(&cache));
    assert_eq!(both, (Err("the provider failed: closed".to_owned()), Err("the provider failed: closed".to_owned())));
    assert_eq!((get(&cache).await.unwrap().as_str(), calls()), ("2", 2));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_or_panics_is_a_failure() {
    let hangs = Cache::new(async |_| pending().await);
    assert_eq!(get(&hangs).await.unwrap_err(), "it took longer than 10s");
    let panics = Cache::new(|_| -> std::future::Ready<_> { panic!("at once") });
    assert_eq!(get(&panics).await.unwrap_err(), "the provider panicked: at once");
    let panics = Cache::new(async |_| panic!("in its {}", "future"));
    assert_eq!(get(&panics).await.unwrap_err(), "the provider panicked: in its future");
}

/// Whoever waits is not left behind by the end of the runtime that the call was on.
#[test]
fn a_call_that_ended_with_its_runtime_is_made_again() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (cache, calls) = cache(|it| it.takes = Duration::from_millis(1));
    let first = runtime();
    first.block_on(async { assert!(timeout(Duration::ZERO, get(&cache)).await.is_err()) });
    drop(first);
    assert_eq!(runtime().block_on(get(&cache)).unwrap(), calls().to_string());
}

#[tokio::test(start_paused = true)]
async fn each_server_has_its_own_if_they_differ() {
    for (by_host, calls_made) in [(false, 1), (true, 2)] {
        let (cache, calls) = cache(|it| it.by_host = by_host);
        for host in ["a", "b", "a", "b"] {
            cache.get(&request(host), None).await.unwrap();
        }
        assert_eq!(calls(), calls_made);
    }
}

/// A call for a pool that is gone is for nobody.
#[tokio::test(start_paused = true)]
async fn a_call_ends_with_its_cache() {
    struct Told(Option<tokio::sync::oneshot::Sender<()>>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.take().map(|sender| sender.send(()));
        }
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let told = Mutex::new(Some(Told(Some(sender))));
    let cache = Cache::new(move |_| {
        let told = told.lock().unwrap().take();
        async move {
            let _told = told;
            pending().await
        }
    });
    assert!(timeout(Duration::from_millis(1), get(&cache)).await.is_err());
    drop(cache);
    timeout(Duration::from_secs(1), receiver).await.expect("long before its timeout").unwrap();
}

#[test]
fn a_password_is_shown_by_nobody() {
    let credentials = Credentials::new("swordfish").user("u").valid_until(std::time::SystemTime::UNIX_EPOCH);
    assert_eq!(credentials.valid_for, Some(Duration::ZERO));
    let (cache, _) = cache(|_| {});
    let text = format!("{credentials:?} {cache:?}");
    assert!(!text.contains("swordfish") && text.contains("user"), "{text}");
}
