//! Runs a program on a real pool with real threads, and writes its history.
//!
//! The runtime stands still while the threads run: what happens is what the calls do, and no opener or janitor helps out. Afterwards it runs
//! until nothing changes any more, and everybody who still waits looks once more. A connection or a wake-up that was lost shows then.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pool_core::Pool;
use pool_testkit::fake::{FakeDriver, prove_nothing_lost, quiet};
use tokio::runtime::{Builder, Runtime};

use super::history::{Call, Event, History};
use super::person::{Held, Person};
use super::program::Program;

/// A pool at the beginning of a program, and a clock.
pub(crate) struct World {
    runtime: Runtime,
    driver: FakeDriver,
    pub(crate) pool: Pool<FakeDriver>,
    idle: Vec<u64>,
    size: usize,
    ticks: AtomicU64,
    /// How many threads have come to this world.
    arrived: AtomicUsize,
    /// The threads before they begin and after they have ended.
    people: Mutex<Vec<Person>>,
}

impl World {
    pub(crate) fn new(program: &Program) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let driver = FakeDriver::new();
        let pool = Pool::builder(driver.clone()).config(quiet(program.connections)).build().unwrap();
        let mut leases: Vec<_> =
            (0..program.connections).map(|_| runtime.block_on(pool.acquire_owned()).unwrap()).collect();
        let idle = leases.split_off(program.leased).iter().map(|lease| lease.id()).collect();
        let mut people: Vec<_> = (0..program.threads.len()).map(Person::new).collect();
        for (place, lease) in leases.into_iter().enumerate() {
            people[place % program.threads.len()].leases.push(Held::new(lease));
        }
        let (ticks, arrived, people) = (AtomicU64::new(0), AtomicUsize::new(0), Mutex::new(people));
        Self { runtime, driver, pool, idle, size: program.connections, ticks, arrived, people }
    }

    fn person(&self, number: usize) -> Person {
        let mut people = self.people.lock().unwrap();
        let place = people.iter().position(|person| person.number == number && person.events.is_empty()).unwrap();
        people.remove(place)
    }

    pub(crate) fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Waits until all threads are here, so that they begin together.
    fn meet(&self, threads: usize) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let mut turns = 0;
        while self.arrived.load(Ordering::SeqCst) < threads {
            turns += 1;
            // Whoever yields comes late; but there may be fewer processors than threads.
            if turns % 100 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
        }
    }

    fn play(&self, mut person: Person, program: &Program) {
        let _inside = self.runtime.enter();
        let steps = &program.threads[person.number];
        self.meet(program.threads.len());
        for (pause, step) in steps {
            (0..*pause).for_each(|_| std::hint::spin_loop());
            person.act(self, *step);
        }
        self.people.lock().unwrap().push(person);
    }

    /// Lets the background tasks run, and those who wait look once more. Then everything is given back, and nothing may be missing.
    pub(crate) fn end(self) -> History {
        let mut people = std::mem::take(&mut *self.people.lock().unwrap());
        people.sort_by_key(|person| person.number);
        // The clock stands still until nobody has anything left to do.
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        let began = self.tick();
        let stats = self.pool.stats();
        let mut events = vec![Event { call: Call::Rest(stats.state), began, ended: self.tick() }];
        for person in &mut people {
            let _inside = self.runtime.enter();
            person.look_once_more(&self);
            events.append(&mut person.events);
        }
        drop(people);
        self.driver.ledger().check();
        self.runtime.block_on(async {
            if self.pool.is_closed() {
                self.pool.close().await;
                self.driver.ledger().settle(&self.pool.stats());
            } else {
                prove_nothing_lost(&self.pool, &self.driver).await;
            }
        });
        History { idle: self.idle, size: self.size, max: self.size, events }
    }
}

/// Runs a program `rounds` times.
pub(crate) fn run(program: &Program, rounds: usize) -> Vec<History> {
    let worlds: Vec<_> = (0..rounds).map(|_| World::new(program)).collect();
    thread::scope(|scope| {
        for number in 0..program.threads.len() {
            let worlds = &worlds;
            scope.spawn(move || {
                for world in worlds {
                    world.play(world.person(number), program);
                }
            });
        }
    });
    worlds.into_iter().map(World::end).collect()
}
