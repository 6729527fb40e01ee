use super::*;

const LIMITS: Limits = Limits { min: 2, max: 64 };

fn config() -> AdaptConfig {
    AdaptConfig::default()
}

/// A second in which a pool of this size, of connections that serve ten a second, had so many callers.
fn second(size: usize, arrived: u64) -> Look {
    let served = arrived.min(10 * u64::try_from(size).unwrap());
    let in_use = f64::from(u32::try_from(served).unwrap()) / 10.0;
    let wait = if arrived > served { Duration::from_millis(500) } else { Duration::ZERO };
    Look {
        elapsed: Duration::from_secs(1),
        size,
        in_use,
        peak: size,
        arrived,
        served,
        wait,
        full: true,
        ..Look::default()
    }
}

/// As that, and every answer takes so many times as long.
fn slow_second(size: usize, arrived: u64, times: u64) -> Look {
    let all = second(size, u64::MAX);
    Look { arrived, served: all.served / times, ..all }
}

fn quiet(size: usize, in_use: u32) -> Look {
    let served = u64::from(in_use) * 10;
    Look { peak: usize::try_from(in_use).unwrap(), ..second(size, served) }
}

/// One that knows how long an answer takes when all is well.
fn learned(size: usize) -> Law {
    let mut law = Law::default();
    for _ in 0..5 {
        law.look(&second(size, 10), LIMITS, &config());
    }
    law
}

fn look(law: &mut Law, look: &Look) -> (usize, AdaptReason) {
    let Decision { size, reason } = law.look(look, LIMITS, &config());
    (size, reason)
}

#[test]
fn it_grows_when_callers_wait_in_two_looks_in_a_row() {
    let mut law = learned(8);
    assert_eq!(look(&mut law, &second(8, 200)), (8, AdaptReason::Enough));
    assert_eq!(look(&mut law, &second(8, 40)), (8, AdaptReason::Enough), "nobody waits");
    assert_eq!(look(&mut law, &second(8, 200)), (8, AdaptReason::Enough));
    assert_eq!(look(&mut law, &second(8, 200)), (12, AdaptReason::Waits), "by half at most");
}

#[test]
fn it_does_not_grow_before_it_knows_how_fast_the_backend_is() {
    let mut law = Law::default();
    let reasons = [(); 6].map(|()| look(&mut law, &second(8, 200)).1);
    let learning = AdaptReason::Learning;
    assert_eq!(reasons, [AdaptReason::Enough, learning, learning, learning, AdaptReason::Waits, AdaptReason::Enough]);
}

#[test]
fn it_does_not_grow_while_connections_are_being_opened() {
    let mut law = learned(8);
    let opening = Look { full: false, ..second(8, 200) };
    assert!([(); 9].iter().all(|()| look(&mut law, &opening) == (8, AdaptReason::Enough)));
}

#[test]
fn it_does_not_grow_when_the_backend_is_slow_and_begins_to_count_anew_afterwards() {
    let mut law = learned(8);
    let slow = [(); 20].map(|()| look(&mut law, &slow_second(8, 60, 4)));
    assert!(slow.iter().all(|(size, _)| *size == 8) && slow[19].1 != AdaptReason::Waits, "{slow:?}");
    assert!(slow.iter().filter(|(_, reason)| *reason == AdaptReason::Slow).count() >= 9, "{slow:?}");
    // What has gathered meanwhile is served: fewer come than are served.
    let draining = Look { served: 80, ..second(8, 60) };
    let after = [(); 9].map(|()| look(&mut law, &Look { wait: Duration::from_secs(1), ..draining }));
    assert!(after.iter().all(|(size, _)| *size == 8), "{after:?}");
    assert_eq!(after[8].1, AdaptReason::Draining, "{after:?}");
}

#[test]
fn a_backend_whose_executions_are_as_fast_as_ever_is_not_slow_though_connections_are_held_for_longer() {
    let with = |look: Look, time| Look { executions: 100, execution_time: Duration::from_millis(time), ..look };
    for (time, size) in [(1_000, 12), (3_000, 8)] {
        let mut law = Law::default();
        for _ in 0..6 {
            look(&mut law, &with(second(8, 40), 1_000));
        }
        let last = [(); 6].map(|()| look(&mut law, &with(slow_second(8, 60, 4), time)).0).into_iter().max();
        assert_eq!(last, Some(size), "executions of {time} ms a hundred");
    }
}

/// Grows from 8 to 12, where so many are served.
fn grown(law: &mut Law, served: u64) -> Vec<(usize, AdaptReason)> {
    look(law, &second(8, 200));
    assert_eq!(look(law, &second(8, 200)), (12, AdaptReason::Waits));
    let after = Look { served, ..second(12, 200) };
    (0..4).map(|_| look(law, &after)).take_while(|(size, _)| *size == 12).collect()
}

#[test]
fn growth_that_serves_no_more_callers_is_taken_back_and_not_tried_again_soon() {
    let mut law = learned(8);
    // 99 are fewer than half of the growth would serve; a third look has enough to judge by.
    assert_eq!(grown(&mut law, 99).len(), 2);
    let waits = [(); 29].map(|()| look(&mut law, &second(8, 200)));
    assert!(waits[1..].iter().all(|decided| *decided == (8, AdaptReason::NotAgain)), "{waits:?}");
    assert_eq!(look(&mut law, &second(8, 200)), (12, AdaptReason::Waits));
    // In vain again: for twice as long.
    while look(&mut law, &Look { served: 99, ..second(12, 200) }).0 == 12 {}
    let again = (0..100).take_while(|_| look(&mut law, &second(8, 200)).0 == 8).count();
    assert_eq!(again, 59);
}

