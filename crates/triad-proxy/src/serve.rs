//! The running edge: one thread per worker with a runtime and listeners of its own, and one thread for health checks.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};
use triad_model::{Ban, DatabaseRoute, EdgeReport, Noticed, ServerName, UsageNews};

use crate::accept::{Door, accept};
use crate::backend::Backend;
use crate::bans::Bans;
use crate::counters::{self, Counters};
use crate::handshake::Handshakes;
use crate::health;
use crate::lead::Purpose;
use crate::live::{EdgeError, Live};
use crate::plan::{EdgePlan, PoolPlan};
use crate::pool::Pool;
use crate::relay::{Relay, cut_off};
use crate::retry::RetryBudget;
use crate::room::{self, Room};
use crate::upstream::Dialer;

/// Longest time a start or reload waits for new backends' first checks before it serves without them.
const FIRST_CHECKS_TIMEOUT: Duration = Duration::from_secs(1);

/// What all threads of an edge share.
pub(crate) struct Shared {
    pub live: ArcSwap<Live>,
    /// What is behind this server itself. The pools that a front balances over are the plan's, in [`Live`].
    pub local: Arc<Pool>,
    pub dialer: Dialer,
    pub relay: Arc<Relay>,
    pub room: Room,
    pub bans: Bans,
    log_dropped: Arc<AtomicU64>,
}

/// One worker: what its connections need to know.
pub(crate) struct Worker {
    pub number: usize,
    pub shared: Arc<Shared>,
    pub counters: Arc<Counters>,
    pub handshakes: Handshakes,
    pub retries: RetryBudget,
    /// How long connections wait for another request, once it is decided that the worker ends. Every open connection
    /// holds a receiver.
    pub stop: watch::Sender<Option<Instant>>,
    /// When everything must have ended.
    end: watch::Sender<Option<Instant>>,
    /// Whether it is decided: cheaper to ask for every request.
    stopping: AtomicBool,
}

/// A running edge. Its methods block: call them where no async runtime is entered. Dropping it cuts all connections.
pub struct Edge {
    shared: Arc<Shared>,
    workers: Vec<Arc<Worker>>,
    /// They return how many connections they cut.
    threads: Vec<JoinHandle<usize>>,
    checks: Checks,
}

impl Edge {
    /// Serves `plan` on inherited sockets: under each name of [`crate::plan::listeners`] the same number of them, one
    /// per worker; a name may come more than once, for several addresses.
    ///
    /// Returns when it serves. On an error nothing runs.
    pub fn start(plan: EdgePlan, sockets: Vec<(String, Vec<TcpListener>)>) -> Result<Self, EdgeError> {
        let log_dropped = Arc::new(AtomicU64::new(0));
        let shares = share_out(sockets)?;
        let live = Live::build(&plan, shares.len(), None, &log_dropped)?;
        let shared = Arc::new(Shared::new(live, log_dropped));
        let workers = (0..shares.len()).map(|number| Arc::new(Worker::new(number, shared.clone()))).collect();
        let mut edge = Self { shared, workers, threads: Vec::new(), checks: Checks::start()? };
        edge.checks.handle.spawn(cut_off::watch(edge.shared.relay.clone()));
        edge.adopt(&plan, &edge.shared.live.load());
        for (worker, listeners) in edge.workers.iter().zip(shares) {
            edge.threads.push(start_worker(worker.clone(), listeners)?);
        }
        Ok(edge)
    }

    /// Works from `plan` from now on: requests and connections that begin later see the new one. Sockets, open
    /// connections, counters and what is known of unchanged backends stay. On an error everything stays as it was.
    pub fn reload(&self, plan: EdgePlan) -> Result<(), EdgeError> {
        let next = Live::build(&plan, self.workers.len(), Some(&self.shared.live.load()), &self.shared.log_dropped)?;
        self.shared.dialer.hop.store(next.hop_client.clone());
        self.adopt(&plan, &next);
        let next = Arc::new(next);
        let before = self.shared.live.swap(next.clone());
        // Only now does no new request look for a pool that the plan has no more.
        let stays = |pool: &Arc<Pool>| next.outlets.iter().any(|outlet| Arc::ptr_eq(&outlet.pool, pool));
        before.outlets.iter().map(|outlet| &outlet.pool).filter(|pool| !stays(pool)).for_each(|pool| pool.clear());
        if plan.local.is_none() {
            self.shared.local.clear();
        }
        Ok(())
    }

    /// Of all other servers, these are silent: their backends leave at once, where that harms nobody, and come back when
    /// their servers do.
    pub fn heed_silence(&self, servers: &[ServerName]) {
        self.shared.local.heed_silence(servers);
        self.shared.live.load().outlets.iter().for_each(|outlet| outlet.pool.heed_silence(servers));
    }

