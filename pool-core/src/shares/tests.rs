use proptest::prelude::*;

use super::*;

/// A budget of `cap`, and pools with these guarantees that hold so many.
fn shares(cap: usize, pools: &[(usize, usize)]) -> Shares {
    let mut shares = Shares::new(cap);
    for (guaranteed, held) in pools {
        let id = shares.join(*guaranteed).expect("guaranteed");
        for _ in 0..*held {
            assert!(shares.take(id, true).is_some());
            shares.opened(id);
        }
    }
    shares
}

fn owed(shares: &Shares) -> Vec<usize> {
    shares.all().map(|share| share.owed).collect()
}

#[test]
fn no_more_is_guaranteed_than_there_is() {
    let mut shares = shares(10, &[(4, 0), (5, 0)]);
    assert_eq!((shares.join(2), shares.join(1)), (None, Some(2)));
    assert!(shares.guarantee(0, 5).is_none() && shares.guarantee(0, 3).is_some() && shares.guarantee(1, 6).is_some());
    assert!(shares.resize(9).is_none() && shares.resize(11).is_some());
    shares.leave(1);
    assert!(shares.resize(4).is_some());
}

#[test]
fn what_is_free_is_anybodys_and_then_nobodys() {
    let mut shares = shares(3, &[(1, 0), (0, 0)]);
    assert!((0..3).all(|_| shares.take(1, false).is_some()), "lent, guarantee or not");
    assert!(shares.take(1, true).is_none() && shares.take(0, true).is_none());
}

#[test]
fn whoever_has_most_beyond_its_guarantee_gives_back_for_one_that_lacks_some_of_it() {
    let mut shares = shares(10, &[(4, 5), (0, 3), (2, 2), (3, 0)]);
    assert_eq!(shares.want(3, 2), [1]);
    assert_eq!(owed(&shares), [0, 2, 0, 0], "three beyond and then two, where the first has one");
    assert_eq!(shares.want(3, 3), [0]);
    assert_eq!(owed(&shares), [1, 2, 0, 0]);
    assert_eq!(shares.give(0), [0, 3], "it owes no more, and one is free for the other");
    assert!(shares.take(1, true).is_none(), "which nobody else gets");
    assert!(shares.take(3, true).is_some());
}

#[test]
fn those_who_want_everything_come_to_rest_with_equal_parts() {
    let mut shares = shares(7, &[(0, 7), (0, 0)]);
    let mut given = 0;
    loop {
        shares.want(0, usize::from(shares.get(0).owed == 0));
        shares.want(1, 1);
        if shares.get(0).owed + shares.get(1).owed == 0 {
            break;
        }
        given += 1;
        let lender = u64::from(shares.get(0).owed == 0);
        shares.give(lender);
        assert!(shares.take(1 - lender, true).is_some());
        shares.opened(1 - lender);
    }
    assert_eq!((given, shares.get(0).held, shares.get(1).held), (3, 4, 3));
}

#[test]
fn more_pools_than_connections_take_turns() {
    let mut shares = shares(2, &[(0, 1), (0, 1), (0, 0)]);
    let mut served = std::collections::BTreeMap::<u64, usize>::new();
    for _ in 0..30 {
        for id in 0..3 {
            shares.want(id, usize::from(shares.get(id).held == 0));
        }
        let hungry = (0..3).find(|id| shares.get(*id).held == 0).expect("one has none");
        let lender = (0..3).find(|id| shares.get(*id).owed > 0).expect("one gives");
        shares.give(lender);
        assert!(shares.take(hungry, true).is_some());
        assert_eq!(shares.get(hungry).owed, 0);
        shares.opened(hungry);
        *served.entry(hungry).or_default() += 1;
    }
    assert!(served.values().eq(&[10; 3]), "{served:?}");
}

#[test]
fn of_equal_ones_the_next_is_who_waits_for_longest() {
    let mut shares = shares(3, &[(0, 1), (0, 1), (0, 1)]);
    shares.want(2, 1);
    shares.want(1, 1);
    assert_eq!(owed(&shares), [0; 3], "nobody has more than they will");
    assert_eq!(shares.give(0), [2]);
    assert!(shares.take(1, true).is_none() && shares.take(2, true).is_some());
}

#[test]
fn what_is_unused_is_lent_whoever_has_more() {
    let mut shares = shares(6, &[(1, 3), (0, 3)]);
    shares.want(1, 2);
    assert_eq!(owed(&shares), [0, 0]);
    assert_eq!(shares.note_unused(0, 3), [0]);
    assert_eq!(owed(&shares), [2, 0]);
    shares.want(1, 9);
    assert_eq!(owed(&shares), [2, 0], "but not what is guaranteed");
    assert_eq!(shares.note_unused(0, 1), [0]);
    assert_eq!(owed(&shares), [1, 0]);
    shares.want(1, 0);
    assert_eq!(owed(&shares), [0, 0]);
}

