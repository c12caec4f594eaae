use std::time::Duration;

/// How long a process must have run for its end to count as the first in a series.
pub const STABLE_AFTER: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(10);

/// When a process that ended is started again: at once after a long life, then after 100 ms, doubled each time up
/// to 10 s. There is no last attempt: a server whose disk was full must come back by itself when it no longer is.
#[derive(Debug, Default)]
pub struct Backoff {
    next: Option<Duration>,
}

impl Backoff {
    /// The delay before the next start of a process that ended after `lived`.
    pub fn after(&mut self, lived: Duration) -> Duration {
        if lived >= STABLE_AFTER {
            self.next = None;
        }
        let delay = self.next.unwrap_or(Duration::ZERO);
        self.next = Some((delay * 2).clamp(FIRST_DELAY, DELAY_MAX));
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, DELAY_MAX, STABLE_AFTER};
    use std::time::Duration;

    #[test]
    fn delays_double_up_to_a_bound_and_a_long_life_starts_again() {
        let mut backoff = Backoff::default();
        let delays: Vec<u128> = (0..9).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(delays, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000]);
        assert_eq!(backoff.after(Duration::ZERO), DELAY_MAX);
        assert_eq!(backoff.after(STABLE_AFTER), Duration::ZERO);
    }
}
