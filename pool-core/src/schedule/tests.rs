//! The line on a clock of its own: requests that come, are served for a while, and go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use super::*;
use crate::shed::Shed;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// Somebody who comes.
#[derive(Clone, Debug)]
struct Request {
    at: u64,
    key: Option<Key>,
    priority: Priority,
    passes: usize,
    service: u64,
    patience: u64,
}

impl Request {
    fn at(at: u64, service: u64) -> Self {
        Self { at, key: None, priority: Priority::Normal, passes: 1, service, patience: 30 * SECOND }
    }
}

/// What has become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Served { waited: u64, at: u64 },
    Shed { waited: u64, why: Shed },
    TimedOut,
}

/// What happens next, at which time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ends(usize),
    Comes(usize),
    TimeIsOver(usize),
    Looks,
}

struct World {
    requests: Vec<Request>,
    line: Line<usize>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    places: BTreeMap<usize, super::lanes::Place>,
    passes: BTreeMap<usize, (Pass, u64)>,
    outcomes: BTreeMap<usize, Outcome>,
    now: u64,
}

impl World {
    fn push(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, event)));
    }

    fn serve(&mut self, request: usize, pass: Pass) {
        let Request { at, service, .. } = self.requests[request];
        self.places.remove(&request);
        self.passes.insert(request, (pass, self.now));
        self.outcomes.insert(request, Outcome::Served { waited: self.now - at, at: self.now });
        self.push(self.now + service, Event::Ends(request));
    }

    fn shed(&mut self, request: usize, why: Shed) {
        self.places.remove(&request);
        let waited = self.now - self.requests[request].at;
        self.outcomes.insert(request, Outcome::Shed { waited, why });
    }

    fn comes(&mut self, request: usize) {
        let Request { key, priority, passes, patience, .. } = self.requests[request].clone();
        let demand = Demand { key: key.as_ref(), priority, passes, deadline: self.now + patience };
        match self.line.enter(self.now, &demand, || request) {
            Entry::Passes(pass) => self.serve(request, pass),
            Entry::Waits(place) => {
                self.places.insert(request, place);
                self.push(self.now + patience, Event::TimeIsOver(request));
            }
            Entry::Shed(why) => self.shed(request, why),
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Comes(request) => self.comes(request),
            Event::Ends(request) => {
                let (pass, since) = self.passes.remove(&request).unwrap();
                self.line.give_back(pass, self.now - since);
            }
            Event::TimeIsOver(request) => {
                if let Some(place) = self.places.remove(&request) {
                    assert!(self.line.leave(place).is_some());
                    self.outcomes.insert(request, Outcome::TimedOut);
                }
            }
            Event::Looks => {
                self.look();
                if !self.events.is_empty() {
                    self.push(self.now + 2 * SECOND, Event::Looks);
                }
            }
        }
    }

    /// All who wait look at the line.
    fn look(&mut self) {
        for (request, place) in self.places.clone() {
            let Request { at, patience, .. } = self.requests[request];
            if let Some((_, why)) = self.line.look(self.now, place, at + patience - self.now) {
                self.shed(request, why);
            }
        }
    }

    fn call(&mut self) {
        for (request, call) in self.line.calls(self.now) {
            match call {
                Call::Passes(pass) => self.serve(request, pass),
                Call::Shed(why) => self.shed(request, why),
            }
        }
    }
}

/// Plays it to the end.
fn play(config: &ScheduleConfig, limit: usize, requests: Vec<Request>) -> Vec<Outcome> {
    config.validate().unwrap();
    let mut world = World {
        line: Line::new(Arc::new(config.clone()), Limits { now: limit, most: limit }),
        events: BinaryHeap::new(),
        number: 0,
        places: BTreeMap::new(),
        passes: BTreeMap::new(),
        outcomes: BTreeMap::new(),
        now: 0,
        requests,
    };
    for number in 0..world.requests.len() {
        world.push(world.requests[number].at, Event::Comes(number));
    }
    world.push(0, Event::Looks);
    while let Some(Reverse((now, _, event))) = world.events.pop() {
        world.now = now;
        world.happens(event);
        world.call();
        assert!(world.line.in_use() <= limit);
    }
    assert_eq!((world.line.in_use(), world.line.waiting(), world.outcomes.len()), (0, 0, world.requests.len()));
    world.outcomes.into_values().collect()
}

