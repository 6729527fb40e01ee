//! What a trial comes to.

use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

/// What can go wrong without being the defect that is looked for.
pub(crate) type Tried<T> = Result<T, Box<dyn Error>>;

/// Tries one defect on the server of a URL.
pub(crate) type Trial = fn(String) -> Pin<Box<dyn Future<Output = Tried<Seen>>>>;

/// What was seen.
pub(crate) struct Seen {
    pub(crate) shows: bool,
    /// One line.
    pub(crate) said: String,
}

impl Seen {
    pub(crate) fn new(shows: bool, said: impl Into<String>) -> Self {
        Self { shows, said: said.into() }
    }

    /// What an attempt says that had so much time, and whether it has taken all of it; a defect if it does not say the word of the cause.
    pub(crate) fn failure(error: &str, cause: &str, took: Duration, patience: Duration) -> Self {
        let names_it = error.contains(cause);
        let short = if names_it { format!("... {cause} ...") } else { error.to_owned() };
        let when = if took < patience { "at once" } else { "after all of its time" };
        Self::new(!names_it, format!("\"{short}\", {when}"))
    }
}
