//! What it means for a backend that its server's heartbeats stopped. Pure.
//!
//! The agent says that a server is silent long before enough checks have timed out. Its backends leave at once, unless
//! a check has passed that a dead server could not have answered, or nobody else could have their requests: heartbeats
//! that a firewall drops must not take a healthy site down. A check that passes ends it; so do heartbeats that return,
//! and then checks alone judge, as before.

use std::time::{Duration, Instant};

use triad_model::{HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS};

/// Its server is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    /// When the agent said so.
    said_at: Instant,
    takes_out: bool,
}

impl Silence {
    /// The agent says so `now` of a backend whose last check that passed did at `passed_at`; `others` says whether
    /// anybody else can have its requests.
    pub fn new(now: Instant, passed_at: Option<Instant>, others: bool) -> Self {
        // A server that died just before a beat was due answered checks for that long after its last beat. One beat's
        // time more is for the way.
        let dead_for = Duration::from_millis(HEARTBEAT_TIMEOUT_MS - 2 * HEARTBEAT_MS);
        let lives = passed_at.is_some_and(|at| now.saturating_duration_since(at) < dead_for);
        Self { said_at: now, takes_out: others && !lives }
    }

    /// A check has passed since: the server lives.
    pub fn disproved(self) -> Self {
        Self { takes_out: false, ..self }
    }

    /// Whether the backend has no requests because of it.
    pub fn takes_out(self) -> bool {
        self.takes_out
    }

    /// As status shows it.
    pub fn why(self, server: &str, now: Instant) -> String {
        let silent_for = now.saturating_duration_since(self.said_at) + Duration::from_millis(HEARTBEAT_TIMEOUT_MS);
        format!("server {server} has been silent for {:.1} s", silent_for.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Silence;

    #[test]
    fn it_takes_out_what_no_check_has_just_confirmed_and_others_can_stand_in_for() {
        let now = Instant::now();
        let ago = |ms| now.checked_sub(Duration::from_millis(ms));
        assert!(Silence::new(now, None, true).takes_out());
        assert!(Silence::new(now, ago(300), true).takes_out(), "it may have died since");
        assert!(!Silence::new(now, ago(299), true).takes_out(), "it answered after its heart stopped");
        assert!(!Silence::new(now, None, false).takes_out(), "there is nobody else");
        assert!(!Silence::new(now, None, true).disproved().takes_out());
        let why = Silence::new(now, None, true).why("srv2", now + Duration::from_millis(1_250));
        assert_eq!(why, "server srv2 has been silent for 1.8 s");
    }
}
