//! Secrets that are found wherever they are told.
//!
//! Every password of the tests has [`MARK`] in it. A suite that calls [`listen`] ends with an error as soon as one is logged, by whomever and at whatever level; and what tests print, their errors and panics among it,
//! is searched by `.ci/run`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Once, OnceLock};

use tracing_subscriber::util::SubscriberInitExt;

/// What every password of the tests has in it.
pub const MARK: &str = "s3cr3t";

/// Listens, from now on and in all threads, to everything that is logged by `tracing` or `log`, and ends the process if there is a secret in it. Once is enough.
///
/// # Example
///
/// ```
/// pool_testkit::secrets::listen();
/// ```
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let logs = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        // If somebody else listens to all of it, the tests say so themselves.
        let _ = logs.with_writer(|| Listener).finish().try_init();
    });
}

/// As [`listen`], and has somebody hear every line, too. One for each process: another one hears nothing.
///
/// # Example
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// static LINES: AtomicUsize = AtomicUsize::new(0);
///
/// pool_testkit::secrets::listen_too(|_| _ = LINES.fetch_add(1, Ordering::Relaxed));
/// tracing::info!("one line");
/// assert_eq!(LINES.load(Ordering::Relaxed), 1);
/// ```
pub fn listen_too(hear: fn(&[u8])) {
    ALSO.get_or_init(|| hear);
    listen();
}

/// A text as SQL writes it, letter by letter, so that a statement with a password in it, which a server or a client may well log, does not have [`MARK`] in it.
///
/// # Example
///
/// ```
/// assert_eq!(pool_testkit::secrets::literal("ab"), r"U&'\+000061\+000062'");
/// ```
pub fn literal(text: &str) -> String {
    let letters = text.chars().fold(String::new(), |mut letters, letter| {
        let _ = write!(letters, r"\+{:06x}", u32::from(letter));
        letters
    });
    format!("U&'{letters}'")
}

/// Who hears every line, too.
static ALSO: OnceLock<fn(&[u8])> = OnceLock::new();

/// Hears one line of a log.
struct Listener;

impl Write for Listener {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if tells(line) {
            // Not by a panic, which somebody may catch, nor by `eprintln`, which is kept back in a test.
            let _ = io::stderr().write_all(&[b"a secret is logged: ", line].concat());
            std::process::abort();
        }
        if let Some(hear) = ALSO.get() {
            hear(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tells(line: &[u8]) -> bool {
    line.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_heard() {
        assert!(tells(b"password=s3cr3t horse") && !tells(b"password=(secret)"));
        // So that `.ci/run` knows that it sees what tests print.
        println!("{MARK} is looked for in what tests print");
        assert_eq!(Listener.write(b"all is well").unwrap(), 11);
    }
}