#[test]
fn growth_that_serves_more_callers_goes_on() {
    let mut law = learned(8);
    assert_eq!(grown(&mut law, 101).len(), 2, "half of what it has grown by would do");
    assert_eq!(law.trial.map(|trial| (trial.from, trial.to)), Some((12, 18)), "those who waited meanwhile count");
}

#[test]
fn growth_that_ends_the_waits_or_leaves_some_spare_was_of_use() {
    for spare in [quiet(12, 8), Look { in_use: 7.0, ..second(12, 200) }] {
        let mut law = learned(8);
        look(&mut law, &second(8, 200));
        look(&mut law, &second(8, 200));
        let after: Vec<_> = (0..9).map(|_| look(&mut law, &Look { served: 80, ..spare })).collect();
        assert!(after.iter().all(|(size, _)| *size >= 12), "{after:?}");
    }
}

#[test]
fn it_shrinks_by_half_of_what_was_not_needed_for_long() {
    let mut law = learned(40);
    let mut size = 40;
    let mut sizes = Vec::new();
    for second in 0..400 {
        // Once in a while twelve are in use at once.
        let in_use = if second % 20 == 0 { 12 } else { 4 };
        let decided = look(&mut law, &Look { peak: in_use, ..quiet(size, 4) }).0;
        if decided != size {
            sizes.push(decided);
        }
        size = decided;
    }
    assert_eq!(sizes, [26, 19, 15, 13], "and a little is kept");
    assert_eq!(look(&mut learned(40), &quiet(40, 4)), (40, AdaptReason::Enough));
}

#[test]
fn in_trouble_it_does_nothing_and_for_some_time_after_it() {
    let mut law = learned(8);
    let troubled = Look { troubled: true, ..second(8, 200) };
    let reasons: Vec<_> =
        std::iter::once(troubled).chain([second(8, 200); 6]).map(|seen| look(&mut law, &seen)).collect();
    assert!(reasons[..5].iter().all(|decided| *decided == (8, AdaptReason::Trouble)), "{reasons:?}");
    assert_eq!(reasons[5..], [(8, AdaptReason::Enough), (12, AdaptReason::Waits)]);
}

#[test]
fn it_keeps_within_its_limits() {
    let mut law = learned(8);
    let decide = |law: &mut Law, size, max| law.look(&second(size, 2_000), Limits { min: 4, max }, &config());
    assert_eq!(decide(&mut law, 100, 64), Decision { size: 64, reason: AdaptReason::Limits });
    assert_eq!(decide(&mut law, 3, 64), Decision { size: 4, reason: AdaptReason::Limits });
    assert_eq!(decide(&mut law, 3, 3).size, 3, "an operator's limit is below the minimum");
    assert_eq!(decide(&mut law, 3, 3).reason, AdaptReason::AtMaximum);
    let mut law = learned(8);
    decide(&mut law, 8, 9);
    assert_eq!(decide(&mut law, 8, 9), Decision { size: 9, reason: AdaptReason::Waits });
}

#[test]
fn what_is_wanted_is_what_is_in_use_and_headroom() {
    let mut law = Law::default();
    for _ in 0..20 {
        law.look(&Look { reserved: 1, ..quiet(40, 16) }, LIMITS, &config());
    }
    assert_eq!(law.figures().wanted(&config()), 16 + 6 + 1);
    assert_eq!(law.figures().hold(), Duration::from_millis(100));
}

#[test]
fn a_time_without_callers_leaves_what_is_usual_as_it_was() {
    let mut law = learned(8);
    for _ in 0..10_000 {
        look(&mut law, &quiet(8, 0));
    }
    let slow = [(); 6].map(|()| look(&mut law, &slow_second(8, 60, 4)));
    assert!(slow.iter().all(|(size, _)| *size == 8), "{slow:?}");
    assert!(law.figures().slowness() > Some(2.0), "{:?}", law.figures());
}

#[test]
fn all_settings_that_are_wrong_are_named() {
    let mut config = config();
    (config.min_size, config.max_size, config.headroom, config.tolerance) = (0, 65_536, 1_001, 0);
    (config.grow_after, config.shrink_after, config.retry_after) = (0, 0, 0);
    (config.interval, config.target_wait, config.memory) = (Duration::ZERO, Duration::ZERO, Duration::MAX);
    let fields: Vec<_> = config.validate().unwrap_err().refused.iter().map(|setting| setting.field).collect();
    let all = [
        "min_size",
        "max_size",
        "interval",
        "target_wait",
        "headroom",
        "grow_after",
        "shrink_after",
        "retry_after",
        "tolerance",
        "memory",
    ];
    assert_eq!(fields, all);
    config = AdaptConfig { min_size: 51, memory: Duration::from_millis(1), ..AdaptConfig::default() };
    assert_eq!(config.validate().unwrap_err().refused.len(), 2);
}