/// Requests that come evenly, so many in a second, from one time to another.
fn even(rate: u64, from: u64, to: u64, model: &Request) -> Vec<Request> {
    let gap = SECOND / rate;
    (0..(to - from) / gap).map(|number| Request { at: from + number * gap, ..model.clone() }).collect()
}

/// The waits of those that were served, of the ones that are looked at.
fn waits(requests: &[Request], outcomes: &[Outcome], looks_at: impl Fn(&Request) -> bool) -> Vec<u64> {
    let of = requests.iter().zip(outcomes).filter(|(request, _)| looks_at(request));
    let mut waits: Vec<_> = of
        .filter_map(|(_, outcome)| match outcome {
            Outcome::Served { waited, .. } => Some(*waited),
            _ => None,
        })
        .collect();
    waits.sort_unstable();
    waits
}

fn p99(waits: &[u64]) -> u64 {
    waits[waits.len() * 99 / 100]
}

fn together(mut requests: Vec<Request>, more: Vec<Request>) -> Vec<Request> {
    requests.extend(more);
    requests.sort_by_key(|request| request.at);
    requests
}

const SERVICE: u64 = 10 * MS;

/// 8 connections of which each serves 100 a second: one tenant wants a tenth of what there is, the other one ten times as much as there is.
fn tenants(fair: bool) -> (u64, u64) {
    let key = |name: &str| if fair { Some(Key::from(name)) } else { None };
    let small =
        even(80, 0, 10 * SECOND, &Request { key: key("small"), patience: 60 * SECOND, ..Request::at(0, SERVICE) });
    let large = even(
        8_000,
        1,
        10 * SECOND,
        &Request { key: key("large"), patience: 5 * SECOND, service: SERVICE + 1, ..Request::at(0, SERVICE) },
    );
    let config = ScheduleConfig { foresee: false, ..ScheduleConfig::default() };
    let alone = p99(&waits(&small, &play(&config, 8, small.clone()), |_| true));
    let both = together(small, large);
    let outcomes = play(&config, 8, both.clone());
    (alone, p99(&waits(&both, &outcomes, |request| request.service == SERVICE)))
}

#[test]
fn a_tenant_that_wants_a_hundred_times_as_much_costs_the_other_one_service_time_at_most() {
    let (alone, beside) = tenants(true);
    assert!(beside <= alone + SERVICE + MS / 10, "{alone} ns alone, {beside} ns beside it");
    let (_, without) = tenants(false);
    assert!(without > SECOND, "without keys it waits with all the others: {without} ns");
}

/// Three times as much as there is, for a minute: the longest wait of 99 of 100 that were served, after the first interval and from the start, and the percentage of what there is that was used.
fn overload(codel: Option<Codel>) -> (u64, u64, usize) {
    let config = ScheduleConfig { codel, foresee: false, ..ScheduleConfig::default() };
    let requests = even(3 * 800, 0, 60 * SECOND, &Request { patience: 30 * SECOND, ..Request::at(0, SERVICE) });
    let outcomes = play(&config, 8, requests.clone());
    let settled = waits(&requests, &outcomes, |request| request.at > 3 * SECOND);
    let all = waits(&requests, &outcomes, |_| true);
    let in_time = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Served { at, .. } if *at <= 60 * SECOND));
    (p99(&settled), p99(&all), in_time.count() * 100 / (800 * 60))
}

#[test]
fn what_is_served_of_an_overload_is_served_soon() {
    let (settled, all, used) = overload(Some(Codel::default()));
    assert!(settled <= 150 * MS && used > 90, "{settled} ns, {all} ns with the beginning, {used} % of what there is");
    let (without, _, used) = overload(None);
    assert!(without > 20 * SECOND && used > 90, "{without} ns without");
}

