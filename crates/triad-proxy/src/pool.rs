//! A pool: backends that do the same job, whose turn it is, and who waits until one of them has room.
//!
//! A pool none of whose backends has a bound takes no lock for a request. Where there are bounds, a lock is taken by
//! who waits, and by who frees a slot while somebody does.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use triad_model::{BackendReport, PoolReport};

use crate::backend::{Backend, lock};
use crate::balance::{Pick, spread};
use crate::members::{Choice, Members, Policy, Tried};
use crate::outlier::{Decision, Standing, decide};
use crate::plan::PoolPlan;
use crate::queue::{Queue, Ticket};
use crate::slots::Slots;

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
    /// Never locked by who holds it and drops a slot: that would lock it again.
    queue: Mutex<Queue<Tried, Waiter>>,
    /// Its length, for who need not lock it.
    waiting: AtomicUsize,
    /// Requests that waited in vain.
    timed_out: AtomicU64,
    /// Requests that could not wait.
    overflowed: AtomicU64,
}

/// What a pool's members will be.
#[derive(Default)]
pub(crate) struct NextMembers {
    pub all: Vec<Arc<Backend>>,
    /// Those of them that nobody checks yet.
    pub new: Vec<Arc<Backend>>,
}

/// Who waits.
#[derive(Debug)]
struct Waiter {
    key: Option<u64>,
    outcome: oneshot::Sender<Choice>,
}

/// A place in the queue of a pool, given up when dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'p> {
    pool: &'p Pool,
    ticket: Ticket,
    outcome: oneshot::Receiver<Choice>,
}

impl Waiting<'_> {
    /// Ready when there is a slot, or nobody is left to wait for.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Choice> {
        Pin::new(&mut self.outcome).poll(context).map(|outcome| outcome.unwrap_or(Choice::Nobody))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.pool.queue);
        queue.leave(self.ticket);
        self.pool.waiting.store(queue.len(), SeqCst);
    }
}

