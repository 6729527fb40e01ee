//! The program of benches/seen, built twice.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// With tracing, metrics and an observer.
    Seen,
    /// Without.
    Blind,
}

impl Build {
    fn feature(self) -> &'static str {
        match self {
            Self::Seen => "seeing",
            Self::Blind => "blind",
        }
    }

    /// A folder of its own, or cargo would build one over the other.
    fn folder(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/seen").join(self.feature())
    }

    /// Builds it. The error says what is to be done.
    pub(crate) fn build(self) -> Result<(), String> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/seen/Cargo.toml");
        cargo.args(["build", "--quiet", "--release", "--locked", "--manifest-path", manifest]);
        cargo.args(["--features", self.feature()]).env("CARGO_TARGET_DIR", self.folder());
        match cargo.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("benches/seen cannot be built ({status}), for the reason above")),
            Err(error) => Err(format!("cargo cannot be started to build benches/seen: {error}")),
        }
    }

    /// What it measures of a load for so long.
    pub(crate) fn measure(self, load: &str, time: Duration) -> Result<f64, String> {
        let program = self.folder().join("release/seen");
        let output = Command::new(program).args([load, &time.as_millis().to_string()]).output();
        let output = output.map_err(|error| format!("benches/seen cannot be started: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = || format!("benches/seen has failed: {}", String::from_utf8_lossy(&output.stderr));
        said.trim().parse().map_err(|_| failed())
    }
}
