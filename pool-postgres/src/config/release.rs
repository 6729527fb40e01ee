//! The keywords of what becomes of a session that comes back.

use super::error::Problems;
use super::field::{Field, field, put};
use super::{PostgresConfig, PostgresConfigError, ReleaseMode};

/// All of them.
pub(super) const RELEASE: [Field; 3] = [
    field(
        "pool_release",
        |config, value| put(&mut config.release.mode, value.parse()),
        |config| Some(config.release.mode.to_string()),
    ),
    field(
        "pool_release_sql",
        |config, value| {
            config.release.sql = Some(value.to_owned()).filter(|sql| !sql.is_empty());
            Ok(())
        },
        |config| config.release.sql.clone(),
    ),
    field(
        "pool_on_open_transaction",
        |config, value| put(&mut config.release.open_transaction, value.parse()),
        |config| Some(config.release.open_transaction.to_string()),
    ),
];

/// Checks that there are statements if they are to be executed, and only then, and that they leave the client what it needs.
pub(super) fn check(config: &PostgresConfig, problems: &mut Problems) {
    let release = &config.release;
    let is_custom = release.mode == ReleaseMode::Custom;
    match &release.sql {
        None if is_custom => problems.add(PostgresConfigError::Missing { field: "pool_release_sql" }),
        Some(sql) if is_custom => drop(problems.keep(check_sql(sql))),
        Some(_) => problems.add(PostgresConfigError::Conflict {
            one: "pool_release_sql".to_owned(),
            other: format!("pool_release={}", release.mode),
            why: "the statements would not be executed; custom will do",
        }),
        None => {}
    }
}

fn check_sql(sql: &str) -> Result<(), PostgresConfigError> {
    let words: Vec<_> = sql.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_all = |pair: &[&str]| {
        let verbs = ["discard", "deallocate"];
        pair[1].eq_ignore_ascii_case("all") && verbs.iter().any(|verb| pair[0].eq_ignore_ascii_case(verb))
    };
    let part = "pool_release_sql";
    if words.windows(2).any(is_all) {
        let problem = "DISCARD ALL and DEALLOCATE ALL take the statements with them that the client has prepared";
        return Err(PostgresConfigError::Malformed { part, problem });
    }
    let has_zero = sql.contains('\0');
    if has_zero { Err(PostgresConfigError::Malformed { part, problem: "there is a zero byte in it" }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{error, parse};
    use super::super::{OpenTransaction, ReleaseMode};

    #[test]
    fn what_becomes_of_a_session_is_said_in_words() {
        let release = |text: &str| parse(text).release;
        assert_eq!((release("").mode, release("").open_transaction), (ReleaseMode::Changed, OpenTransaction::RollBack));
        let custom = release("pool_release=custom pool_release_sql='RESET ALL; UNLISTEN *'");
        assert_eq!((custom.mode, custom.sql.as_deref()), (ReleaseMode::Custom, Some("RESET ALL; UNLISTEN *")));
        assert_eq!(release("pool_on_open_transaction=close").open_transaction, OpenTransaction::Close);
        for mode in ["fast", "verified", "clean", "changed"] {
            assert_eq!(release(&format!("pool_release={mode}")).mode.to_string(), mode);
        }
    }

    #[test]
    fn statements_and_their_mode_belong_together() {
        assert!(error("pool_release=custom").contains("pool_release_sql"));
        assert!(error("pool_release_sql='RESET ALL'").contains("pool_release=changed"));
        let words = "changed, fast, verified, clean, custom";
        assert!(error("pool_release=never").ends_with(words), "{}", error("pool_release=never"));
        for sql in ["DISCARD ALL", "reset all; discard\n all", "DEALLOCATE  ALL"] {
            let text = error(&format!("pool_release=custom pool_release_sql='{sql}'"));
            assert!(text.contains("pool_release_sql") && text.contains("the client has prepared"), "{text}");
        }
        parse("pool_release=custom pool_release_sql='DISCARD TEMP; RESET ALL'");
    }
}
