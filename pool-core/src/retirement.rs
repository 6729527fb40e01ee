//! Which connections of earlier generations have to go.

use std::fmt;
use std::time::Duration;

use crate::brief::Brief;
use crate::connection::ConnectionId;
use crate::gate::Generation;
use crate::lifetime::{RetireReason, millis};

/// Which ones.
#[derive(Clone, Debug)]
pub(crate) enum Whom {
    All,
    /// All of them, one after the other, from an epoch on.
    Over {
        since: u64,
        interval: Duration,
    },
    /// Those to one host, or one address of it.
    Host(Box<str>),
    One(ConnectionId),
}

/// As a sentence.
impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all connections are retired"),
            Self::Over { interval, .. } => write!(f, "all connections are retired, over {}", Brief(*interval)),
            Self::Host(host) => write!(f, "the connections to {host} are retired"),
            Self::One(id) => write!(f, "connection {id} is retired"),
        }
    }
}

impl Whom {
    /// Whether a later demand for these leaves nothing to do for an earlier one for those: what was there before the earlier one was there before the later one.
    fn covers(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::All, _) => true,
            (Self::Over { since, interval }, Self::Over { since: before, interval: other }) => {
                since.saturating_add(millis(*interval)) <= before.saturating_add(millis(*other))
            }
            (Self::Host(host), Self::Host(other)) => host == other,
            (Self::One(id), Self::One(other)) => id == other,
            _ => false,
        }
    }
}

/// A demand to retire connections of generations before `begun`.
#[derive(Clone, Debug)]
pub(crate) struct Retirement {
    pub(crate) begun: Generation,
    pub(crate) whom: Whom,
}

/// A connection that is looked at.
pub(crate) struct Candidate<'a> {
    pub(crate) id: ConnectionId,
    /// The names of where it goes to.
    pub(crate) hosts: [Option<&'a str>; 2],
    pub(crate) generation: Generation,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sentence {
    Stays,
    /// It is due at one epoch, and too old at the other.
    Leaves {
        due_at: u64,
        expires_at: u64,
    },
    Retired(RetireReason),
}

impl Retirement {
    /// Judges a connection; `random` spreads those that have some time left.
    pub(crate) fn judge(&self, candidate: &Candidate<'_>, random: u64) -> Sentence {
        if !candidate.generation.is_before(self.begun) {
            return Sentence::Stays;
        }
        match &self.whom {
            Whom::All => Sentence::Retired(RetireReason::Outdated),
            Whom::Over { since, interval } => {
                let interval = millis(*interval);
                let expires_at = since.saturating_add(interval);
                Sentence::Leaves { due_at: since.saturating_add(random % (interval - interval / 10 + 1)), expires_at }
            }
            Whom::Host(host) if candidate.hosts.contains(&Some(host)) => Sentence::Retired(RetireReason::Outdated),
            Whom::One(id) if *id == candidate.id => Sentence::Retired(RetireReason::Evicted),
            Whom::Host(_) | Whom::One(_) => Sentence::Stays,
        }
    }
}

/// The demands that somebody may not have heard of yet, and one more, which is the latest. `oldest`: no connection is of a generation before this one; `None` if
/// nobody knows.
pub(crate) fn with_one_more(list: &[Retirement], oldest: Option<Generation>, one: Retirement) -> Vec<Retirement> {
    let open = |demand: &&Retirement| oldest.is_none_or(|oldest| oldest.is_before(demand.begun));
    let kept: Vec<_> = list.iter().filter(open).filter(|demand| !one.whom.covers(&demand.whom)).cloned().collect();
    kept.into_iter().chain([one]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(number: u64) -> Generation {
        Generation::from_figure(u32::try_from(number).unwrap_or(u32::MAX))
    }

    fn demand(begun: u64, whom: Whom) -> Retirement {
        Retirement { begun: generation(begun), whom }
    }

    const ID: ConnectionId = ConnectionId { pool: 2, slot: 3, life: 7 };
    const OTHER: ConnectionId = ConnectionId { life: 8, ..ID };

    fn candidate(of: u64) -> Candidate<'static> {
        Candidate { id: ID, hosts: [Some("a"), Some("a, 2")], generation: generation(of) }
    }

    #[test]
    fn only_those_from_before_have_to_go() {
        let all = demand(5, Whom::All);
        assert_eq!(all.judge(&candidate(4), 0), Sentence::Retired(RetireReason::Outdated));
        assert_eq!(all.judge(&candidate(5), 0), Sentence::Stays);
    }

    #[test]
    fn one_host_or_one_connection() {
        let host = |name: &str| demand(5, Whom::Host(name.into())).judge(&candidate(4), 0);
        let retired = Sentence::Retired(RetireReason::Outdated);
        assert_eq!([host("a"), host("a, 2"), host("b")], [retired, retired, Sentence::Stays]);
        let one = |life| demand(5, Whom::One(ConnectionId { life, ..ID })).judge(&candidate(4), 0);
        assert_eq!([one(7), one(8)], [Sentence::Retired(RetireReason::Evicted), Sentence::Stays]);
        assert_eq!(ID.to_string(), "2.3.7");
    }

    #[test]
    fn those_that_have_time_are_spread_over_it() {
        let over = demand(5, Whom::Over { since: 1000, interval: Duration::from_secs(10) });
        for random in (0..1000).map(|n| n * 7919) {
            let Sentence::Leaves { due_at, expires_at: 11_000 } = over.judge(&candidate(4), random) else {
                panic!("it leaves within the interval")
            };
            assert!((1000..=10_000).contains(&due_at));
        }
    }

    #[test]
    fn what_everybody_has_heard_of_is_forgotten() {
        let list = [demand(3, Whom::One(ID)), demand(5, Whom::One(OTHER))];
        let kept =
            |oldest: Option<u64>| with_one_more(&list, oldest.map(generation), demand(9, Whom::Host("a".into()))).len();
        assert_eq!([kept(None), kept(Some(2)), kept(Some(3)), kept(Some(5))], [3, 3, 2, 1]);
        assert_eq!(with_one_more(&list, None, demand(9, Whom::All)).len(), 1, "all of them is more than any");
    }

    #[test]
    fn a_demand_takes_the_place_of_an_equal_one() {
        let over = |since, seconds| Whom::Over { since, interval: Duration::from_secs(seconds) };
        let host = |name: &str| Whom::Host(name.into());
        let list: Vec<_> =
            [Whom::One(ID), Whom::One(OTHER), host("a"), host("b"), over(1000, 10)].map(|whom| demand(3, whom)).into();
        let kept = |whom| with_one_more(&list, None, demand(9, whom)).len();
        assert_eq!([kept(Whom::One(ID)), kept(host("b")), kept(host("c"))], [5, 5, 6]);
        assert_eq!([kept(over(2000, 9)), kept(over(2000, 10))], [5, 6], "one that ends later leaves some more time");
        let latest = with_one_more(&list, None, demand(9, host("a"))).pop().unwrap();
        assert_eq!(latest.judge(&candidate(8), 0), Sentence::Retired(RetireReason::Outdated), "the later one counts");
    }
}
