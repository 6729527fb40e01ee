//! axe-core, which finds in a page what keeps people out of it.

use std::fs;

use crate::postgres::EphemeralError;
use crate::postgres::cache::Cache;
use crate::postgres::error::During;
use crate::postgres::provision::AXE;

/// The text of axe-core, to be run in a page; afterwards the page has `axe.run()`. It is fetched with npm once, of one version.
///
/// # Errors
///
/// If it is not in the cache and npm cannot fetch it, or fetches another one.
pub fn axe_core() -> Result<String, EphemeralError> {
    let cache = Cache::open(|name| std::env::var_os(name).map(Into::into))?;
    let _lock = cache.lock(AXE.package())?;
    if AXE.folders_in(&cache.folder, None).is_err() {
        AXE.fetch(&cache, None).during(|| "fetching axe-core, which takes npm".to_owned())?;
    }
    let (folder, _) = AXE.folders_in(&cache.folder, None).during(|| "looking for axe-core".to_owned())?;
    let path = folder.join("axe.min.js");
    fs::read_to_string(&path).during(|| format!("reading {}", path.display()))
}
