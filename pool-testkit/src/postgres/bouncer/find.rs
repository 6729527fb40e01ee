//! Looking for PgBouncer.

use super::super::program::Wanted;
use super::super::provision;

pub(super) const PGBOUNCER: Wanted = Wanted {
    what: "PgBouncer",
    files: &["pgbouncer"],
    says: "PgBouncer ",
    variable: "POOL_PGBOUNCER",
    name: "name the program in POOL_PGBOUNCER",
    install: "apt-get install pgbouncer",
    way: Some(&provision::PGBOUNCER),
};

#[cfg(test)]
mod tests {
    use super::super::super::account::Account;
    use super::super::super::cache::Cache;
    use super::*;

    #[test]
    fn what_is_none_is_told() {
        let cache = Cache { folder: std::env::temp_dir(), account: Account::Same };
        let asked =
            |path: &'static str| PGBOUNCER.find(&cache, move |name| (name == "POOL_PGBOUNCER").then(|| path.into()));
        let told = asked("/bin/echo").unwrap_err().to_string();
        assert!(told.starts_with("POOL_PGBOUNCER: /bin/echo is not PgBouncer, but "), "{told}");
        assert!(asked("/nonexistent").unwrap_err().to_string().starts_with("POOL_PGBOUNCER: /nonexistent: "));
    }
}