/// A load of low and normal priority that takes all there is, and one of high priority beside it: the longest wait of 99 of 100 with high priority, and how many of the others are served in a second.
fn priorities(config: &ScheduleConfig, high: u64) -> (u64, BTreeMap<Priority, u64>) {
    let model = |priority| Request { priority, patience: 600 * SECOND, ..Request::at(0, SERVICE) };
    let all = [(Priority::High, high), (Priority::Normal, 1_000), (Priority::Low, 1_000)];
    let requests = all.into_iter().fold(Vec::new(), |requests, (priority, rate)| {
        together(requests, even(rate, 0, 20 * SECOND, &model(priority)))
    });
    let outcomes = play(config, 8, requests.clone());
    let mut served = BTreeMap::new();
    for (request, outcome) in requests.iter().zip(&outcomes) {
        // While all of them wait, and those who wait are old enough.
        if matches!(outcome, Outcome::Served { at, .. } if (5 * SECOND..15 * SECOND).contains(at)) {
            *served.entry(request.priority).or_default() += 1;
        }
    }
    (p99(&waits(&requests, &outcomes, |request| request.priority == Priority::High)), served)
}

#[test]
fn a_high_priority_waits_for_a_service_time_at_most_and_a_low_one_has_its_share() {
    let (high, served) = priorities(&ScheduleConfig { foresee: false, ..ScheduleConfig::default() }, 400);
    assert!(high <= SERVICE + SERVICE / 10, "{high} ns");
    // Of 8,000 in ten seconds.
    let [high, normal, low] = Priority::ALL.map(|priority| served[&priority]);
    assert!((3_990..=4_010).contains(&high), "all of them: {high}");
    assert!((390..=410).contains(&low), "5 %: {low}");
    assert!((3_580..=3_620).contains(&normal), "what is left: {normal}");
}

#[test]
fn nobody_starves_beside_a_high_priority_that_wants_everything() {
    let (_, served) = priorities(&ScheduleConfig { foresee: false, ..ScheduleConfig::default() }, 2_000);
    let [_, normal, low] = Priority::ALL.map(|priority| served[&priority]);
    assert!((1_580..=1_620).contains(&normal) && (390..=410).contains(&low), "20 % and 5 %: {normal}, {low}");
    let starving = ScheduleConfig { normal_share: 0, low_share: 0, foresee: false, ..ScheduleConfig::default() };
    let (_, served) = priorities(&starving, 2_000);
    assert_eq!(served.len(), 1, "with shares of nothing they do: {served:?}");
}

/// Who is served, in order, when one connection is given back again and again, and when all of these wait.
fn order(config: &ScheduleConfig, limit: usize, requests: Vec<Request>) -> Vec<usize> {
    let outcomes = play(config, limit, requests);
    let mut served: Vec<_> = outcomes
        .iter()
        .enumerate()
        .filter_map(|(number, outcome)| match outcome {
            Outcome::Served { at, .. } => Some((*at, number)),
            _ => None,
        })
        .collect();
    served.sort_unstable();
    served.into_iter().map(|(_, number)| number).collect()
}

fn of(key: &str, at: u64) -> Request {
    Request { key: Some(Key::from(key)), ..Request::at(at, SERVICE) }
}

#[test]
fn without_keys_or_priorities_it_is_first_come_first_served() {
    let requests: Vec<_> = (0..20).map(|at| Request::at(at, SERVICE)).collect();
    assert_eq!(order(&ScheduleConfig::default(), 2, requests), (0..20).collect::<Vec<_>>());
}

#[test]
fn keys_take_turns_by_their_weight() {
    let mut config = ScheduleConfig::default();
    config.quotas.insert(Key::from("b"), Quota { weight: 2, ..Quota::default() });
    // All of `a` came before all of `b`.
    let requests: Vec<_> = (0..12).map(|at| of("a", at)).chain((0..12).map(|at| of("b", 100 + at))).collect();
    let served = order(&config, 3, requests);
    let of_a: Vec<_> = served[3..12].iter().map(|number| usize::from(*number < 12)).collect();
    assert_eq!(of_a.iter().sum::<usize>(), 3, "one of three from then on: {served:?}");
}

