//! The wall clock, for what is shown. It may be set back at any time, so that it never says what came first: numbers do, and the clock of the runtime.

#[cfg(not(test))]
pub(crate) fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

#[cfg(test)]
pub(crate) use settable::{now, set_back};

/// One that tests set, each for its own thread.
#[cfg(test)]
mod settable {
    use std::cell::Cell;
    use std::time::{Duration, SystemTime};

    thread_local! {
        static BEHIND: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    pub(crate) fn now() -> SystemTime {
        SystemTime::now() - BEHIND.get()
    }

    pub(crate) fn set_back(by: Duration) {
        BEHIND.set(BEHIND.get() + by);
    }
}
