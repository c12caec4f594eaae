//! A pool: backends that do the same job, and whose turn it is.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use triad_model::{Algorithm, BackendReport};

use crate::backend::{Backend, RAMP_STEPS};
use crate::balance::{Chooser, Pick, Share, fingerprint, spread};
use crate::outlier::{Decision, Standing, decide};
use crate::plan::PoolPlan;

/// A pool. It lives as long as the edge; reloads change its members.
#[derive(Debug)]
pub(crate) struct Pool {
    /// `balancer` or `local`.
    pub name: &'static str,
    members: ArcSwap<Members>,
    /// Picks so far, over all workers.
    turn: AtomicUsize,
    /// Makes its random numbers others than those of the next edge.
    seed: u64,
    /// Held by whoever replaces `members`.
    changing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Members {
    backends: Vec<Arc<Backend>>,
    algorithm: Algorithm,
    chooser: Chooser,
    /// Whether any of them can be picked.
    up: bool,
}

/// What a pool's members will be.
#[derive(Default)]
pub(crate) struct NextMembers {
    pub all: Vec<Arc<Backend>>,
    /// Those of them that nobody checks yet.
    pub new: Vec<Arc<Backend>>,
}

impl Members {
    fn new(backends: Vec<Arc<Backend>>, algorithm: Algorithm) -> Self {
        // Weights are multiplied only while somebody has a part of its own: a long cycle is less evenly spread.
        let all_full = backends.iter().all(|backend| backend.ramp() == RAMP_STEPS);
        let share = |backend: &Arc<Backend>| {
            let share = backend.share();
            let weight = if all_full { share.weight } else { share.weight * backend.ramp() };
            (fingerprint(backend.name.as_bytes()), Share { weight, ..share })
        };
        let shares: Vec<(u64, Share)> = backends.iter().map(share).collect();
        let now = Instant::now();
        let up = shares.iter().any(|(_, share)| share.up) || backends.iter().any(|it| it.is_last_resort(now));
        Self { chooser: Chooser::new(algorithm, &shares), backends, algorithm, up }
    }

    /// One that is left out, where nobody else takes the request.
    fn last_resort(&self, excluded: impl Fn(usize) -> bool) -> Option<usize> {
        let now = Instant::now();
        (0..self.backends.len()).find(|position| !excluded(*position) && self.backends[*position].is_last_resort(now))
    }
}

impl Pool {
    /// A pool without members.
    pub fn new(name: &'static str) -> Self {
        let seed = RandomState::new().hash_one(name);
        Self { name, members: ArcSwap::default(), turn: AtomicUsize::new(0), seed, changing: Mutex::new(()) }
    }

    /// The members `plan` asks for: those that it does not change, with all that is known of them, and new ones.
    pub fn next_members(&self, plan: &PoolPlan, workers: usize) -> NextMembers {
        let members = self.members.load();
        let mut next = NextMembers::default();
        for wanted in &plan.backends {
            let same = |backend: &&Arc<Backend>| backend.plan == *wanted && backend.check == plan.check;
            let backend = members.backends.iter().find(same).cloned().unwrap_or_else(|| {
                let new = Arc::new(Backend::new(wanted.clone(), plan.check.clone(), workers));
                next.new.push(new.clone());
                new
            });
            next.all.push(backend);
        }
        next
    }

    /// Works from `backends` from now on, in the way `plan` says.
    pub fn set(&self, backends: Vec<Arc<Backend>>, plan: &PoolPlan) {
        for backend in &backends {
            let setting = plan.settings.iter().find(|setting| setting.backend == backend.plan.name);
            backend.set(setting, plan.slow_start_ms, plan.max_fails);
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.members.store(Arc::new(Members::new(backends, plan.algorithm)));
    }

    /// Has no members from now on.
    pub fn clear(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.members.store(Arc::default());
    }

    /// Takes changed verdicts into the rotation.
    pub fn refresh(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self.members.load();
        let next = Members::new(members.backends.clone(), members.algorithm);
        self.members.store(Arc::new(next));
    }

    /// Leaves `backend` out for a time because requests to it failed, or does what else that calls for.
    pub fn leave_out(&self, backend: &Arc<Backend>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self.members.load();
        let now = Instant::now();
        let others = || members.backends.iter().filter(|other| !Arc::ptr_eq(other, backend));
        let standing = |it: &Arc<Backend>| Standing { up: it.share().up, answering: it.is_answering(now) };
        match decide(standing(backend), others().map(standing)) {
            Decision::Keep => return,
            Decision::TakeOthersIn => others().for_each(|other| other.take_in()),
            Decision::LeaveOut => {
                let (pool, name, pause_s) = (self.name, &backend.plan.name, backend.leave_out(now).as_secs());
                tracing::warn!(pool, backend = name, pause_s, "requests fail in a row: left out");
            }
        }
        self.members.store(Arc::new(Members::new(members.backends.clone(), members.algorithm)));
    }

    /// The next backend that is not among `tried`; `key` is the hash of what the design names, if it names something.
    pub fn pick(&self, tried: &[Arc<Backend>], key: Option<u64>) -> Option<Arc<Backend>> {
        let members = self.members.load();
        let turn = self.turn.fetch_add(1, Relaxed);
        let pick = Pick { turn, random: spread(self.seed.wrapping_add(turn as u64)), key };
        let excluded = |position: usize| tried.iter().any(|backend| Arc::ptr_eq(backend, &members.backends[position]));
        let in_flight = |position: usize| members.backends[position].in_flight.load(Relaxed);
        let position = members.chooser.pick(pick, in_flight, excluded);
        position.or_else(|| members.last_resort(excluded)).map(|position| members.backends[position].clone())
    }

    /// Whether any backend is up; `None` while none is and some were never checked.
    pub fn is_up(&self) -> Option<bool> {
        let members = self.members.load();
        let up = members.up;
        (up || members.backends.iter().all(|backend| backend.is_checked())).then_some(up)
    }

    /// Its backends, in the order of the file.
    pub fn report(&self) -> Vec<BackendReport> {
        self.members.load().backends.iter().map(|backend| backend.report(self.name)).collect()
    }
}