#[test]
fn a_key_has_no_more_than_its_maximum_and_no_less_than_what_is_reserved_for_it() {
    let mut config = ScheduleConfig::default();
    config.quotas.insert(Key::from("few"), Quota { max: Some(1), ..Quota::default() });
    config.quotas.insert(Key::from("kept"), Quota { reserved: 2, ..Quota::default() });
    let requests =
        vec![of("few", 0), of("few", 1), of("other", 2), of("other", 3), of("kept", 4), of("kept", 5), of("kept", 6)];
    let outcomes = play(&config, 4, requests);
    let waited = |number: usize| match outcomes[number] {
        Outcome::Served { waited, .. } => waited,
        _ => panic!("{outcomes:?}"),
    };
    assert_eq!((waited(0), waited(2), waited(4), waited(5)), (0, 0, 0, 0));
    assert_eq!(
        (waited(1), waited(3)),
        (SERVICE - 1, SERVICE - 1),
        "one has its maximum, the other one finds what is reserved"
    );
    assert!(waited(6) > 0);
}

#[test]
fn what_is_wanted_at_once_is_had_at_once_and_nobody_starves_for_it() {
    let batch = |at| Request { passes: 3, ..Request::at(at, SERVICE) };
    let mut requests = vec![batch(5), batch(6)];
    // Two connections of four are always in use by those who want one.
    requests.extend((0..200).map(|number| Request::at(number * SERVICE / 4, SERVICE)));
    requests.sort_by_key(|request| request.at);
    let outcomes = play(&ScheduleConfig::default(), 4, requests.clone());
    let batches = requests.iter().zip(&outcomes).filter(|(request, _)| request.passes == 3);
    for (_, outcome) in batches {
        assert!(matches!(outcome, Outcome::Served { waited, .. } if *waited <= 3 * SERVICE), "{outcome:?}");
    }
    let too_many = play(&ScheduleConfig::default(), 4, vec![Request { passes: 5, ..Request::at(0, SERVICE) }]);
    assert_eq!(too_many, [Outcome::Shed { waited: 0, why: Shed::Impossible { wanted: 5, max: 4 } }]);
}

#[test]
fn a_low_priority_that_wants_several_at_once_is_served_in_the_end() {
    let mut requests = even(1_000, 0, 5 * SECOND, &Request { priority: Priority::High, ..Request::at(0, SERVICE) });
    requests.push(Request { passes: 4, priority: Priority::Low, ..Request::at(1, SERVICE) });
    requests.sort_by_key(|request| request.at);
    let outcomes = play(&ScheduleConfig { foresee: false, ..ScheduleConfig::default() }, 8, requests.clone());
    let batch = requests.iter().position(|request| request.passes == 4).unwrap();
    assert!(matches!(outcomes[batch], Outcome::Served { waited, .. } if waited < 2 * SECOND), "{:?}", outcomes[batch]);
}

#[test]
fn no_more_wait_than_may() {
    let mut config = ScheduleConfig { max_waiting: Some(3), ..ScheduleConfig::default() };
    config.quotas.insert(Key::from("a"), Quota { max_waiting: Some(1), ..Quota::default() });
    let requests = vec![of("a", 0), of("a", 1), of("a", 2), of("b", 3), of("b", 4), of("b", 5)];
    let outcomes = play(&config, 1, requests);
    let shed = |why| Outcome::Shed { waited: 0, why };
    assert_eq!(outcomes[2], shed(Shed::KeyFull { key: Some(Key::from("a")), waiting: 1 }));
    assert_eq!(outcomes[5], shed(Shed::Full { waiting: 3 }));
    assert!([0, 1, 3, 4].into_iter().all(|number| matches!(outcomes[number], Outcome::Served { .. })), "{outcomes:?}");
}

#[test]
fn who_cannot_be_served_in_time_is_told_at_once() {
    let mut requests = even(800, 0, SECOND, &Request::at(0, SERVICE));
    // Then 100 at once, with 50 ms each: 5 turns of 8.
    requests.extend((0..100).map(|number| Request { patience: 50 * MS, ..Request::at(SECOND + number, SERVICE) }));
    let outcomes = play(&ScheduleConfig::default(), 8, requests.clone());
    let told = outcomes[800..]
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Shed { waited: 0, why: Shed::Hopeless { .. } }))
        .count();
    let served = outcomes[800..].iter().filter(|outcome| matches!(outcome, Outcome::Served { .. })).count();
    assert!(served >= 40 && told >= 50 && served + told >= 98, "{served} served, {told} told at once");
    let blind = play(&ScheduleConfig { foresee: false, ..ScheduleConfig::default() }, 8, requests);
    assert_eq!(blind[800..].iter().filter(|outcome| **outcome == Outcome::TimedOut).count(), 100 - served);
}