    /// Of all other servers, these live, and the way to them is cut: the relay looks whether it reaches a primary among
    /// them.
    pub fn heed_cut(&self, servers: &[ServerName]) {
        self.shared.relay.cut_off.send_replace(servers.to_vec());
    }

    /// Clients of these networks are banned from now on, and of no others: new connections of theirs are closed, open ones
    /// at their next request.
    pub fn ban(&self, bans: &[Ban]) {
        self.shared.bans.set(bans);
    }

    /// The relay leads where `route` says, unless a newer one was taken up: connections to other databases are cut, and
    /// those that were held go on.
    pub fn route_database(&self, route: DatabaseRoute) {
        let DatabaseRoute { epoch, primary, readable } = route.clone();
        if self.shared.relay.lead.send_if_modified(|lead| lead.take(route)) {
            let primary = primary.as_ref().map_or("nobody", ServerName::as_str);
            let readable: Vec<_> = readable.iter().map(ServerName::as_str).collect();
            tracing::info!(epoch, primary, ?readable, "who takes the database's connections");
        }
    }

    /// Which clients used noticeably much of their allowance, and which were refused too often, since this was asked last,
    /// and which have many connections; `None`: they are not limited.
    pub fn noticed(&self) -> Option<Noticed> {
        self.shared.live.load().limiter.as_ref().map(|limiter| limiter.noticed())
    }

    /// Heeds what clients used at another front server, and have open there.
    pub fn hear(&self, news: &UsageNews) {
        if let Some(limiter) = &self.shared.live.load().limiter {
            limiter.hear(news, std::time::Instant::now());
        }
    }

    /// What was counted since the start, and how the backends are now.
    pub fn report(&self) -> EdgeReport {
        let (shared, live) = (&self.shared, self.shared.live.load());
        let [relay, read_relay] = [Purpose::Write, Purpose::Read].map(|purpose| shared.relay.report(purpose));
        let pools = || live.outlets.iter().map(|outlet| &outlet.pool).chain([&shared.local]);
        EdgeReport {
            log_dropped: shared.log_dropped.load(Relaxed),
            bans: shared.bans.len(),
            connections_max: shared.room.connections_max(),
            backends: pools().flat_map(|pool| pool.report_backends()).collect(),
            pools: pools().filter_map(|pool| pool.report()).collect(),
            relay_connections: relay.open + read_relay.open,
            relay_failures: relay.failures + read_relay.failures,
            relay,
            read_relay,
            maintenance: live.closed.as_ref().map(|closed| closed.order.clone()),
            ..counters::sum(self.workers.iter().map(|worker| &*worker.counters))
        }
    }

    /// Stops accepting, answers what runs with `Connection: close`, and ends when all is answered, at the latest after
    /// `deadline`. Returns how many connections had to be cut.
    pub fn drain(mut self, deadline: Duration) -> usize {
        self.stop(deadline)
    }

    /// The same for an edge whose sockets another one serves already, so that nobody has to hurry: a connection that is
    /// kept for another request gets `idle` to send it, because closing it now could cross a request on its way. What
    /// is under way by then, switched and relayed connections too, has until `hold`. Does not wait for the end.
    pub fn retire(&self, idle: Duration, hold: Duration) {
        let now = Instant::now();
        self.tell_to_end(now + idle, now + hold);
    }

    /// Whether an edge that was told to end has nothing left to do.
    pub fn is_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Gives the pools, which are those of `live`, and the relay what `plan` asks for. A new backend gets its first
    /// check before it gets requests. Entries for this server look at the local pool, so that one comes first.
    fn adopt(&self, plan: &EdgePlan, live: &Live) {
        self.fill(plan.local.iter().map(|wanted| (&self.shared.local, wanted)));
        self.fill(live.outlets.iter().zip(plan.balanced()).map(|(outlet, (_, wanted))| (&outlet.pool, wanted)));
        self.shared.relay.lead.send_modify(|lead| lead.set_plan(plan));
        let files = plan.files_max.map_or_else(room::files_max, u64::from);
        let site_connections = plan.limits.as_ref().and_then(|limits| limits.site_connections);
        self.shared.room.furnish(files, site_connections, self.workers.len());
    }

