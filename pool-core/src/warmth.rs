//! Which slots are worth remembering: those that a load like the present one needs.

/// The most connections that were used between two of the janitor's last rounds.
#[derive(Debug)]
pub(crate) struct Warmth {
    /// In this period, and in the one before.
    peaks: [u64; 2],
    rounds: u32,
}

/// How many rounds a period has.
const PERIOD: u32 = 30;

impl Default for Warmth {
    fn default() -> Self {
        // Nothing is known about the time before.
        Self { peaks: [0, u64::MAX], rounds: 0 }
    }
}

impl Warmth {
    /// Notes how many were used since the last round. Returns the slot above which none is to be preferred: otherwise threads that remember a slot each would
    /// keep all of these from their idle timeout, however little they do.
    pub(crate) fn note(&mut self, used: usize) -> u64 {
        self.rounds += 1;
        if self.rounds > PERIOD {
            self.peaks = [0, self.peaks[0]];
            self.rounds = 1;
        }
        self.peaks[0] = self.peaks[0].max(used as u64);
        self.peaks[0].max(self.peaks[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_two_periods_counts() {
        let mut warmth = Warmth::default();
        assert!((0..PERIOD).all(|_| warmth.note(9) == u64::MAX), "nobody knows yet");
        assert!((0..PERIOD).all(|_| warmth.note(1) == 9));
        assert_eq!([3, 1].map(|used| warmth.note(used)), [3, 3]);
    }
}
