//! Single times that make up a histogram of which the buckets and the sum are known.

use std::iter;

use crate::metric::HistogramValue;

impl HistogramValue {
    /// The upper bounds of the buckets, but for the last one, which has none.
    pub(super) fn bounds(&self) -> impl Iterator<Item = f64> {
        self.buckets.iter().map(|(bound, _)| *bound)
    }

    /// How many there are in each bucket, the last one included.
    fn each(&self) -> impl Iterator<Item = u64> {
        let up_to = self.buckets.iter().map(|(_, count)| *count).chain([self.count]);
        let before = iter::once(0).chain(self.buckets.iter().map(|(_, count)| *count));
        up_to.zip(before).map(|(up_to, before)| up_to.saturating_sub(before))
    }

    /// The least and the greatest value of each bucket, whose upper bounds belong to it as they do in OpenTelemetry. In the last one the least is both.
    fn ranges(&self) -> impl Iterator<Item = (f64, f64)> {
        let least = iter::once(0.0).chain(self.bounds().map(f64::next_up));
        let greatest = self.bounds().map(Some).chain([None]);
        least.zip(greatest).map(|(least, greatest)| (least.min(greatest.unwrap_or(least)), greatest.unwrap_or(least)))
    }
}

/// What has been recorded of a histogram.
#[derive(Debug, Default)]
pub(super) struct Given {
    each: Vec<u64>,
    sum: f64,
}

impl Given {
    /// What is to be recorded next, and how often each: for all buckets together `most` times, and up to once more for each. It counts as recorded.
    ///
    /// All values are at the same place in their buckets, such that the sum of all that has been recorded becomes that of the histogram: what it was off by is made good.
    #[allow(clippy::cast_precision_loss)] // counts beyond 2^53
    pub(super) fn follow(&mut self, times: &HistogramValue, most: u64) -> Vec<(f64, u64)> {
        self.each.resize(times.buckets.len() + 1, 0);
        let lacking: Vec<u64> =
            times.each().zip(&self.each).map(|(there, given)| there.saturating_sub(*given)).collect();
        let all: u64 = lacking.iter().sum();
        if all == 0 {
            return Vec::new();
        }
        let now: Vec<u64> = lacking.iter().map(|lacking| part(*lacking, most, all)).collect();
        let wanted = (times.sum - self.sum) * (now.iter().sum::<u64>() as f64 / all as f64);
        let values = values(&times.ranges().collect::<Vec<_>>(), &now, wanted);
        self.each.iter_mut().zip(&now).for_each(|(given, now)| *given += now);
        self.sum += values.iter().zip(&now).map(|(value, count)| value * *count as f64).sum::<f64>();
        values.into_iter().zip(now).filter(|(_, count)| *count > 0).collect()
    }

    /// How many have not been recorded yet.
    pub(super) fn behind(&self, times: &HistogramValue) -> u64 {
        times.each().zip(&self.each).map(|(there, given)| there.saturating_sub(*given)).sum()
    }
}

/// The part of a bucket in `most` of all; a bucket with anything in it has at least one.
fn part(count: u64, most: u64, all: u64) -> u64 {
    if all <= most {
        return count;
    }
    let part = (u128::from(count) * u128::from(most)).div_ceil(u128::from(all));
    u64::try_from(part).unwrap_or(count).min(count)
}

/// A value for each bucket, so that their sum is as near to the one that is wanted as it can be.
#[allow(clippy::cast_precision_loss)] // counts beyond 2^53
fn values(ranges: &[(f64, f64)], counts: &[u64], wanted: f64) -> Vec<f64> {
    let sum = |of: fn(&(f64, f64)) -> f64| -> f64 {
        ranges.iter().zip(counts).map(|(range, count)| of(range) * *count as f64).sum()
    };
    let (least, room) = (sum(|(least, _)| *least), sum(|(least, greatest)| greatest - least));
    let place = if room > 0.0 { ((wanted - least) / room).clamp(0.0, 1.0) } else { 0.0 };
    let mut values: Vec<f64> =
        ranges.iter().map(|(least, greatest)| (least + place * (greatest - least)).clamp(*least, *greatest)).collect();
    // What the others cannot have.
    if let (Some(last), Some(count @ 1..)) = (values.last_mut(), counts.last()) {
        *last += (wanted - least - room).max(0.0) / *count as f64;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of buckets up to 1, 10 and 100.
    fn times(each: [u64; 4], sum: f64) -> HistogramValue {
        let [a, b, c, d] = each;
        HistogramValue { buckets: vec![(1.0, a), (10.0, a + b), (100.0, a + b + c)], count: a + b + c + d, sum }
    }

    #[allow(clippy::cast_precision_loss)] // small ones
    fn sum(values: &[(f64, u64)]) -> f64 {
        values.iter().map(|(value, count)| value * *count as f64).sum()
    }

    /// How many of them are in each of those buckets.
    fn each(values: &[(f64, u64)]) -> [u64; 4] {
        let mut each = [0; 4];
        for (value, count) in values {
            each[[1.0, 10.0, 100.0].iter().filter(|bound| *bound < value).count()] += count;
        }
        each
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * b.abs()
    }

    #[test]
    fn buckets_are_exact_and_so_is_a_sum_that_they_allow() {
        for (counts, total) in [
            ([3, 0, 0, 0], 0.0),
            ([3, 0, 0, 0], 3.0),
            ([5, 4, 3, 0], 60.0),
            ([5, 4, 3, 0], 345.0),
            ([5, 4, 3, 2], 345.0 + 200.5),
            ([1, 0, 0, 2], 5000.0),
            ([0, 0, 0, 1], 100.5),
        ] {
            let values = Given::default().follow(&times(counts, total), u64::MAX);
            assert_eq!(each(&values), counts, "{values:?}");
            assert!(near(sum(&values), total), "{counts:?}, {total}: {values:?}");
        }
    }

    #[test]
    fn a_sum_that_they_do_not_allow_is_made_good_later() {
        let mut given = Given::default();
        let first = given.follow(&times([0, 10, 0, 0], 9.9), u64::MAX);
        assert!(each(&first) == [0, 10, 0, 0] && near(sum(&first), 10.0), "{first:?}");
        let second = given.follow(&times([0, 20, 0, 0], 50.0), u64::MAX);
        assert!(each(&second) == [0, 10, 0, 0] && near(sum(&first) + sum(&second), 50.0), "{second:?}");
        assert_eq!(given.follow(&times([0, 20, 0, 0], 50.0), u64::MAX), [], "nothing has come");
    }

    #[test]
    fn what_is_too_much_at_once_comes_later_and_every_bucket_has_its_part() {
        let (mut given, all) = (Given::default(), times([9_000, 90, 9, 1], 2000.0));
        let mut recorded = [0; 4];
        let mut total = 0.0;
        for round in 0..9 {
            let values = given.follow(&all, 1000);
            let now = each(&values);
            assert!((1000..1004).contains(&now.iter().sum::<u64>()) || round > 7, "{now:?}");
            assert!(now[0] > 0 && now[1] > 0 || round > 7, "{now:?}");
            recorded.iter_mut().zip(now).for_each(|(recorded, now)| *recorded += now);
            total += sum(&values);
            assert_eq!(given.behind(&all), 9_100 - recorded.iter().sum::<u64>());
        }
        given.follow(&all, 1000).iter().for_each(|values| total += sum(&[*values]));
        assert_eq!((given.behind(&all), near(total, 2000.0)), (0, true), "{total}");
    }
}
