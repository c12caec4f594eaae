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
use triad_model::{BackendReport, PoolReport, ServerName, Verdict};

use crate::backend::{Backend, lock};
use crate::balance::{Pick, spread};
use crate::members::{Choice, Members, Policy, Tried};
use crate::outlier::{Decision, Grounds, Standing, decide};
use crate::plan::PoolPlan;
use crate::queue::{Queue, Ticket};
use crate::slots::Slots;

/// A pool. It lives as long as the edge; reloads change its members.
#[derive(Debug)]
pub(crate) struct Pool {
    /// `balancer`, `local`, or what the file calls it.
    pub name: Box<str>,
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
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
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
            // The last word counts.
            let setting = plan.settings.iter().rev().find(|setting| setting.backend == backend.plan.name);
            backend.set(setting, plan);
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

    /// Leaves `backend` out for a time on these `grounds`, or does what else they call for.
    pub fn leave_out(&self, backend: &Arc<Backend>, grounds: Grounds) {
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
            Decision::TakeOthersIn => others().for_each(|other| other.take_in(now)),
            Decision::LeaveOut => {
                let pause_s = backend.leave_out(now, grounds).as_secs();
                let (pool, name) = (&*self.name, &backend.plan.name);
                tracing::warn!(pool, backend = name, pause_s, why = %grounds, "left out");
            }
        }
        self.renew(&members);
    }

    /// Takes out backends whose servers are among `silent` and takes in those whose servers no longer are, as far as
    /// [`crate::silence`] says.
    pub fn heed_silence(&self, silent: &[ServerName]) {
        let _changing = lock(&self.changing);
        let members = self.members.load();
        let now = Instant::now();
        let is_news = |it: &Backend| silent.iter().any(|server| it.is_on(server)) && !it.is_known_silent();
        let (fallen, rest): (Vec<_>, Vec<_>) = members.backends.iter().partition(|backend| is_news(backend));
        let others = rest.iter().any(|backend| backend.share().up);
        for backend in rest.iter().filter(|it| it.is_known_silent() && !silent.iter().any(|server| it.is_on(server))) {
            if backend.end_silence() == Some(Verdict::Up) {
                tracing::info!(pool = &*self.name, backend = backend.plan.name, "its server is heard again: taken in");
            }
        }
        for backend in fallen {
            if backend.fall_silent(now, others) {
                tracing::warn!(pool = &*self.name, backend = backend.plan.name, "its server is silent: taken out");
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
            (false, true) => tracing::warn!(pool = &*self.name, "panic: requests go to backends whose checks fail"),
            (true, false) => tracing::info!(pool = &*self.name, "panic is over"),
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

    /// The next backend for a check, which asks whether it serves and not whether it is busy.
    pub fn pick_for_check(&self, tried: &Tried) -> Option<Arc<Backend>> {
        self.members.load().next_full_or_not(self.next(None), tried).cloned()
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
            pool: self.name.to_string(),
            panic: members.panic,
            waiting: self.waiting.load(SeqCst) as u64,
            timed_out: self.timed_out.load(Relaxed),
            overflowed: self.overflowed.load(Relaxed),
        })
    }

    /// Its backends, in the order of the file.
    pub fn report_backends(&self) -> Vec<BackendReport> {
        self.members.load().backends.iter().map(|backend| backend.report(&self.name)).collect()
    }
}

