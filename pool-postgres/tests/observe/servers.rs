//! Servers and settings.

use std::time::Duration;

use pool_core::ServerFacts;
use pool_postgres::{Host, Password, TargetSessionAttrs};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::secrets::MARK;

use crate::common::{config, database, eventually};
use crate::stage::{Observer, count, family, observe, observed};

const CONNECTIONS: &str = "pool.postgres.server.connections";

/// Where there are connections: the port, the role, how many.
fn connections(observer: &Observer) -> Vec<(u16, String, u64)> {
    let samples = family(observer, CONNECTIONS).samples;
    let there = samples.iter().filter(|sample| count(sample) > 0).map(|sample| {
        let [_, (_, address), (_, port), (_, role)] = &sample.labels[..] else { panic!("{sample:?}") };
        assert_eq!(address, "127.0.0.1");
        (port.parse().unwrap(), role.to_string(), count(sample))
    });
    there.collect()
}

fn facts(observer: &Observer) -> Vec<String> {
    observer.snapshot().servers.iter().map(ServerFacts::to_string).collect()
}

#[tokio::test]
async fn connections_are_counted_by_their_server_and_what_it_is() {
    let mut primary = EphemeralPostgres::builder().replicated().start().unwrap();
    let standby = primary.standby().unwrap();
    let mut settings = config(&primary.url(), 4);
    let (first, second) = (settings.hosts[0].clone(), config(&standby.url(), 1).hosts[0].clone());
    // One that is named twice is one.
    settings.hosts = vec![first.clone(), second.clone(), first.clone()];
    settings.target_session_attrs = TargetSessionAttrs::Primary;
    let (pool, observer) = observed(settings.clone()).await;
    let leases = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let here = (first.port, "primary".to_owned(), 2);
    assert_eq!(connections(&observer), std::slice::from_ref(&here));
    assert_eq!(family(&observer, CONNECTIONS).samples.len(), 6, "two servers, three roles");
    assert_eq!(facts(&observer), [format!("{first}, primary"), second.to_string()]);
    drop(leases);
    settings.target_session_attrs = TargetSessionAttrs::Standby;
    let (reading, looks) = observed(settings).await;
    assert_eq!(connections(&looks), [(second.port, "standby".to_owned(), 1)]);
    assert_eq!(facts(&looks), [format!("{first}, primary"), format!("{second}, standby")], "that was seen on the way");
    assert_eq!(connections(&observer), [here], "each pool has its own");
    reading.disconnect().await;
    assert_eq!(connections(&looks), []);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_noted() {
    let server = EphemeralPostgres::start().unwrap();
    let mut settings = config(&server.url(), 1);
    let here = settings.hosts[0].clone();
    // Nobody listens there, and it is tried first.
    let nobody = Host::new("localhost", 1);
    settings.hosts.insert(0, nobody);
    let (pool, observer) = observed(settings).await;
    let said = facts(&observer);
    assert!(said[0].starts_with("localhost:1, could not be reached ") && said[0].ends_with(" s ago"), "{said:?}");
    assert_eq!(said[1], format!("{here}, primary"));
    pool.disconnect().await;
}

#[tokio::test]
async fn settings_are_shown_and_no_secret_among_them() {
    let database = database();
    let mut settings = config(database.url(), 1);
    settings.password = Some(Password::from(format!("{MARK}-in-a-setting")));
    settings.application_name = Some("the one".to_owned());
    settings.options = Some(format!("-c geqo=off -c app.key={MARK}-of-the-application"));
    settings.pool.connect_timeout = Duration::from_secs(9);
    let (host, name) = (settings.hosts[0].clone(), settings.database.clone().unwrap());
    let (pool, observer) = observed(settings).await;
    let snapshot = observer.snapshot();
    let shown = |name: &str| {
        let mut found = snapshot.driver_settings.iter().filter(|(known, _)| known == name);
        let value = found.next().unwrap_or_else(|| panic!("there is no {name}")).1.clone();
        assert_eq!(found.next(), None, "{name} is there once");
        value
    };
    assert_eq!(shown("postgres.host"), host.name);
    assert_eq!((shown("postgres.port"), shown("postgres.dbname")), (host.port.to_string(), name));
    assert_eq!((shown("postgres.application_name"), shown("postgres.sslmode")), ("the one".into(), "prefer".into()));
    // That of the pool, and that of each server.
    assert_eq!((snapshot.config.connect_timeout.as_secs(), shown("postgres.connect_timeout")), (9, "5s".into()));
    assert_eq!(shown("postgres.options"), "-c geqo=off -c app.key=***");
    for setting in &snapshot.driver_settings {
        shown(&setting.0);
        assert!(setting.0 != "postgres.pool_max_conns", "those of the pool may have changed: {setting:?}");
    }
    let all = format!("{snapshot:?} {:?} {observer:?}", observer.families());
    assert!(!all.contains(MARK), "{all}");
    pool.disconnect().await;
}

/// From a thread without a runtime, while everything is leased.
#[tokio::test]
async fn anybody_may_look() {
    let database = database();
    let (pool, _) = observed(config(database.url(), 1)).await;
    let (lease, observer) = (pool.acquire().await.unwrap(), observe(&pool));
    let looking = std::thread::spawn(move || (observer.families().len(), observer.snapshot().servers.len()));
    eventually("he has looked", async || looking.is_finished()).await;
    assert_eq!(looking.join().unwrap().1, 1);
    drop(lease);
}
