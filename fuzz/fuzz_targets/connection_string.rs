//! Any text is parsed or refused, and what was parsed does not show its password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pool_postgres::PostgresConfig;

fuzz_target!(|text: &str| {
    let Ok(mut config) = text.parse::<PostgresConfig>() else { return };
    let shown = format!("{config:?}");
    let Some(password) = config.password.take() else { return };
    // A short word, or one that is also the name of the user, occurs by other ways.
    let other = format!("{config:?}");
    let secret = password.reveal();
    assert!(secret.len() < 9 || other.contains(secret) || !shown.contains(secret));
});
