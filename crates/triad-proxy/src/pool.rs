//! A pool: backends that do the same job, and whose turn it is.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use triad_model::BackendReport;

use crate::backend::Backend;
use crate::balance::Rotation;
use crate::plan::PoolPlan;

/// A pool. It lives as long as the edge; reloads change its members.
#[derive(Debug)]
pub(crate) struct Pool {
    /// `balancer` or `local`.
    pub name: &'static str,
    members: ArcSwap<Members>,
    /// Picks so far, over all workers.
    turn: AtomicUsize,
    /// Held by whoever replaces `members`.
    changing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Members {
    backends: Vec<Arc<Backend>>,
    rotation: Rotation,
}

/// What a pool's members will be.
#[derive(Default)]
pub(crate) struct NextMembers {
    pub all: Vec<Arc<Backend>>,
    /// Those of them that nobody checks yet.
    pub new: Vec<Arc<Backend>>,
}

impl Members {
    fn new(backends: Vec<Arc<Backend>>) -> Self {
        let shares: Vec<_> = backends.iter().map(|backend| backend.share()).collect();
        Self { rotation: Rotation::new(&shares), backends }
    }
}

impl Pool {
    /// A pool without members.
    pub fn new(name: &'static str) -> Self {
        Self { name, members: ArcSwap::default(), turn: AtomicUsize::new(0), changing: Mutex::new(()) }
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

    /// Works from `backends` from now on.
    pub fn set(&self, backends: Vec<Arc<Backend>>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.members.store(Arc::new(Members::new(backends)));
    }

    /// Takes changed verdicts into the rotation.
    pub fn refresh(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let backends = self.members.load().backends.clone();
        self.members.store(Arc::new(Members::new(backends)));
    }

    /// The next backend that is not among `tried`.
    pub fn pick(&self, tried: &[Arc<Backend>]) -> Option<Arc<Backend>> {
        let members = self.members.load();
        let turn = self.turn.fetch_add(1, Relaxed);
        let excluded = |position: usize| tried.iter().any(|backend| Arc::ptr_eq(backend, &members.backends[position]));
        members.rotation.pick(turn, excluded).map(|position| members.backends[position].clone())
    }

    /// Whether any backend is up; `None` while none is and some were never checked.
    pub fn is_up(&self) -> Option<bool> {
        let members = self.members.load();
        let up = !members.rotation.is_empty();
        (up || members.backends.iter().all(|backend| backend.is_checked())).then_some(up)
    }

    /// Its backends, in the order of the file.
    pub fn report(&self) -> Vec<BackendReport> {
        self.members.load().backends.iter().map(|backend| backend.report(self.name)).collect()
    }
}