#[test]
fn who_does_not_need_one_takes_none_that_another_waits_for() {
    let mut shares = shares(3, &[(0, 2), (0, 0), (1, 0)]);
    shares.want(1, 1);
    assert!(shares.take(0, false).is_none() && shares.take(0, true).is_none() && !shares.has_spare());
    assert!(shares.take(2, false).is_some(), "it is guaranteed");
}

#[test]
fn a_lower_cap_is_owed_by_those_who_have_most_beyond() {
    let mut shares = shares(9, &[(2, 4), (0, 4), (1, 1)]);
    assert_eq!(shares.resize(5), Some(vec![0, 1]));
    assert_eq!(owed(&shares), [1, 3, 0]);
    assert!(shares.take(2, true).is_none());
    assert_eq!(shares.close(1), [0], "it gives back all it has");
    assert_eq!(owed(&shares), [0, 0, 0]);
    assert!(shares.leave(1).is_empty() && shares.take(2, true).is_none());
    shares.give(0);
    assert!(shares.take(2, true).is_some());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Take(u64, bool),
    Opened(u64),
    Give(u64),
    Want(u64, usize),
    Unused(u64, usize),
    Guarantee(u64, usize),
    Resize(usize),
    Close(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (id, few) = (0_u64..4, 0_usize..5);
    prop_oneof![
        (id.clone(), any::<bool>()).prop_map(|(id, need)| Step::Take(id, need)),
        (id.clone(), any::<bool>()).prop_map(|(id, need)| Step::Take(id, need)),
        id.clone().prop_map(Step::Opened),
        id.clone().prop_map(Step::Opened),
        id.clone().prop_map(Step::Give),
        (id.clone(), few.clone()).prop_map(|(id, wants)| Step::Want(id, wants)),
        (id.clone(), few.clone()).prop_map(|(id, unused)| Step::Unused(id, unused)),
        (id.clone(), few).prop_map(|(id, guaranteed)| Step::Guarantee(id, guaranteed)),
        (1_usize..12).prop_map(Step::Resize),
        id.prop_map(Step::Close),
    ]
}

/// Does it, as far as a pool would.
fn apply(shares: &mut Shares, step: Step) {
    match step {
        Step::Take(id, need) => drop(shares.take(id, need)),
        Step::Opened(id) => drop(shares.opened(id)),
        Step::Give(id) => give(shares, id),
        Step::Want(id, wants) => want(shares, id, wants),
        Step::Unused(id, unused) => drop(shares.note_unused(id, unused)),
        Step::Guarantee(id, guaranteed) => drop(shares.guarantee(id, guaranteed)),
        Step::Resize(cap) => drop(shares.resize(cap)),
        Step::Close(id) => drop(shares.close(id)),
    }
}

fn give(shares: &mut Shares, id: u64) {
    let Share { held, opening, .. } = shares.get(id);
    if held > opening {
        shares.give(id);
    } else if opening > 0 {
        shares.give_up(id);
    }
}

/// Who owes wants nothing.
fn want(shares: &mut Shares, id: u64, wants: usize) {
    if shares.get(id).owed == 0 {
        shares.want(id, wants);
    }
}

proptest! {
    #[test]
    fn guarantees_are_kept_whatever_happens(steps in prop::collection::vec(step(), 1..60)) {
        let mut shares = shares(8, &[(0, 0), (1, 0), (2, 0), (3, 0)]);
        for step in steps {
            let (held, cap) = (shares.held(), shares.cap());
            apply(&mut shares, step);
            prop_assert!(shares.held() <= shares.cap() || shares.held() <= held, "none is taken beyond the cap");
            prop_assert!(shares.guaranteed() <= shares.cap());
            let free = shares.cap().saturating_sub(shares.held());
            let meant: usize = shares.all().map(|share| share.meant).sum();
            prop_assert_eq!(meant, free.min(shares.wanted()), "what is free is for those who want it; {} before", cap);
            let closed: usize = shares.all().filter(|share| share.closed).map(|share| share.held).sum();
            let owed: usize = shares.all().map(|share| share.owed).sum();
            let opening: usize = shares.all().map(|share| share.opening).sum();
            let mut lacking = 0;
            for share in shares.all() {
                prop_assert!(share.owed == 0 || share.held >= share.guaranteed.max(share.opening) + share.owed, "{:?}", share);
                prop_assert!(!share.closed || share.owed + share.wants + share.guaranteed == 0);
                lacking += share.wants.min(share.guaranteed.saturating_sub(share.held)).saturating_sub(share.meant);
            }
            prop_assert!(owed + closed + opening >= lacking, "as many come back as are lacking to guarantees: {:?}", shares);
        }
    }
}

/// Or those who have nothing take it from each other before anybody has used it.
#[test]
fn what_is_being_opened_is_not_lent() {
    let mut shares = shares(1, &[(0, 0), (0, 0)]);
    assert!(shares.take(0, true).is_some());
    shares.want(1, 1);
    assert_eq!(owed(&shares), [0, 0]);
    assert_eq!(shares.opened(0), [0]);
    assert_eq!(owed(&shares), [1, 0]);
}
