//! What a server reports of its parameters.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So much is kept of a parameter's name and value.
pub(super) const PARAMETER: u16 = 4096;
/// So many are kept: a server has less than twenty that it reports.
const MOST: usize = 100;

/// Values by name. They are reported at the login, and whenever one has changed, which is rare.
#[derive(Debug, Default)]
pub(super) struct Parameters(Mutex<BTreeMap<String, String>>);

impl Parameters {
    pub(super) fn note(&self, name: &[u8], value: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let name = text(name);
        let mut all = self.lock();
        if all.len() < MOST || all.contains_key(&name) {
            all.insert(name, text(value));
        }
    }

    pub(super) fn all(&self) -> BTreeMap<String, String> {
        self.lock().clone()
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.lock().get(name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
