//! What it means for a backend that its server's heartbeats stopped. Pure.
//!
//! The agent says that a server is silent long before enough checks have timed out. Its backends get no more requests at
//! once, unless a check has passed that a dead server could not have answered, or nobody else could have them: heartbeats
//! that a firewall drops must not take a healthy site down. A quick check follows. If it passes, that is the end of it;
//! if it fails, what waits for an answer there is sent elsewhere, or ends: heartbeats alone break no request. Once they
//! return, checks alone judge, as before.

use std::time::{Duration, Instant};

use triad_model::{HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS, Reading};

/// Longest that a check waits for a server that may be dead: enough for one that lives, and requests wait meanwhile.
const CHECK_TIMEOUT: Duration = Duration::from_millis(2 * HEARTBEAT_MS);

/// Its server is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    /// When the agent said so.
    said_at: Instant,
    belief: Belief,
}

/// What is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    /// Nothing.
    Disregarded,
    /// The backend gets no more requests.
    Suspected,
    /// A check failed as well: the backend is down.
    Confirmed,
}

impl Silence {
    /// The agent says so `now` of a backend whose last check that passed did at `passed_at`; `others` says whether
    /// anybody else can have its requests.
    pub fn new(now: Instant, passed_at: Option<Instant>, others: bool) -> Self {
        // A server that died just before a beat was due answered checks for that long after its last beat. One beat's
        // time more is for the way.
        let dead_for = Duration::from_millis(HEARTBEAT_TIMEOUT_MS - 2 * HEARTBEAT_MS);
        let lives = passed_at.is_some_and(|at| now.saturating_duration_since(at) < dead_for);
        Self { said_at: now, belief: if others && !lives { Belief::Suspected } else { Belief::Disregarded } }
    }

    /// After a check.
    pub fn checked(self, reading: Reading) -> Self {
        let belief = match (self.belief, reading) {
            (_, Reading::Pass) | (Belief::Disregarded, _) => Belief::Disregarded,
            (_, Reading::Fail) => Belief::Confirmed,
        };
        Self { belief, ..self }
    }

    /// Whether the backend gets no requests because of it.
    pub fn takes_out(self) -> bool {
        self.belief != Belief::Disregarded
    }

    /// How long a check is waited for that usually may take `usual`.
    pub fn check_limit(self, usual: Duration) -> Duration {
        if self.belief == Belief::Suspected { usual.min(CHECK_TIMEOUT) } else { usual }
    }

    /// Whether the backend is down because of it.
    pub fn is_confirmed(self) -> bool {
        self.belief == Belief::Confirmed
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

    use std::sync::Arc;

    use triad_model::{HealthCheck, Reading, Verdict};

    use super::Silence;
    use crate::backend::Backend;
    use crate::plan::{BackendPlan, Target};

    #[test]
    fn it_takes_out_what_no_check_has_just_confirmed_and_others_can_stand_in_for() {
        let now = Instant::now();
        let ago = |ms| now.checked_sub(Duration::from_millis(ms));
        assert!(Silence::new(now, None, true).takes_out());
        assert!(Silence::new(now, ago(300), true).takes_out(), "it may have died since");
        assert!(!Silence::new(now, ago(299), true).takes_out(), "it answered after its heart stopped");
        assert!(!Silence::new(now, None, false).takes_out(), "there is nobody else");
        let why = Silence::new(now, None, true).why("srv2", now + Duration::from_millis(1_250));
        assert_eq!(why, "server srv2 has been silent for 1.8 s");
    }

    /// Whether it gets requests, and whether those it has are waited for.
    fn state(backend: &Backend) -> (bool, bool) {
        (backend.share().up, backend.is_up())
    }

    #[test]
    fn silence_sends_requests_elsewhere_and_a_check_decides_about_those_under_way() {
        let check = HealthCheck { fall: 3, ..HealthCheck::new("/up", 500, 500) };
        let plan = BackendPlan::new("srv2", Target::Plain(([10, 77, 0, 12], 8443).into()));
        let backend = Backend::new(plan, check, 1, Arc::default());
        let take = |reading| backend.take(reading, String::new());
        let fall_silent = || backend.fall_silent(Instant::now() + Duration::from_secs(1), true);
        take(Reading::Pass);
        assert_eq!(state(&backend), (true, true));

        assert!(fall_silent());
        assert_eq!(state(&backend), (false, true), "suspected");
        assert_eq!(take(Reading::Pass), Some(Verdict::Up));
        assert_eq!(state(&backend), (true, true), "it lives: one check is enough");
        assert_eq!(take(Reading::Fail), None);
        assert_eq!(state(&backend), (true, true), "checks alone judge while its silence is disproved");

        backend.end_silence();
        assert!(fall_silent());
        assert_eq!(take(Reading::Fail), Some(Verdict::Down));
        assert_eq!(state(&backend), (false, false), "the second of three failures");
        assert_eq!(backend.end_silence(), Some(Verdict::Up));
        assert_eq!(state(&backend), (true, true), "as before");

        assert!(fall_silent());
        assert_eq!(take(Reading::Fail), Some(Verdict::Down), "the third");
        assert_eq!(backend.end_silence(), None);
        assert_eq!(take(Reading::Pass), None, "it needs two, as ever");
        assert_eq!(take(Reading::Pass), Some(Verdict::Up));
    }
}