/// Tells those that waited what they get. A slot whose waiter is gone meanwhile is free for the next.
fn deliver(served: Vec<(Waiter, Choice)>) {
    for (waiter, choice) in served {
        let _ = waiter.outcome.send(choice);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::time::Duration;

    use tokio::task::yield_now;
    use tokio::time::timeout;
    use triad_model::{HealthCheck, Reading};

    use super::{Pool, Waiting};
    use crate::backend::Backend;
    use crate::balance::spread;
    use crate::members::{Choice, Place, Tried};
    use crate::plan::{BackendPlan, PoolPlan, Target};

    /// The most that each backend ever may have in flight.
    const BOUNDS: [u32; 3] = [1, 2, 3];
    const QUEUE_MAX: u32 = 8;
    const THREADS: u64 = 4;
    const TASKS: u64 = 6;
    /// Nothing takes so long but what never happens.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Numbers from a seed.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            spread(self.0) % end
        }
    }

    fn plan(bounds: [u32; 3]) -> PoolPlan {
        let backend = |(index, max_connections): (usize, u32)| BackendPlan {
            max_connections,
            ..BackendPlan::new(format!("srv{index}"), Target::Instance(([127, 0, 0, 1], 1 + index as u16).into()))
        };
        let backends = bounds.into_iter().enumerate().map(backend).collect();
        let check = HealthCheck { rise: 1, fall: 1, ..HealthCheck::new("/up", 1, 1) };
        PoolPlan { queue_max: QUEUE_MAX, ..PoolPlan::new(backends, check) }
    }

    /// A pool by `plan`, and its backends, all up.
    fn pool(plan: &PoolPlan) -> (Arc<Pool>, Vec<Arc<Backend>>) {
        let pool = Arc::new(Pool::new("balancer"));
        let members = pool.next_members(plan, 1).all;
        members.iter().for_each(|backend| _ = backend.take(Reading::Pass, String::new()));
        pool.set(members.clone(), plan);
        (pool, members)
    }

    fn place(choice: Choice) -> Place {
        match choice {
            Choice::Place(place) => place,
            other => panic!("no place: {other:?}"),
        }
    }

    async fn outcome(mut waiting: Waiting<'_>) -> Choice {
        timeout(PATIENCE, std::future::poll_fn(|context| waiting.poll(context))).await.expect("a wake-up was lost")
    }

    #[tokio::test]
    async fn one_slot_wakes_one_waiter_the_first() {
        let (pool, _) = pool(&plan([1; 3]));
        let tried = Tried::default();
        let mut held: Vec<_> = (0..3).map(|_| place(pool.pick(&tried, None))).collect();
        assert!(matches!(pool.pick(&tried, None), Choice::Busy));
        let first = pool.enter(&tried, None).expect("room");
        let mut second = pool.enter(&tried, None).expect("room");
        held.pop();
        assert!(matches!(pool.pick(&tried, None), Choice::Busy), "nobody who comes later is served before");
        let _first = place(outcome(first).await);
        let poll = std::future::poll_fn(|context| std::task::Poll::Ready(second.poll(context)));
        assert!(poll.await.is_pending());
        held.pop();
        place(outcome(second).await);
    }

    #[tokio::test]
    async fn who_is_served_and_does_not_come_passes_it_on() {
        let (pool, _) = pool(&plan([1; 3]));
        let tried = Tried::default();
        let mut held: Vec<_> = (0..3).map(|_| place(pool.pick(&tried, None))).collect();
        let gone = pool.enter(&tried, None).expect("room");
        let next = pool.enter(&tried, None).expect("room");
        held.pop();
        drop(gone);
        place(outcome(next).await);
    }

    #[tokio::test]
    async fn a_change_wakes_who_waits() {
        let narrow = plan([1; 3]);
        let (pool, members) = pool(&narrow);
        let tried = Tried::default();
        let held: Vec<_> = (0..3).map(|_| place(pool.pick(&tried, None))).collect();
        let waiting = pool.enter(&tried, None).expect("room");
        let wide = plan([1, 1, 2]);
        let next = pool.next_members(&wide, 1);
        assert!(next.new.is_empty(), "another bound is no other backend");
        pool.set(next.all, &wide);
        let _more = place(outcome(waiting).await);
        // A weight is: but what is in flight there still counts.
        let mut heavy = narrow.clone();
        heavy.backends[0].weight = 2;
        assert_eq!(pool.next_members(&heavy, 1).new[0].slots.in_flight(), 1);
        let waiting = pool.enter(&tried, None).expect("room");
        for backend in &members {
            backend.take(Reading::Fail, String::new());
            pool.refresh();
        }
        assert!(matches!(outcome(waiting).await, Choice::Nobody), "nobody is left to wait for");
        drop(held);
    }

    /// The one moment at which a wake-up could be lost, again and again.
    #[tokio::test]
    async fn a_slot_that_becomes_free_while_somebody_enters_is_not_missed() {
        let mut plan = plan([1; 3]);
        plan.backends.truncate(1);
        let (pool, _) = pool(&plan);
        let tried = Tried::default();
        let (give, taken) = std::sync::mpsc::channel::<Place>();
        let freeing = std::thread::spawn(move || taken.into_iter().for_each(drop));
        for _ in 0..20_000 {
            give.send(place(pool.pick(&tried, None))).expect("the thread runs");
            place(outcome(pool.enter(&tried, None).expect("room")).await);
        }
        drop(give);
        freeing.join().expect("it ends");
    }

    /// What threads do at random, from a seed: take slots, wait, give up, while backends come, go and change bounds.
    struct Traffic {
        pool: Arc<Pool>,
        members: Vec<Arc<Backend>>,
        rounds: u64,
        there: [AtomicU64; 3],
        served: AtomicU64,
    }

    impl Traffic {
        async fn client(self: Arc<Self>, mut numbers: Numbers) {
            for _ in 0..self.rounds {
                let mut tried = Tried::default();
                if numbers.below(4) == 0 {
                    tried.push(self.members[numbers.below(3) as usize].clone());
                }
                let choice = match self.pool.pick(&tried, None) {
                    Choice::Busy => self.wait(&tried, &mut numbers).await,
                    choice => Some(choice),
                };
                if let Some(Choice::Place(place)) = choice {
                    self.hold(place, &mut numbers).await;
                }
            }
        }

        async fn wait(&self, tried: &Tried, numbers: &mut Numbers) -> Option<Choice> {
            let waiting = self.pool.enter(tried, None)?;
            if numbers.below(4) > 0 {
                return Some(outcome(waiting).await);
            }
            for _ in 0..numbers.below(4) {
                yield_now().await;
            }
            None
        }

        async fn hold(&self, place: Place, numbers: &mut Numbers) {
            let index = self.members.iter().position(|it| Arc::ptr_eq(it, &place.backend)).expect("a member");
            let there = self.there[index].fetch_add(1, SeqCst) + 1;
            assert!(there <= BOUNDS[index].into(), "{there} at backend {index}");
            for _ in 0..numbers.below(6) {
                yield_now().await;
            }
            self.there[index].fetch_sub(1, SeqCst);
            self.served.fetch_add(1, SeqCst);
        }

        fn disturb(&self, numbers: &mut Numbers) {
            let index = numbers.below(3) as usize;
            let reading = if numbers.below(2) == 0 { Reading::Fail } else { Reading::Pass };
            if numbers.below(3) > 0 {
                self.members[index].take(reading, String::new());
                return self.pool.refresh();
            }
            let plan = plan(BOUNDS.map(|bound| 1 + numbers.below(bound.into()) as u32));
            self.pool.set(self.members.clone(), &plan);
        }
    }

    fn run_clients(traffic: &Arc<Traffic>, seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let clients = (0..TASKS).map(|task| Numbers(spread(seed * TASKS + task)));
            let clients: Vec<_> = clients.map(|numbers| tokio::spawn(traffic.clone().client(numbers))).collect();
            for client in clients {
                client.await.expect("a client");
            }
        });
    }

    #[test]
    fn no_wake_up_is_lost_and_no_bound_passed_whatever_threads_do() {
        for seed in 0..200 {
            // With an odd seed nothing changes and nobody comes twice: only freed slots wake who waits.
            let (changes, rounds) = if seed % 2 == 0 { (true, 20) } else { (false, 1) };
            let (pool, members) = pool(&plan(BOUNDS));
            let traffic =
                Arc::new(Traffic { pool, members, rounds, there: Default::default(), served: AtomicU64::new(0) });
            std::thread::scope(|scope| {
                let clients: Vec<_> = (0..THREADS)
                    .map(|thread| {
                        let traffic = &traffic;
                        scope.spawn(move || run_clients(traffic, seed * THREADS + thread))
                    })
                    .collect();
                let mut numbers = Numbers(spread(!seed));
                while changes && !clients.iter().all(|client| client.is_finished()) {
                    traffic.disturb(&mut numbers);
                    std::thread::yield_now();
                }
                let ended: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
                assert!(ended.iter().all(Result::is_ok), "seed {seed}");
            });
            let report = traffic.pool.report().expect("it has members");
            assert_eq!(report.waiting, 0, "seed {seed}");
            assert!(traffic.members.iter().all(|backend| backend.slots.in_flight() == 0), "seed {seed}");
            // Where there are changes, they may end with nobody up before the clients begin.
            assert!(changes || traffic.served.load(SeqCst) > 0, "seed {seed}");
        }
    }
}
