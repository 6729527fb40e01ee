//! A driver that is attached to the statistics of its pool.

use std::sync::{Arc, Mutex};

use pool_core::{Attempt, Driver, ErrorClass, Pool, Recorder, SessionState};

use crate::common::{SECOND, quiet};

/// Keeps what it is attached by, and tells when it is dropped; or panics.
struct Attached {
    recorder: Mutex<Option<Recorder>>,
    alive: Arc<()>,
    panics: bool,
}

impl Driver for Attached {
    type Connection = ();
    type Error = std::io::Error;

    fn attach(&self, recorder: Recorder) {
        assert!(!self.panics, "told to panic when it is attached");
        self.recorder.lock().unwrap().replace(recorder);
    }

    async fn connect(&self, _: &Attempt) -> Result<(), std::io::Error> {
        Ok(())
    }

    fn inspect(&self, (): &mut ()) -> SessionState {
        SessionState::Clean
    }

    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_keeps_no_pool_alive() {
    let alive = Arc::new(());
    let driver = Attached { recorder: Mutex::default(), alive: Arc::clone(&alive), panics: false };
    let pool = Pool::builder(driver).config(quiet(1)).build().unwrap();
    let recorder = pool.driver().recorder.lock().unwrap().clone().unwrap();
    drop(pool.acquire().await.unwrap());
    pool.close().await;
    drop(pool);
    tokio::time::sleep(SECOND).await;
    assert_eq!(Arc::strong_count(&alive), 1, "the driver is gone, and its pool");
    recorder.record_execution(SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_cannot_be_attached_works_all_the_same() {
    let driver = Attached { recorder: Mutex::default(), alive: Arc::default(), panics: true };
    let pool = Pool::builder(driver).config(quiet(1)).build().unwrap();
    drop(pool.acquire().await.unwrap());
    assert_eq!(Arc::strong_count(&pool.driver().alive), 1);
    pool.close().await;
}
