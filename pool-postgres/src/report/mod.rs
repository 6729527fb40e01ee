//! What the driver tells of itself to those who look at its pool: metrics, settings, servers.

mod families;
mod masked;
mod servers;

use pool_core::Description;

use crate::driver::PostgresDriver;
use families::Count;
use servers::Survey;

/// What stands before the names of its settings: the pool has some of the same name.
const OWN: &str = "postgres.";

/// Tells everything. Counts are read one after the other, each connection is looked at once.
pub(crate) fn describe(driver: &PostgresDriver, description: &mut Description) {
    let (mut survey, mut now) = (Survey::new(&driver.config().hosts), Count::default());
    let totals = driver.cluster.settings.ledger.read(|account| {
        survey.add(account);
        now.add(account);
    });
    description.system = "postgresql";
    description.namespace = driver.config().namespace().map(str::to_owned);
    description.families.extend(families::all(driver, &totals, &now));
    description.families.push(survey.family());
    let settings = driver.config().settings();
    description
        .settings
        .extend(settings.map(|(keyword, value)| (format!("{OWN}{keyword}"), masked::masked(keyword, value))));
    description.servers.extend(survey.facts(driver.cluster.memory()));
}