impl Pool {
    /// A pool without members.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            members: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            seed: RandomState::new().hash_one(name),
            changing: Mutex::default(),
            queue: Mutex::default(),
            waiting: AtomicUsize::new(0),
            timed_out: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
        }
    }

    /// The members `plan` asks for: those that it does not change, with all that is known of them, and new ones.
    pub fn next_members(self: &Arc<Self>, plan: &PoolPlan, workers: usize) -> NextMembers {
        let members = self.members.load();
        let mut next = NextMembers::default();
        for wanted in &plan.backends {
            let same = |backend: &&Arc<Backend>| backend.plan.is_same(wanted) && backend.check == plan.check;
            let backend = members.backends.iter().find(same).cloned().unwrap_or_else(|| {
                // What is in flight there still is, whatever it is called now.
                let before = members.backends.iter().find(|backend| backend.plan.target == wanted.target);
                let slots = before.map_or_else(|| Arc::new(Slots::new(Arc::downgrade(self))), |it| it.slots.clone());
                let new = Arc::new(Backend::new(wanted.clone(), plan.check.clone(), workers, slots));
                next.new.push(new.clone());
                new
            });
            next.all.push(backend);
        }
        next
    }

    /// Works from `backends`, which are those of `plan`, from now on, in the way it says.
    pub fn set(&self, backends: Vec<Arc<Backend>>, plan: &PoolPlan) {
        for (backend, wanted) in backends.iter().zip(&plan.backends) {
            let setting = plan.settings.iter().find(|setting| setting.backend == backend.plan.name);
            backend.set(setting, plan.slow_start_ms, plan.max_fails);
            backend.slots.set_max(wanted.max_connections);
        }
        let _changing = lock(&self.changing);
        self.put(Members::new(backends, Policy::of(plan)));
    }

    /// Has no members from now on.
    pub fn clear(&self) {
        let _changing = lock(&self.changing);
        self.put(Members::default());
    }

    /// Takes changed verdicts into the rotation.
    pub fn refresh(&self) {
        let _changing = lock(&self.changing);
        self.renew(&self.members.load());
    }

    /// Leaves `backend` out for a time because requests to it failed, or does what else that calls for.
    pub fn leave_out(&self, backend: &Arc<Backend>) {
        let _changing = lock(&self.changing);
        let members = self.members.load();
        if members.panic {
            return;
        }
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
        self.renew(&members);
    }

    /// The same backends, as they are now.
    fn renew(&self, members: &Members) {
        self.put(Members::new(members.backends.clone(), members.policy));
    }

    fn put(&self, members: Members) {
        let (before, now) = (self.members.load().panic, members.panic);
        match (before, now) {
            (false, true) => tracing::warn!(pool = self.name, "panic: requests go to backends whose checks fail"),
            (true, false) => tracing::info!(pool = self.name, "panic is over"),
            _ => {}
        }
        self.members.store(Arc::new(members));
        self.serve();
    }

    /// A slot of the next backend that is not among `tried`; `key` is the hash of what the design names, if it names
    /// something. Who finds all of them busy may [`Pool::enter`] the queue; so must whoever comes while others wait.
    pub fn pick(&self, tried: &Tried, key: Option<u64>) -> Choice {
        let members = self.members.load();
        match members.bounded && self.waiting.load(SeqCst) > 0 {
            true => Choice::Busy,
            false => members.take(self.next(key), tried),
        }
    }

    /// Waits for what [`Pool::pick`] did not find; `None` if too many do.
    pub fn enter(&self, tried: &Tried, key: Option<u64>) -> Option<Waiting<'_>> {
        let (sender, outcome) = oneshot::channel();
        let max = self.members.load().policy.queue_max;
        let mut queue = lock(&self.queue);
        let mut served = if queue.len() >= max { self.hand_out(&mut queue) } else { Vec::new() };
        let ticket = queue.enter(tried.clone(), Waiter { key, outcome: sender }, max);
        if ticket.is_some() {
            // Who frees a slot must see it before this looks for one.
            self.waiting.store(queue.len(), SeqCst);
            served.extend(self.hand_out(&mut queue));
        }
        drop(queue);
        deliver(served);
        ticket.map(|ticket| Waiting { pool: self, ticket, outcome })
    }

    /// Called by whoever gave a slot back.
    pub fn slot_freed(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.serve();
        }
    }

    fn serve(&self) {
        let mut queue = lock(&self.queue);
        let served = self.hand_out(&mut queue);
        drop(queue);
        deliver(served);
    }

    /// Finds what there is for those that wait.
    fn hand_out(&self, queue: &mut Queue<Tried, Waiter>) -> Vec<(Waiter, Choice)> {
        let members = self.members.load();
        let served = queue.serve(|tried, waiter| match members.take(self.next(waiter.key), tried) {
            Choice::Busy => None,
            choice => Some(choice),
        });
        self.waiting.store(queue.len(), SeqCst);
        served
    }

    fn next(&self, key: Option<u64>) -> Pick {
        let turn = self.turn.fetch_add(1, Relaxed);
        Pick { turn, random: spread(self.seed.wrapping_add(turn as u64)), key }
    }

    /// Time a request may wait in all.
    pub fn queue_timeout(&self) -> Duration {
        self.members.load().policy.queue_timeout
    }

    /// Counts a request that waited in vain.
    pub fn count_timed_out(&self) {
        self.timed_out.fetch_add(1, Relaxed);
    }

    /// Counts a request that could not wait.
    pub fn count_overflowed(&self) {
        self.overflowed.fetch_add(1, Relaxed);
    }

    /// Whether requests go to backends that their checks say are down.
    pub fn is_panic(&self) -> bool {
        self.members.load().panic
    }

    /// Whether any backend is up; `None` while none is and some were never checked.
    pub fn is_up(&self) -> Option<bool> {
        let members = self.members.load();
        let up = members.up;
        (up || members.backends.iter().all(|backend| backend.is_checked())).then_some(up)
    }

    /// How it is; `None` without members.
    pub fn report(&self) -> Option<PoolReport> {
        let members = self.members.load();
        (!members.backends.is_empty()).then(|| PoolReport {
            pool: self.name.to_owned(),
            panic: members.panic,
            waiting: self.waiting.load(SeqCst) as u64,
            timed_out: self.timed_out.load(Relaxed),
            overflowed: self.overflowed.load(Relaxed),
        })
    }

    /// Its backends, in the order of the file.
    pub fn report_backends(&self) -> Vec<BackendReport> {
        self.members.load().backends.iter().map(|backend| backend.report(self.name)).collect()
    }
}

/// Tells those that waited what they get. A slot whose waiter is gone meanwhile is free for the next.
fn deliver(served: Vec<(Waiter, Choice)>) {
    for (waiter, choice) in served {
        let _ = waiter.outcome.send(choice);
    }
}
