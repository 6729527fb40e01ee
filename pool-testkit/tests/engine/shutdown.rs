//! A runtime that ends while the janitor is at work on it.

use std::future::Future;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use pool_testkit::fake::{Call, FakeDriver, Step, prove_nothing_lost};
use tokio::runtime::Builder;

use crate::common::quiet_pool;

/// Long enough for any machine: only a test that fails waits for as long.
const LONG: Duration = Duration::from_secs(20);

/// A waker that keeps whoever wakes it until it is let go.
struct Gatekeeper {
    entered: Sender<()>,
    let_go: Mutex<Receiver<()>>,
}

impl Wake for Gatekeeper {
    fn wake(self: Arc<Self>) {
        self.entered.send(()).unwrap();
        self.let_go.lock().unwrap().recv_timeout(LONG).unwrap();
    }
}

/// A waker that tells.
struct Messenger(Sender<()>);

impl Wake for Messenger {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// Tells when it is dropped.
struct Canary(Sender<()>);

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn a_janitor_whose_runtime_ends_does_not_go_on_opening() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Hold);
    let pool = quiet_pool(&driver, 4);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let inside = runtime.enter();
    let ((entered, has_entered), (let_go, may_go)) = (channel(), channel());
    let gatekeeper: Waker = Arc::new(Gatekeeper { entered, let_go: Mutex::new(may_go) }).into();
    let mut expiring = Box::pin(pool.acquire_timeout(Duration::from_millis(1)));
    assert!(expiring.as_mut().poll(&mut Context::from_waker(&gatekeeper)).is_pending());
    // The janitor ends this wait, and stands still inside the waker. Meanwhile somebody comes who needs an opener.
    has_entered.recv_timeout(LONG).unwrap();
    let (woken, is_woken) = channel();
    let mut waiting = Box::pin(pool.acquire());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&Arc::new(Messenger(woken)).into())).is_pending());
    // The other thread of the runtime ends all its tasks but the janitor, which is at work.
    let (dropped, is_dropped) = channel();
    let canary = Canary(dropped);
    runtime.spawn(async move {
        let _canary = canary;
        std::future::pending::<()>().await;
    });
    drop(inside);
    runtime.shutdown_background();
    is_dropped.recv_timeout(LONG).unwrap();
    let_go.send(()).unwrap();
    is_woken.recv_timeout(LONG).expect("the janitor ends, and tells those who relied on it");
    drop((expiring, waiting));
    driver.recover();
    // On a real clock: the attempt that was under way has its place until the threads of that runtime have come to it.
    Builder::new_current_thread().enable_time().build().unwrap().block_on(prove_nothing_lost(&pool, &driver));
}