    /// Gives each of `pools` what is wanted of it. New backends of all of them are checked at the same time.
    fn fill<'a>(&self, pools: impl Iterator<Item = (&'a Arc<Pool>, &'a PoolPlan)>) {
        let (first, all_checked) = mpsc::channel();
        let pools: Vec<_> =
            pools.map(|(pool, wanted)| (pool, wanted, self.next_members(pool, wanted, &first))).collect();
        drop(first);
        // Nothing is ever sent: the channel closes when the last first check is done.
        let _ = all_checked.recv_timeout(FIRST_CHECKS_TIMEOUT);
        pools.into_iter().for_each(|(pool, wanted, members)| pool.set(members, wanted));
    }

    /// The members that `pool` will have. Checks of new ones begin, and drop a `first` after their first reading.
    fn next_members(&self, pool: &Arc<Pool>, wanted: &PoolPlan, first: &mpsc::Sender<()>) -> Vec<Arc<Backend>> {
        let next = pool.next_members(wanted, self.workers.len());
        for backend in &next.new {
            let check = health::check(Arc::downgrade(backend), pool.clone(), self.shared.clone(), first.clone());
            self.checks.handle.spawn(check);
        }
        next.all
    }

    fn stop(&mut self, deadline: Duration) -> usize {
        let now = Instant::now();
        self.tell_to_end(now, now + deadline);
        let cut = self.threads.drain(..).map(|thread| thread.join().unwrap_or_default()).sum();
        self.checks.stop();
        cut
    }

    fn tell_to_end(&self, idle_until: Instant, end: Instant) {
        for worker in &self.workers {
            worker.stopping.store(true, Relaxed);
            worker.stop.send_replace(Some(idle_until));
            worker.end.send_replace(Some(end));
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

impl Shared {
    /// With empty pools and a relay that leads nowhere.
    pub fn new(live: Live, log_dropped: Arc<AtomicU64>) -> Self {
        Self {
            dialer: Dialer { hop: live.hop_client.clone().into() },
            live: ArcSwap::from_pointee(live),
            local: Arc::new(Pool::new("local")),
            relay: Arc::default(),
            room: Room::default(),
            bans: Bans::default(),
            log_dropped,
        }
    }
}

impl Worker {
    fn new(number: usize, shared: Arc<Shared>) -> Self {
        Self {
            number,
            shared,
            counters: Arc::default(),
            handshakes: Handshakes::default(),
            retries: RetryBudget::new(std::time::Instant::now()),
            stop: watch::Sender::new(None),
            end: watch::Sender::new(None),
            stopping: AtomicBool::new(false),
        }
    }

    /// Whether no more requests are wanted.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Until when a connection waits for its next request; `None` while the worker goes on.
    pub fn idle_until(&self) -> Option<Instant> {
        if self.is_stopping() { *self.stop.borrow() } else { None }
    }
}

/// Each worker's doors: the n-th socket of every name.
fn share_out(sockets: Vec<(String, Vec<TcpListener>)>) -> Result<Vec<Vec<(Door, TcpListener)>>, EdgeError> {
    let workers = sockets.first().map_or(0, |(_, listeners)| listeners.len());
    let mut shares: Vec<Vec<(Door, TcpListener)>> = (0..workers).map(|_| Vec::new()).collect();
    for (name, listeners) in sockets {
        let fault = |problem| EdgeError::Sockets { name: name.clone(), problem };
        let door = Door::named(&name).ok_or_else(|| fault("have a name the edge does not know"))?;
        if listeners.len() != workers {
            return Err(fault("are not as many as those of the other names"));
        }
        for (share, listener) in shares.iter_mut().zip(listeners) {
            share.push((door, listener));
        }
    }
    Ok(shares)
}

fn start_worker(worker: Arc<Worker>, listeners: Vec<(Door, TcpListener)>) -> io::Result<JoinHandle<usize>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listeners = listeners.into_iter().map(|(door, listener)| Ok((door, register(&runtime, listener)?)));
    let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
    let thread = std::thread::Builder::new().name(format!("edge-{}", worker.number));
    thread.spawn(move || runtime.block_on(work(worker, listeners)))
}

fn register(runtime: &Runtime, listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    let _entered = runtime.enter();
    tokio::net::TcpListener::from_std(listener)
}

/// A worker's life. Returns how many connections were still open at the deadline; leaving the runtime cuts them.
async fn work(worker: Arc<Worker>, listeners: Vec<(Door, tokio::net::TcpListener)>) -> usize {
    let mut end = worker.end.subscribe();
    for (door, listener) in listeners {
        tokio::spawn(accept(worker.clone(), door, listener));
    }
    let _ = end.wait_for(Option::is_some).await;
    loop {
        // A retired edge may be told to end sooner.
        let deadline = end.borrow_and_update().unwrap_or_else(Instant::now);
        tokio::select! {
            () = worker.stop.closed() => break,
            () = sleep_until(deadline) => break,
            _ = end.changed() => {}
        }
    }
    worker.stop.receiver_count()
}

/// The thread of the health checks.
struct Checks {
    handle: Handle,
    /// Its loss ends the thread.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checks {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("edge-checks".to_owned());
        let thread = thread.spawn(move || _ = runtime.block_on(ended))?;
        Ok(Self { handle, running: Some(running), thread: Some(thread) })
    }

    fn stop(&mut self) {
        self.running.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the health checks panicked");
        }
    }
}
