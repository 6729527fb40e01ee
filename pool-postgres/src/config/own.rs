//! The keywords that neither libpq nor every pool has: of statements here, and of what else there is.

use std::str::FromStr;

use super::PostgresConfigError;
use super::field::{Field, put};
use super::limits::LIMITS;
use super::multiplexing::MULTIPLEXING;
use super::release::RELEASE;
use crate::statements::{CACHE, PREPARE_AFTER, WARM};

/// All of them.
pub(super) fn fields() -> impl Iterator<Item = &'static Field> {
    STATEMENTS.iter().chain(&RELEASE).chain(&LIMITS).chain(&MULTIPLEXING)
}

/// Those of statements.
const STATEMENTS: [Field; 4] = [
    Field {
        keyword: "pool_statement_mode",
        set: |config, value| put(&mut config.statements.mode, value.parse()),
        get: |config| Some(config.statements.mode.to_string()),
    },
    Field {
        keyword: "pool_statement_cache",
        set: |config, value| {
            put(&mut config.statements.cache, number("pool_statement_cache", value, CACHE))?;
            // A small one takes what is prepared in advance down with it.
            config.statements.warm = config.statements.warm.min(config.statements.cache);
            Ok(())
        },
        get: |config| Some(config.statements.cache.to_string()),
    },
    Field {
        keyword: "pool_prepare_after",
        set: |config, value| {
            put(&mut config.statements.prepare_after, number("pool_prepare_after", value, PREPARE_AFTER))
        },
        get: |config| Some(config.statements.prepare_after.to_string()),
    },
    Field {
        keyword: "pool_warm_statements",
        set: |config, value| put(&mut config.statements.warm, number("pool_warm_statements", value, WARM)),
        get: |config| Some(config.statements.warm.to_string()),
    },
];

fn number<T: FromStr>(keyword: &'static str, value: &str, allowed: &'static str) -> Result<T, PostgresConfigError> {
    value.parse().map_err(|_| PostgresConfigError::value(keyword, value, allowed))
}
