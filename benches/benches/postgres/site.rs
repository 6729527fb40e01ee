//! Where it takes place: a server, what delays the way to it, and contenders with their connections open.

use std::error::Error;
use std::time::Duration;

use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::proxy::{Proxy, Toxic};
use tokio::runtime::{Builder, Runtime};

use super::caller::{Window, call};
use super::contenders::{Contender, NAMES};
use super::figures::Turn;
use super::sqlx::Sqlx;
use super::workload::{Place, WORKLOADS, Workload};
use crate::args::Args;
use crate::processor::processor_time;
use crate::sqlx_peer;

pub(crate) struct Site {
    /// Dropped first, so that no connection outlives the server.
    places: Vec<(Place, Vec<Racer>)>,
    /// For all contenders of this process.
    runtime: Runtime,
    _ways: Vec<Way>,
    _server: EphemeralPostgres,
}

/// A contender, wherever it runs.
enum Racer {
    Here(Contender),
    There(Sqlx),
}

impl Site {
    /// With everything that has been asked for.
    pub(crate) fn open(args: &Args) -> Result<Self, Box<dyn Error>> {
        if is_wanted(args, "sqlx") {
            sqlx_peer::build()?;
        }
        // Each contender has connections of its own in each place.
        let server = EphemeralPostgres::builder().setting("max_connections", "200").start()?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (mut places, mut ways) = (Vec::new(), Vec::new());
        for place in wanted_places(args) {
            let way = Way::open(server.port(), place.delay)?;
            let open = |name| Racer::open(name, &way.url(), place.connections, &runtime);
            places.push((place, wanted_contenders(args).map(open).collect::<Result<_, _>>()?));
            ways.push(way);
        }
        Ok(Self { places, runtime, _ways: ways, _server: server })
    }

    /// Has a contender take its turn: so long without being counted, and then so long.
    pub(crate) fn take_turn(
        &mut self,
        workload: &Workload,
        which: usize,
        [warm_up, counted]: [Duration; 2],
    ) -> Result<Turn, Box<dyn Error>> {
        let racers = self.places.iter_mut().find(|(place, _)| *place == workload.place);
        let racer = racers.and_then(|(_, racers)| racers.get_mut(which)).ok_or("nobody takes this turn")?;
        match racer {
            Racer::Here(contender) => Ok(self.runtime.block_on(take_turn(contender, workload, warm_up, counted))),
            Racer::There(sqlx) => sqlx.take_turn(workload, warm_up, counted),
        }
    }
}

/// The workloads that have been asked for.
pub(crate) fn wanted(args: &Args) -> impl Iterator<Item = Workload> {
    WORKLOADS.into_iter().filter(|workload| args.wants("only", workload.name))
}

/// Their places, each once.
fn wanted_places(args: &Args) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for workload in wanted(args) {
        if !places.contains(&workload.place) {
            places.push(workload.place);
        }
    }
    places
}

/// The contenders that have been, in the order in which they stand in a place.
pub(crate) fn wanted_contenders(args: &Args) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().filter(|name| is_wanted(args, name))
}

fn is_wanted(args: &Args, contender: &str) -> bool {
    args.wants("contender", contender) && !(contender == "sqlx" && args.has("without-sqlx"))
}

impl Racer {
    fn open(name: &str, url: &str, connections: usize, runtime: &Runtime) -> Result<Self, Box<dyn Error>> {
        if name == "sqlx" {
            return Ok(Self::There(Sqlx::start(url, connections)?));
        }
        Ok(Self::Here(runtime.block_on(Contender::open(name, url, connections))))
    }
}

async fn take_turn(contender: &Contender, workload: &Workload, warm_up: Duration, counted: Duration) -> Turn {
    let window = Window::after(warm_up, counted);
    let before = processor_time("self");
    let callers = 0..contender.callers(workload.callers);
    let tasks: Vec<_> =
        callers.map(|caller| tokio::spawn(call(contender.clone(), caller, workload.mixed, window))).collect();
    let mut turn = Turn::of(counted);
    for task in tasks {
        turn.add(&task.await.expect("it does not panic"));
    }
    turn.used("self", before);
    turn
}

/// The way to the server: straight, or through a proxy from which everything goes on later, however much it is. That runs on a thread of its own, beside those who are measured.
struct Way {
    port: u16,
    _proxy: Option<(Proxy, Runtime)>,
}

impl Way {
    fn open(port: u16, delay: Duration) -> Result<Self, Box<dyn Error>> {
        if delay.is_zero() {
            return Ok(Self { port, _proxy: None });
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let proxy = runtime.block_on(Proxy::start(("127.0.0.1", port)))?;
        proxy.set_both(Toxic::Delay { time: delay, jitter: Duration::ZERO, seed: 1 });
        Ok(Self { port: proxy.address().port(), _proxy: Some((proxy, runtime)) })
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}
