//! Whether one server is silent, from when its beats arrived. Pure: times are those of a monotonic clock, since any
//! moment.
//!
//! Only time during which this host could have heard counts. Whoever holds a detector looks at it more often than beats
//! come; where it looks later than that, it was paused or starved, and what went beyond a beat's time is held against
//! nobody. So at least [`HEARTBEAT_TIMEOUT_MS`] / [`HEARTBEAT_MS`] looks in vain lie between the last beat and silence.

use std::time::Duration;

use triad_model::{HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS};

const BEAT: Duration = Duration::from_millis(HEARTBEAT_MS);
const TIMEOUT: Duration = Duration::from_millis(HEARTBEAT_TIMEOUT_MS);

/// How a server is to whoever listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It was never heard, so its silence says nothing.
    #[default]
    Unknown,
    /// Its beats arrive.
    Alive,
    /// They no longer do.
    Silent {
        /// When the last one arrived.
        since: Duration,
    },
}

impl Presence {
    /// Whether it was heard and no longer is.
    pub fn is_silent(self) -> bool {
        matches!(self, Presence::Silent { .. })
    }
}

/// Listens to one server.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    presence: Presence,
    heard: Duration,
    looked: Duration,
    /// Time since the last beat that counts.
    in_vain: Duration,
}

impl Detector {
    /// One beat arrived.
    pub fn heard(&mut self, now: Duration) {
        self.heard = now;
        self.in_vain = Duration::ZERO;
        self.presence = Presence::Alive;
    }

    /// Looks at the clock. What has arrived by then must have been said before.
    pub fn look(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.looked.max(self.heard));
        self.looked = self.looked.max(now);
        self.in_vain += passed.min(BEAT);
        if self.presence == Presence::Alive && self.in_vain >= TIMEOUT {
            self.presence = Presence::Silent { since: self.heard };
        }
    }

    /// What there is to say after the last look.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// When the last beat arrived; `None` if none did.
    pub fn heard_at(&self) -> Option<Duration> {
        (self.presence != Presence::Unknown).then_some(self.heard)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{BEAT, Detector, Presence, TIMEOUT};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Looks each 50 ms from `from` to `to`; when it was silent first.
    fn look(detector: &mut Detector, from: u64, to: u64) -> Option<u64> {
        (from..=to).step_by(50).find(|now| {
            detector.look(ms(*now));
            detector.presence().is_silent()
        })
    }

    #[test]
    fn silent_after_the_time_out_and_alive_with_the_next_beat() {
        let mut detector = Detector::default();
        assert_eq!(look(&mut detector, 0, 5_000), None, "never heard is not silent");
        detector.heard(ms(5_000));
        assert_eq!(look(&mut detector, 5_000, 9_000), Some(5_500));
        assert_eq!(detector.presence(), Presence::Silent { since: ms(5_000) });
        detector.heard(ms(9_000));
        assert_eq!(detector.presence(), Presence::Alive);
        assert_eq!(look(&mut detector, 9_000, 9_450), None);
    }

    #[test]
    fn a_pause_of_the_listener_counts_as_one_beat() {
        let mut detector = Detector::default();
        detector.heard(ms(0));
        assert_eq!(look(&mut detector, 0, 300), None);
        detector.look(ms(60_000));
        assert_eq!(detector.presence(), Presence::Alive, "a minute in which nobody listened");
        assert_eq!(look(&mut detector, 60_000, 61_000), Some(60_100), "300 and 100 and 100 ms");
    }

    #[test]
    fn a_beat_that_waited_during_a_pause_ends_it() {
        let mut detector = Detector::default();
        detector.heard(ms(0));
        detector.look(ms(0));
        detector.heard(ms(60_000));
        assert_eq!(look(&mut detector, 60_000, 61_000), Some(60_500), "no time is given for the pause");
    }

    /// What happens next, after so many microseconds.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Beat(u64),
        Look(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => (0..400_000u64).prop_map(Step::Beat),
            6 => (0..120_000u64).prop_map(Step::Look),
            1 => (0..20_000_000u64).prop_map(Step::Look),
        ]
    }

    proptest! {
        /// Against a plain account of the looks since the last beat.
        #[test]
        fn silence_is_the_time_out_without_a_beat_seen_in_enough_looks(
            steps in prop::collection::vec(step(), 1..300),
        ) {
            let mut detector = Detector::default();
            let mut now = Duration::ZERO;
            let mut last_beat = None;
            let mut looks: Vec<Duration> = Vec::new();
            for step in steps {
                match step {
                    Step::Beat(after_us) => {
                        now += Duration::from_micros(after_us);
                        detector.heard(now);
                        last_beat = Some(now);
                        looks.clear();
                        prop_assert_eq!(detector.presence(), Presence::Alive);
                    }
                    Step::Look(after_us) => {
                        now += Duration::from_micros(after_us);
                        detector.look(now);
                        looks.push(now);
                        let Some(beat) = last_beat else {
                            prop_assert_eq!(detector.presence(), Presence::Unknown);
                            continue;
                        };
                        let starts = std::iter::once(beat).chain(looks.iter().copied());
                        let counted: Duration = starts.zip(&looks).map(|(from, to)| (*to - from).min(BEAT)).sum();
                        let silent = detector.presence().is_silent();
                        prop_assert_eq!(silent, counted >= TIMEOUT);
                        prop_assert!(!silent || (now - beat >= TIMEOUT && looks.len() >= 5));
                    }
                }
            }
        }
    }
}