#[test]
fn who_would_be_next_is_not_turned_away_for_the_sake_of_others() {
    let of = |key: &str, at, patience| Request { key: Some(key.into()), patience, ..Request::at(at, SERVICE) };
    // A thousand of one key wait for over a second; one of another key has 50 ms, and is served after one turn.
    let mut requests = even(800, 0, SECOND, &Request::at(0, SERVICE));
    requests.extend((0..1_000).map(|number| of("large", SECOND + number, 30 * SECOND)));
    requests.push(of("small", SECOND + MS, 50 * MS));
    let outcomes = play(&ScheduleConfig::default(), 8, requests);
    assert!(
        matches!(outcomes.last(), Some(Outcome::Served { waited, .. }) if *waited <= SERVICE),
        "{:?}",
        outcomes.last()
    );
    // While the newest is served first, nobody is before one who comes.
    let config = ScheduleConfig { newest_first: true, codel: Some(Codel::default()), ..ScheduleConfig::default() };
    let mut requests = even(12_000, 0, 10 * SECOND, &Request::at(0, SERVICE));
    let late = |number: u64| Request { patience: 20 * MS, ..Request::at(9 * SECOND + number * 10 * MS, SERVICE) };
    requests.extend((0..50).map(late));
    let outcomes = play(&config, 8, requests);
    let is_told = |outcome: &&Outcome| matches!(outcome, Outcome::Shed { why: Shed::Hopeless { .. }, .. });
    assert_eq!(outcomes[outcomes.len() - 50..].iter().filter(is_told).count(), 0);
}

#[test]
fn while_the_queue_stands_the_newest_is_served_first_if_that_is_wanted() {
    let model = Request { patience: 30 * SECOND, ..Request::at(0, SERVICE) };
    let requests = even(2_400, 0, 10 * SECOND, &model);
    let late = |newest_first| {
        let config =
            ScheduleConfig { codel: Some(Codel::default()), newest_first, foresee: false, ..ScheduleConfig::default() };
        let outcomes = play(&config, 8, requests.clone());
        let waits = waits(&requests, &outcomes, |request| (5 * SECOND..9 * SECOND).contains(&request.at));
        waits[waits.len() / 2]
    };
    let (oldest, newest) = (late(false), late(true));
    assert!(newest <= 2 * MS && oldest >= 50 * MS, "{newest} ns with the newest first, {oldest} ns without");
}

#[test]
fn a_key_too_many_is_refused_and_one_that_is_unused_makes_room() {
    let config = ScheduleConfig { max_keys: 2, ..ScheduleConfig::default() };
    let requests = vec![of("a", 0), of("b", 1), of("c", 2), of("c", SERVICE + 2)];
    let outcomes = play(&config, 4, requests);
    assert_eq!(outcomes[2], Outcome::Shed { waited: 0, why: Shed::Keys { max: 2 } });
    assert!(matches!(outcomes[3], Outcome::Served { .. }));
}

#[test]
fn every_setting_that_can_be_wrong_is_named() {
    let zero = Duration::ZERO;
    let mut config = ScheduleConfig {
        codel: Some(Codel { target: zero, interval: zero }),
        aging: zero,
        normal_share: 51,
        low_share: 51,
        max_keys: 0,
        quota: Quota { max: Some(0), reserved: 1, weight: 0, max_waiting: None },
        ..ScheduleConfig::default()
    };
    config.quotas.insert(Key::from("a"), Quota { max: Some(1), reserved: 2, ..Quota::default() });
    let refused: Vec<_> = config.validate().unwrap_err().refused.iter().map(|one| one.field).collect();
    let expected = [
        "codel.target",
        "codel.interval",
        "aging",
        "normal_share",
        "low_share",
        "max_keys",
        "quota.reserved",
        "quota.reserved",
        "quota.max",
        "quota.reserved",
        "quota.weight",
    ];
    assert_eq!(refused, expected);
    let newest = ScheduleConfig { newest_first: true, ..ScheduleConfig::default() };
    assert_eq!(
        newest.validate().unwrap_err().to_string(),
        "newest_first = true is not allowed; allowed: true, with codel, or false"
    );
}
