//! The members of a pool at one time, and which of them can take a request. A change makes new ones.
//!
//! Invariant: passive backends come when no active one is up, never because the active ones are full.

use std::sync::Arc;
use std::time::{Duration, Instant};

use triad_model::Algorithm;

use crate::backend::{Backend, RAMP_STEPS};
use crate::balance::{Chooser, Pick, Share, fingerprint, panic, tier};
use crate::plan::PoolPlan;
use crate::slots::Slot;

/// How a pool works, apart from its backends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    algorithm: Algorithm,
    /// Active backends of which fewer are up are not believed to be down; 0: all checks are believed.
    panic_percent: u8,
    /// Time a request may wait for a slot.
    pub queue_timeout: Duration,
    /// Requests that may wait.
    pub queue_max: usize,
}

impl Policy {
    /// What `plan` says.
    pub fn of(plan: &PoolPlan) -> Self {
        Self {
            algorithm: plan.algorithm,
            panic_percent: plan.panic_percent,
            queue_timeout: Duration::from_millis(plan.queue_timeout_ms.into()),
            queue_max: plan.queue_max as usize,
        }
    }
}

/// The members.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub backends: Vec<Arc<Backend>>,
    pub policy: Policy,
    /// Whether any of them can be picked.
    pub up: bool,
    /// Whether requests go to active ones that their checks say are down.
    pub panic: bool,
    /// Whether any of them can be full.
    pub bounded: bool,
    shares: Vec<Share>,
    chooser: Chooser,
}

/// Backends that a request does not go to again, and the one that its user belongs to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tried {
    backends: Vec<Arc<Backend>>,
    /// By name: it need not be there any more.
    pub home: Option<Arc<str>>,
}

/// A backend, and a slot in it.
#[derive(Debug)]
pub(crate) struct Place {
    pub backend: Arc<Backend>,
    pub slot: Slot,
}

/// What a request finds.
#[derive(Debug)]
pub(crate) enum Choice {
    Place(Place),
    /// Whoever could take it is full.
    Busy,
    /// Nobody could take it.
    Nobody,
}

impl Tried {
    /// One more.
    pub fn push(&mut self, backend: Arc<Backend>) {
        self.backends.push(backend);
    }

    fn contains(&self, backend: &Arc<Backend>) -> bool {
        self.backends.iter().any(|tried| Arc::ptr_eq(tried, backend))
    }
}

impl PartialEq for Tried {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(a, b): (&Arc<Backend>, &Arc<Backend>)| Arc::ptr_eq(a, b);
        let pairs = self.backends.iter().zip(&other.backends);
        self.home == other.home && self.backends.len() == other.backends.len() && pairs.into_iter().all(is_same)
    }
}

impl Members {
    /// `backends` as they are now.
    pub fn new(backends: Vec<Arc<Backend>>, policy: Policy) -> Self {
        let conditions: Vec<_> = backends.iter().map(|backend| backend.condition()).collect();
        let (shares, panic) = panic::shares(policy.panic_percent, &conditions);
        // Weights are multiplied only while somebody has a part of its own: a long cycle is less evenly spread.
        let all_full = backends.iter().all(|backend| backend.ramp() == RAMP_STEPS);
        let weighed = |(backend, share): (&Arc<Backend>, &Share)| {
            let weight = if all_full { share.weight } else { share.weight * backend.ramp() };
            (fingerprint(backend.name.as_bytes()), Share { weight, ..*share })
        };
        let chooser = Chooser::new(policy.algorithm, &backends.iter().zip(&shares).map(weighed).collect::<Vec<_>>());
        let now = Instant::now();
        let up = shares.iter().any(|share| share.up) || backends.iter().any(|it| it.is_last_resort(now));
        let bounded = backends.iter().any(|backend| backend.slots.max() > 0);
        Self { chooser, shares, backends, policy, up, panic, bounded }
    }

    /// A slot of the backend that the user belongs to, or else of the one whose turn it is, passing over those that were
    /// `tried` and those that are full.
    pub fn take(&self, pick: Pick, tried: &Tried) -> Choice {
        if let Some(home) = self.home(tried) {
            let place = |slot| Choice::Place(Place { backend: home.clone(), slot });
            return home.slots.take().map_or(Choice::Busy, place);
        }
        let candidates = if self.bounded { self.candidates(tried) } else { Vec::new() };
        // Others were quicker there. One more each time around, so that this ends.
        let mut lost = Vec::new();
        while let Some(position) = self.next(pick, tried, &candidates, &lost) {
            let backend = &self.backends[position];
            match backend.slots.take() {
                Some(slot) => return Choice::Place(Place { backend: backend.clone(), slot }),
                None => lost.push(position),
            }
        }
        if candidates.is_empty() && lost.is_empty() { Choice::Nobody } else { Choice::Busy }
    }

    /// The one whose turn it is of those that were not `tried`, full or not.
    pub fn next_full_or_not(&self, pick: Pick, tried: &Tried) -> Option<&Arc<Backend>> {
        let excluded = |position: usize| tried.contains(&self.backends[position]);
        let in_flight = |position: usize| self.backends[position].slots.in_flight();
        let position = self.chooser.pick(pick, in_flight, excluded).or_else(|| self.last_resort(excluded));
        self.backends.get(position?)
    }

    /// The backend that the user belongs to, if it keeps its users and was not tried.
    fn home(&self, tried: &Tried) -> Option<&Arc<Backend>> {
        let name = tried.home.as_ref()?;
        let (backend, share) = self.backends.iter().zip(&self.shares).find(|(backend, _)| backend.name == *name)?;
        let is_open = share.up || backend.keeps_its_users(Instant::now());
        (is_open && !tried.contains(backend)).then_some(backend)
    }

    /// Who could take a request if nobody were full.
    fn candidates(&self, tried: &Tried) -> Vec<usize> {
        let is_tried = |position: usize| tried.contains(&self.backends[position]);
        let up: Vec<usize> = tier(&self.shares, is_tried).collect();
        let now = Instant::now();
        match up.is_empty() {
            true => {
                (0..self.backends.len()).filter(|it| !is_tried(*it) && self.backends[*it].is_last_resort(now)).collect()
            }
            false => up,
        }
    }

    fn next(&self, pick: Pick, tried: &Tried, candidates: &[usize], lost: &[usize]) -> Option<usize> {
        let excluded = |position: usize| {
            let backend = &self.backends[position];
            let out = tried.contains(backend) || lost.contains(&position);
            out || (self.bounded && (!candidates.contains(&position) || backend.slots.is_full()))
        };
        let in_flight = |position: usize| self.backends[position].slots.in_flight();
        self.chooser.pick(pick, in_flight, excluded).or_else(|| self.last_resort(excluded))
    }

    /// One that is left out, where nobody else takes the request.
    fn last_resort(&self, excluded: impl Fn(usize) -> bool) -> Option<usize> {
        let now = Instant::now();
        (0..self.backends.len()).find(|position| !excluded(*position) && self.backends[*position].is_last_resort(now))
    }
}
