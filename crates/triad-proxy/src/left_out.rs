//! How long a backend whose requests failed is left out, and when its checks bring it back sooner. Pure.
//!
//! Checks that saw nothing of what requests met say nothing of its end either: then time alone brings it back. Where a
//! check failed since, checks that pass in a row bring it back: as many as bring back one that is down, and twice as many
//! each time that it relapsed, for one that answers every other time passes a few in a row as well.

use std::time::{Duration, Instant};

use triad_model::Reading;

use crate::outlier::Grounds;

/// Time for which a backend is left out at first; twice as long each time after, up to [`DOUBLINGS_MAX`] times.
const LEFT_OUT: Duration = Duration::from_secs(10);
const DOUBLINGS_MAX: u32 = 5;
/// A backend that was well for so long is forgiven.
const FORGET_AFTER: Duration = Duration::from_secs(30);
/// One whose requests fail again so soon after it came back has relapsed.
const RELAPSE_WITHIN: Duration = Duration::from_secs(10);
/// Relapses that count. With two checks that bring back one that is down, eight in a row do then, which one that answers
/// every other time passes once in 256.
const RELAPSES_MAX: u32 = 2;

/// Whether a backend is left out, and what is remembered of that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LeftOut {
    /// Until when it is, or when it came back.
    until: Option<Instant>,
    /// Why it was, last.
    grounds: Option<Grounds>,
    /// How often it was, since it was well for [`FORGET_AFTER`].
    times: u32,
    /// A check failed since it is.
    seen: bool,
    /// Checks that passed in a row since.
    passed: u32,
    /// How often it seemed to be well, and was not.
    relapses: u32,
}

impl LeftOut {
    /// Whether it is at `now`.
    pub fn is(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Why it is at `now`, if it is.
    pub fn grounds(&self, now: Instant) -> Option<Grounds> {
        self.grounds.filter(|_| self.is(now))
    }

    /// It is from `now` on; for how long.
    pub fn begin(&mut self, now: Instant, grounds: Grounds) -> Duration {
        let was_well_for = |time| self.until.is_none_or(|until| now.saturating_duration_since(until) > time);
        let times = if was_well_for(FORGET_AFTER) { 0 } else { self.times };
        let relapses = if was_well_for(RELAPSE_WITHIN) { 0 } else { self.relapses + 1 };
        let pause = LEFT_OUT * 2u32.pow(times.min(DOUBLINGS_MAX));
        let until = Some(now + pause);
        *self = Self { until, grounds: Some(grounds), times: times + 1, seen: false, passed: 0, relapses };
        pause
    }

    /// It is no longer.
    pub fn end(&mut self, now: Instant) {
        self.until = self.until.map(|until| until.min(now));
    }

    /// After a check, of which `rise` in a row bring back one that is down; whether this one has ended it.
    pub fn checked(&mut self, reading: Reading, rise: u32, now: Instant) -> bool {
        if !self.is(now) {
            return false;
        }
        match reading {
            Reading::Pass => self.passed += 1,
            Reading::Fail => {
                self.relapses += u32::from(self.passed > 0 && self.seen);
                (self.seen, self.passed) = (true, 0);
            }
        }
        let needed = rise.max(1).saturating_mul(2u32.pow(self.relapses.min(RELAPSES_MAX)));
        let is_back = self.seen && self.passed >= needed;
        if is_back {
            self.end(now);
        }
        is_back
    }
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;
    use std::time::{Duration, Instant};

    use triad_model::Reading::{self, Fail, Pass};

    use super::{DOUBLINGS_MAX, FORGET_AFTER, LEFT_OUT, LeftOut, RELAPSE_WITHIN};
    use crate::balance::spread;
    use crate::outlier::Grounds;

    const RISE: u32 = 2;
    const GAP: Duration = Duration::from_millis(500);

    /// After how many of these checks, one a [`GAP`], it is back; `None` if it is not.
    fn back_after(it: &mut LeftOut, now: &mut Instant, readings: impl IntoIterator<Item = Reading>) -> Option<usize> {
        let back = |reading| {
            *now += GAP;
            it.checked(reading, RISE, *now)
        };
        readings.into_iter().map(back).position(|is_back| is_back).map(|index| index + 1)
    }

    #[test]
    fn each_time_it_is_longer_until_it_was_well_for_a_while() {
        let (mut it, mut now) = (LeftOut::default(), Instant::now());
        for times in 0..9 {
            let pause = it.begin(now, Grounds::Row);
            assert_eq!(pause, LEFT_OUT * 2u32.pow(times.min(DOUBLINGS_MAX)));
            assert!(it.is(now) && !it.is(now + pause));
            it.end(now + GAP);
            assert!(!it.is(now + GAP) && it.grounds(now + GAP).is_none());
            now += FORGET_AFTER;
        }
        assert_eq!(it.begin(now + 2 * GAP, Grounds::Row), LEFT_OUT, "forgiven, though it did not come back by itself");
    }

    #[test]
    fn one_that_was_down_and_is_up_comes_back_with_its_checks() {
        let (mut it, mut now) = (LeftOut::default(), Instant::now());
        for _ in 0..9 {
            it.begin(now, Grounds::Row);
            let hung = repeat_n(Fail, 9).chain(repeat_n(Pass, 9));
            assert_eq!(back_after(&mut it, &mut now, hung), Some(11));
            assert!(!it.is(now));
            now += RELAPSE_WITHIN + GAP;
        }
    }

    #[test]
    fn one_that_relapses_has_to_pass_more_checks() {
        let (mut it, mut now) = (LeftOut::default(), Instant::now());
        it.begin(now, Grounds::Row);
        let wavering = [Fail, Pass, Fail, Pass, Pass, Pass, Fail].into_iter().chain(repeat_n(Pass, 20));
        assert_eq!(back_after(&mut it, &mut now, wavering), Some(7 + 8));

        let (mut it, mut now) = (LeftOut::default(), Instant::now());
        for needed in [2, 4, 8, 8] {
            it.begin(now, Grounds::Row);
            assert_eq!(back_after(&mut it, &mut now, [Fail].into_iter().chain(repeat_n(Pass, 20))), Some(1 + needed));
            now += RELAPSE_WITHIN;
        }
    }

    #[test]
    fn checks_that_do_not_see_it_say_nothing_of_its_end() {
        let (mut it, mut now) = (LeftOut::default(), Instant::now());
        let pause = it.begin(now, Grounds::Row);
        assert_eq!(back_after(&mut it, &mut now, [Pass; 19]), None);
        assert!(it.is(now) && !it.is(now + GAP) && pause == GAP * 20);
    }

    /// It is left out again as soon as it is back, as long as the fault lasts: 6 s of checks that pass every other time.
    #[test]
    fn one_that_answers_every_other_time_comes_back_rarely_and_soon_after() {
        let mut times_of_all = 0;
        for seed in 0..1_000 {
            let (mut it, mut now) = (LeftOut::default(), Instant::now());
            let mut random = spread(seed);
            for _ in 0..12 {
                if !it.is(now) {
                    it.begin(now, Grounds::Row);
                    times_of_all += 1;
                }
                random = spread(random);
                back_after(&mut it, &mut now, [if random.is_multiple_of(2) { Pass } else { Fail }]);
            }
            let needed = RISE as usize * 4;
            let is_seen = it.seen;
            let back = back_after(&mut it, &mut now, repeat_n(Pass, needed));
            assert!(back.is_some() || !it.is(now) || !is_seen, "seed {seed}");
        }
        assert!(times_of_all < 2_000, "{times_of_all} times in a thousand faults");
    }
}
