//! Which programs are looked for.

use std::path::PathBuf;

use crate::postgres::EphemeralError;
use crate::postgres::cache::Cache;
use crate::postgres::program::{Program, Wanted};
use crate::postgres::provision;

pub(super) const PROMETHEUS: Wanted = Wanted {
    what: "Prometheus",
    files: &["prometheus"],
    says: "prometheus, version ",
    variable: "POOL_PROMETHEUS",
    name: "name the program in POOL_PROMETHEUS",
    install: "apt-get install prometheus",
    way: Some(&provision::PROMETHEUS),
};

pub(super) const PROMTOOL: Wanted = Wanted {
    what: "promtool",
    files: &["promtool"],
    says: "promtool, version ",
    variable: "POOL_PROMTOOL",
    name: "name the program in POOL_PROMTOOL",
    ..PROMETHEUS
};

pub(super) const ALERTMANAGER: Wanted = Wanted {
    what: "Alertmanager",
    files: &["prometheus-alertmanager", "alertmanager"],
    says: "alertmanager, version ",
    variable: "POOL_ALERTMANAGER",
    name: "name the program in POOL_ALERTMANAGER",
    install: "apt-get install prometheus-alertmanager",
    way: Some(&provision::ALERTMANAGER),
};

pub(super) const AMTOOL: Wanted = Wanted {
    what: "amtool",
    files: &["amtool"],
    says: "amtool, version ",
    variable: "POOL_AMTOOL",
    name: "name the program in POOL_AMTOOL",
    ..ALERTMANAGER
};

pub(super) const CHROMEDRIVER: Wanted = Wanted {
    what: "chromedriver",
    files: &["chromedriver"],
    says: "ChromeDriver ",
    variable: "POOL_CHROMEDRIVER",
    name: "name the program in POOL_CHROMEDRIVER",
    install: "apt-get install chromium chromium-driver",
    way: None,
};

pub(super) const CHROMIUM: Wanted = Wanted {
    what: "Chromium",
    files: &["chromium", "chromium-browser", "google-chrome"],
    says: "",
    variable: "POOL_CHROMIUM",
    name: "name the program in POOL_CHROMIUM",
    ..CHROMEDRIVER
};

/// The cache, and a program that is found or fetched.
pub(super) fn find(wanted: &Wanted) -> Result<(Cache, Program), EphemeralError> {
    let lookup = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = Cache::open(lookup)?;
    let program = wanted.find(&cache, lookup)?;
    Ok((cache, program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_none_is_told_how_to_get_it() {
        let lookup = |name: &str| Some(PathBuf::from(if name == "HOME" { "/tmp" } else { "/bin/echo" }));
        let cache = Cache::open(|_| None).unwrap();
        let told = CHROMEDRIVER.find(&cache, lookup).unwrap_err().to_string();
        assert!(told.starts_with("POOL_CHROMEDRIVER: /bin/echo is not chromedriver, but "), "{told}");
        let nowhere = Wanted { files: &["no such program"], ..CHROMEDRIVER };
        let told = nowhere.find(&cache, |_| None).unwrap_err().to_string();
        assert!(told.contains("`apt-get install chromium chromium-driver`, or name the program in POOL_"), "{told}");
    }
}
