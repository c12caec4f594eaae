//! Whether this machine itself stood still. All servers of a lab share it: a gap that everything on it had, this process
//! too, says nothing of whoever was drilled. Machines with too much to do stand still, and so do virtual ones whose host
//! takes the processor away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use serde::Serialize;

/// How often a witness wakes up.
const EVERY: Duration = Duration::from_millis(10);
/// What is noted is longer than that.
const NOTED: Duration = Duration::from_millis(100);
/// How many are noted.
const NOTED_MAX: usize = 1_000;

/// A time in which nothing moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Standstill {
    /// When it was over, in milliseconds since the load began.
    pub at_ms: u64,
    /// How long it was.
    pub ms: u64,
}

/// A thread that sleeps for a moment again and again, and notes when that took far longer.
pub(crate) struct Witness {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Standstill>>>,
}

impl Witness {
    /// Counts from `begins`, which may be still to come.
    pub fn start(begins: Instant) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let is_over = ended.clone();
        Self { ended, thread: Some(spawn(move || look(begins, &is_over))) }
    }

    /// What it noted.
    pub fn end(mut self) -> Vec<Standstill> {
        self.ended.store(true, Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
    }
}

fn look(begins: Instant, is_over: &AtomicBool) -> Vec<Standstill> {
    let mut noted = Vec::new();
    let mut before = Instant::now();
    while !is_over.load(Relaxed) {
        sleep(EVERY);
        let now = Instant::now();
        noted.extend(standstill(begins, before, now).filter(|_| noted.len() < NOTED_MAX));
        before = now;
    }
    noted
}

/// What it means that a moment's sleep lasted from `before` to `now`.
fn standstill(begins: Instant, before: Instant, now: Instant) -> Option<Standstill> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let lasted = now.saturating_duration_since(before);
    let at = now.checked_duration_since(begins)?;
    (lasted >= NOTED).then(|| Standstill { at_ms: ms(at), ms: ms(lasted) })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Standstill, Witness, standstill};

    #[test]
    fn only_what_is_long_and_under_load_is_noted() {
        let begins = Instant::now() + Duration::from_secs(10);
        let at = |ms| begins + Duration::from_millis(ms);
        assert_eq!(standstill(begins, at(2_000), at(2_099)), None);
        assert_eq!(standstill(begins, at(2_000), at(2_730)), Some(Standstill { at_ms: 2_730, ms: 730 }));
        assert_eq!(standstill(begins, begins - Duration::from_secs(5), begins - Duration::from_secs(1)), None);
    }

    #[test]
    fn a_witness_ends_when_it_is_told_to() {
        let witness = Witness::start(Instant::now() + Duration::from_secs(60));
        assert!(witness.end().is_empty(), "before the load begins nothing is noted");
    }
}
