//! One backend: its idle connections, what is believed of its health, and what was counted about it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use triad_model::{BackendReport, Health, HealthCheck, Reading, Verdict};

use crate::balance::Share;
use crate::plan::BackendPlan;
use crate::stream::Stream;

/// Idle connections kept per backend and worker.
const IDLE_PER_BACKEND_MAX: usize = 64;
/// Time an idle connection is kept: shorter than the application servers' own limits (Node's is 5 s), so that they
/// seldom close one just as a request is sent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// A backend. It outlives reloads that do not change it.
#[derive(Debug)]
pub(crate) struct Backend {
    pub plan: BackendPlan,
    pub check: HealthCheck,
    /// Its name, shared with log lines.
    pub name: Arc<str>,
    pub requests: AtomicU64,
    pub failures: AtomicU64,
    pub in_flight: AtomicU64,
    opinion: Mutex<Opinion>,
    verdict: watch::Sender<Verdict>,
    /// One list per worker, oldest first. Only its worker takes from a list, so its lock is free.
    idle: Vec<Mutex<VecDeque<Idle>>>,
}

/// What is believed, and why.
#[derive(Debug)]
struct Opinion {
    /// `None` until the first reading, which alone decides.
    health: Option<Health>,
    why: String,
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    since: Instant,
}

impl Backend {
    /// A backend nobody has checked yet: down.
    pub fn new(plan: BackendPlan, check: HealthCheck, workers: usize) -> Self {
        Self {
            name: plan.name.as_str().into(),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            opinion: Mutex::new(Opinion { health: None, why: "not checked yet".to_owned() }),
            verdict: watch::Sender::new(Verdict::Down),
            idle: (0..workers).map(|_| Mutex::default()).collect(),
            plan,
            check,
        }
    }

    /// Whether it may get traffic.
    pub fn is_up(&self) -> bool {
        *self.verdict.borrow() == Verdict::Up
    }

    /// Whether a first reading has been taken.
    pub fn is_checked(&self) -> bool {
        lock(&self.opinion).health.is_some()
    }

    /// Ready when it is down.
    #[cfg(test)]
    pub async fn down(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.verdict.subscribe().wait_for(|verdict| *verdict == Verdict::Down).await;
    }

    /// Takes one reading of its health; returns the verdict if it is news. Going down drops the idle connections.
    pub fn take(&self, reading: Reading, why: String) -> Option<Verdict> {
        let changed = self.judge(reading, why)?;
        self.verdict.send_replace(changed);
        if changed == Verdict::Down {
            self.idle.iter().for_each(|list| lock(list).clear());
        }
        Some(changed)
    }

    fn judge(&self, reading: Reading, why: String) -> Option<Verdict> {
        let mut opinion = lock(&self.opinion);
        opinion.why = why;
        match &mut opinion.health {
            Some(health) => health.take(reading),
            none => {
                let verdict = if reading == Reading::Pass { Verdict::Up } else { Verdict::Down };
                *none = Some(Health::new(verdict, self.check.rise, self.check.fall));
                Some(verdict)
            }
        }
    }

    /// An idle connection that can take a request at `now`.
    pub fn check_out(&self, worker: usize, now: Instant) -> Option<Stream> {
        let mut list = lock(&self.idle[worker]);
        while let Some(mut idle) = list.pop_back() {
            if now.saturating_duration_since(idle.since) < IDLE_TIMEOUT && idle.stream.is_quiet() {
                return Some(idle.stream);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end; beyond the bound the oldest is closed.
    pub fn check_in(&self, worker: usize, stream: Stream) {
        let mut list = lock(&self.idle[worker]);
        if list.len() == IDLE_PER_BACKEND_MAX {
            list.pop_front();
        }
        if self.is_up() {
            list.push_back(Idle { stream, since: Instant::now() });
        }
    }

    /// Closes connections that were idle for too long.
    pub fn prune(&self) {
        for list in &self.idle {
            lock(list).retain(|idle| idle.since.elapsed() < IDLE_TIMEOUT);
        }
    }

    /// As the rotation sees it.
    pub fn share(&self) -> Share {
        Share { weight: self.plan.weight, backup: self.plan.backup, up: self.is_up() }
    }

    /// As status and metrics show it.
    pub fn report(&self, pool: &str) -> BackendReport {
        BackendReport {
            pool: pool.to_owned(),
            name: self.plan.name.clone(),
            verdict: *self.verdict.borrow(),
            why: lock(&self.opinion).why.clone(),
            weight: self.plan.weight,
            backup: self.plan.backup,
            requests: self.requests.load(Relaxed),
            failures: self.failures.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
        }
    }
}

/// No invariant spans two statements under these locks, so a panic elsewhere leaves nothing broken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
