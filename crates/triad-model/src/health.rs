/// What health checks over HTTP call themselves. From an address or a certificate of the design it keeps a request
/// out of logs and counters.
pub const CHECK_USER_AGENT: &str = "triad-health/1";

/// Whether something may get traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It answers: use it.
    Up,
    /// It does not: leave it out.
    Down,
}

/// One result of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The check passed.
    Pass,
    /// The check failed or timed out.
    Fail,
}

/// Rise and fall counting, as HAProxy's users know it: `fall` failures in a row take something out, `rise`
/// successes in a row bring it back. A state machine without a clock; whoever checks feeds it readings.
#[derive(Clone, Debug)]
pub struct Health {
    verdict: Verdict,
    rise: u32,
    fall: u32,
    /// Readings in a row that speak against the verdict.
    against: u32,
}

impl Health {
    /// Starts with `verdict` before anything was checked; counts below one are taken as one.
    pub fn new(verdict: Verdict, rise: u32, fall: u32) -> Self {
        Self { verdict, rise: rise.max(1), fall: fall.max(1), against: 0 }
    }

    /// What is believed now.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether what was read last speaks against the verdict: more readings are wanted soon.
    pub fn is_contradicted(&self) -> bool {
        self.against > 0
    }

    /// Takes one reading; returns the new verdict when it changed.
    pub fn take(&mut self, reading: Reading) -> Option<Verdict> {
        let (needed, other) = match (self.verdict, reading) {
            (Verdict::Up, Reading::Fail) => (self.fall, Verdict::Down),
            (Verdict::Down, Reading::Pass) => (self.rise, Verdict::Up),
            (Verdict::Up, Reading::Pass) | (Verdict::Down, Reading::Fail) => {
                self.against = 0;
                return None;
            }
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.verdict = other;
        Some(other)
    }
}

#[cfg(test)]
mod tests {
    use super::{Health, Reading, Verdict};

    #[test]
    fn fall_failures_in_a_row_take_it_out_and_rise_successes_bring_it_back() {
        let mut health = Health::new(Verdict::Up, 2, 3);
        assert_eq!(health.take(Reading::Fail), None);
        assert_eq!(health.take(Reading::Fail), None);
        assert_eq!(health.take(Reading::Pass), None, "a success in between starts the count again");
        assert_eq!(health.take(Reading::Fail), None);
        assert_eq!(health.take(Reading::Fail), None);
        assert_eq!(health.take(Reading::Fail), Some(Verdict::Down));
        assert_eq!(health.take(Reading::Pass), None);
        assert_eq!(health.take(Reading::Fail), None);
        assert_eq!(health.take(Reading::Pass), None);
        assert_eq!(health.take(Reading::Pass), Some(Verdict::Up));
    }
}
