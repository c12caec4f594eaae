//! One backend: its idle connections, what is believed of its health, and what was counted about it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use triad_http2::{ClientStream, linger};
use triad_model::{BackendMode, BackendReport, BackendSetting, Health, HealthCheck, Reading, ServerName, Verdict};

use crate::balance::Share;
use crate::balance::panic::Condition;
use crate::error_rate::ErrorRate;
use crate::http2::connections::Connections;
use crate::left_out::LeftOut;
use crate::outlier::Grounds;
use crate::plan::{BackendPlan, PoolPlan};
use crate::silence::Silence;
use crate::slots::Slots;
use crate::stream::Stream;
use crate::times::{Counts, Recent, Times};

/// Idle connections kept per backend and worker: more than the streams of one connection of HTTP/2, whose answers come
/// in batches, or each batch would close what the next one needs.
const IDLE_PER_BACKEND_MAX: usize = 256;
/// Time an idle connection is kept: shorter than the application servers' own limits (Node's is 5 s), so that they
/// seldom close one just as a request is sent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Time a server has to end a stream of HTTP/2 whose answer is whole; then we do, which it may take for a change of mind.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// A backend. It outlives reloads that do not change it.
#[derive(Debug)]
pub(crate) struct Backend {
    pub plan: BackendPlan,
    pub check: HealthCheck,
    /// Its name, shared with log lines.
    pub name: Arc<str>,
    pub requests: AtomicU64,
    pub failures: AtomicU64,
    /// Requests it got because another one failed them.
    pub retries: AtomicU64,
    /// Until its answers begin; one for each worker.
    times: Vec<Times>,
    recent: Mutex<Recent>,
    /// Shared with whoever stood for the same place before it, and is asked its last requests still.
    pub slots: Arc<Slots>,
    /// Two for each request that failed, one less for each that was answered, from 0: five failures in a row count ten,
    /// and so do, in time, failures that are more than a third of all, as where pages fail and files do not.
    failing: AtomicU32,
    /// So many of them leave it out for a time; 0: none do.
    max_fails: AtomicU32,
    rate: ErrorRate,
    /// What its windows are counted from.
    since: Instant,
    /// Such a rate leaves it out for a time; 0: none does.
    error_rate_percent: AtomicU8,
    /// What counts as a failure for that; 0: no time does.
    slow_after_ms: AtomicU32,
    opinion: Mutex<Opinion>,
    /// What an operator said, and how it comes back.
    told: Mutex<Told>,
    verdict: watch::Sender<Verdict>,
    /// Has it checked now, not at its time.
    pub check_now: Arc<Notify>,
    /// One list per worker, oldest first. Only its worker takes from a list, so its lock is free.
    idle: Vec<Mutex<VecDeque<Idle>>>,
    /// The same of connections of HTTP/2, where they are wanted.
    pub http2: Vec<Mutex<Connections>>,
}

/// Parts in which a backend that came back gets its share.
pub(crate) const RAMP_STEPS: u16 = 10;

#[derive(Debug, Default)]
struct Told {
    mode: BackendMode,
    weight: Option<u16>,
    slow_start: Duration,
    /// When it came up again; `None` where it was up from its first check on.
    back_since: Option<Instant>,
    /// When a request to it failed last.
    failed_at: Option<Instant>,
    /// For requests that failed.
    left_out: LeftOut,
    /// When a check passed last.
    passed_at: Option<Instant>,
    /// Its server's heartbeats stopped.
    silence: Option<Silence>,
}

impl Told {
    /// Whether an operator wants it to have requests; `weight` is the file's.
    fn is_wanted(&self, weight: u16) -> bool {
        self.mode == BackendMode::Ready && self.weight.unwrap_or(weight) > 0
    }
}

/// A failure longer ago says nothing about now.
const RECENT: Duration = Duration::from_secs(3);

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
    pub fn new(plan: BackendPlan, check: HealthCheck, workers: usize, slots: Arc<Slots>) -> Self {
        Self {
            name: plan.name.as_str().into(),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            times: (0..workers).map(|_| Times::default()).collect(),
            recent: Mutex::new(Recent::new(Instant::now())),
            slots,
            failing: AtomicU32::new(0),
            max_fails: AtomicU32::new(0),
            rate: ErrorRate::default(),
            since: Instant::now(),
            error_rate_percent: AtomicU8::new(0),
            slow_after_ms: AtomicU32::new(0),
            opinion: Mutex::new(Opinion { health: None, why: "not checked yet".to_owned() }),
            told: Mutex::default(),
            verdict: watch::Sender::new(Verdict::Down),
            check_now: Arc::default(),
            idle: (0..workers).map(|_| Mutex::default()).collect(),
            http2: (0..if plan.http2 { workers } else { 0 }).map(|_| Mutex::default()).collect(),
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

    /// Whether the last reading speaks against what is believed, so that the next one is wanted soon.
    pub fn is_contradicted(&self) -> bool {
        lock(&self.opinion).health.as_ref().is_some_and(Health::is_contradicted)
    }

    /// Takes what an operator said, and what `plan` says of how it is judged and comes back.
    pub fn set(&self, setting: Option<&BackendSetting>, plan: &PoolPlan) {
        self.max_fails.store(plan.max_fails, Relaxed);
        self.error_rate_percent.store(plan.error_rate_percent, Relaxed);
        self.slow_after_ms.store(plan.slow_after_ms, Relaxed);
        let mut told = lock(&self.told);
        told.mode = setting.map(|setting| setting.mode).unwrap_or_default();
        told.weight = setting.and_then(|setting| setting.weight);
        told.slow_start = Duration::from_millis(plan.slow_start_ms.into());
    }

    /// Whether its health is of interest.
    pub fn is_checked_further(&self) -> bool {
        lock(&self.told).mode != BackendMode::Maintenance
    }

    /// How much of its share it gets, in [`RAMP_STEPS`]; all of it unless it has come back a short time ago.
    pub fn ramp(&self) -> u16 {
        let told = lock(&self.told);
        let Some(since) = told.back_since.filter(|_| !told.slow_start.is_zero()) else { return RAMP_STEPS };
        let part = since.elapsed().as_secs_f64() / told.slow_start.as_secs_f64();
        (1 + (part * f64::from(RAMP_STEPS)) as u16).min(RAMP_STEPS)
    }

    /// Time after which an answer is slow, if that is judged.
    pub fn slow_after(&self) -> Option<Duration> {
        match self.slow_after_ms.load(Relaxed) {
            0 => None,
            after_ms => Some(Duration::from_millis(after_ms.into())),
        }
    }

    /// Notes that an answer of it began so long after `worker` had begun to send the request.
    pub fn answered(&self, worker: usize, time: Duration) {
        if let Some(times) = self.times.get(worker) {
            times.note(time);
        }
    }

    /// Notes how a request ended; why it should be left out, if it should.
    pub fn observe(&self, failed: bool, slow: bool) -> Option<Grounds> {
        let row = self.observe_row(failed).then_some(Grounds::Row);
        let percent = self.error_rate_percent.load(Relaxed);
        if percent == 0 {
            return row;
        }
        let count = self.rate.count(self.since.elapsed(), failed || slow);
        row.or((failed || slow).then_some(Grounds::Rate(count)).filter(|_| count.reaches(percent)))
    }

    fn observe_row(&self, failed: bool) -> bool {
        if !failed {
            // Read first: nearly always it is zero, and other workers read it too.
            if self.failing.load(Relaxed) > 0 {
                let _ = self.failing.fetch_update(Relaxed, Relaxed, |failing| failing.checked_sub(1));
            }
            return false;
        }
        lock(&self.told).failed_at = Some(Instant::now());
        let max = self.max_fails.load(Relaxed);
        max > 0 && self.failing.fetch_add(2, Relaxed) + 2 >= 2 * max
    }

    /// Whether the last request to it was answered, or is too long ago to say anything: a passive one has none. And too
    /// many that fail are no answer.
    pub fn is_answering(&self, now: Instant) -> bool {
        let count = self.rate.read(now.saturating_duration_since(self.since));
        if count.reaches(self.error_rate_percent.load(Relaxed)) {
            return false;
        }
        let failed_at = lock(&self.told).failed_at;
        self.failing.load(Relaxed) == 0 || failed_at.is_none_or(|at| now.saturating_duration_since(at) > RECENT)
    }

    /// Leaves it out from `now` on; for how long.
    pub fn leave_out(&self, now: Instant, grounds: Grounds) -> Duration {
        self.failing.store(0, Relaxed);
        self.rate.clear();
        lock(&self.told).left_out.begin(now, grounds)
    }

    /// Whether it is left out at `now`.
    pub fn is_left_out(&self, now: Instant) -> bool {
        lock(&self.told).left_out.is(now)
    }

    /// Whether it is nothing but left out, for requests that failed or its server's silence, so that it can have what
    /// nobody else takes.
    pub fn is_last_resort(&self, now: Instant) -> bool {
        let told = lock(&self.told);
        let is_out = told.left_out.is(now) || told.silence.is_some_and(Silence::takes_out);
        let is_candidate = told.is_wanted(self.plan.weight) && is_out;
        drop(told);
        is_candidate && self.passes_checks()
    }

    /// Whether users whose cookie names it still get there though it is not wanted for others: unless it is in
    /// maintenance or not well.
    pub fn keeps_its_users(&self, now: Instant) -> bool {
        let told = lock(&self.told);
        told.mode != BackendMode::Maintenance && self.is_up() && !told.left_out.is(now)
    }

    /// Takes it in again.
    pub fn take_in(&self, now: Instant) {
        lock(&self.told).left_out.end(now);
    }

    /// Ready when it is down.
    #[cfg(test)]
    pub async fn down(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.verdict.subscribe().wait_for(|verdict| *verdict == Verdict::Down).await;
    }

    /// Takes one reading of its health; returns the verdict if it is news. Going down drops the idle connections.
    pub fn take(&self, reading: Reading, why: String) -> Option<Verdict> {
        let is_first = !self.is_checked();
        let judged = self.judge(reading, why);
        let now = Instant::now();
        let mut told = lock(&self.told);
        if reading == Reading::Pass {
            told.passed_at = Some(now);
        }
        let was_out = told.silence.is_some_and(Silence::takes_out);
        told.silence = told.silence.map(|silence| silence.checked(reading));
        let is_disproved = was_out && !told.silence.is_some_and(Silence::takes_out);
        let is_taken_in = told.left_out.checked(reading, self.check.rise, now);
        if let Some(verdict) = judged {
            told.back_since = (verdict == Verdict::Up && !is_first).then_some(now);
        }
        drop(told);
        let news = self.settle().or(judged.filter(|verdict| *verdict == Verdict::Down));
        news.or(((is_disproved || is_taken_in) && self.is_up()).then_some(Verdict::Up))
    }

    /// Gives it the verdict that follows from its checks and its server's heartbeats; returns it if it is another. Going
    /// down drops the idle connections.
    fn settle(&self) -> Option<Verdict> {
        let is_dead = lock(&self.told).silence.is_some_and(Silence::is_confirmed);
        let verdict = if self.passes_checks() && !is_dead { Verdict::Up } else { Verdict::Down };
        if self.verdict.send_replace(verdict) == verdict {
            return None;
        }
        if verdict == Verdict::Down {
            self.idle.iter().for_each(|list| lock(list).clear());
            self.http2.iter().for_each(|connections| lock(connections).clear());
        }
        Some(verdict)
    }

    /// Whether it may get traffic by its checks alone.
    fn passes_checks(&self) -> bool {
        lock(&self.opinion).health.as_ref().is_some_and(|health| health.verdict() == Verdict::Up)
    }

    /// Whether it is on another server that is called `server`.
    pub fn is_on(&self, server: &ServerName) -> bool {
        self.plan.target.is_edge() && self.plan.name == server.as_str()
    }

    /// How long a check is waited for.
    pub fn check_limit(&self) -> Duration {
        let usual = Duration::from_millis(self.check.timeout_ms.into());
        lock(&self.told).silence.map_or(usual, |silence| silence.check_limit(usual))
    }

    /// Whether it is known that its server is silent, whatever follows from that.
    pub fn is_known_silent(&self) -> bool {
        lock(&self.told).silence.is_some()
    }

    /// Its server fell silent, and `others` can have its requests or not; whether that takes it out.
    pub fn fall_silent(&self, now: Instant, others: bool) -> bool {
        let mut told = lock(&self.told);
        let silence = Silence::new(now, told.passed_at, others);
        told.silence = Some(silence);
        self.check_now.notify_one();
        silence.takes_out()
    }

    /// Its server is heard again; the verdict if that makes it another.
    pub fn end_silence(&self) -> Option<Verdict> {
        lock(&self.told).silence = None;
        self.settle()
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

    /// Keeps a connection whose answer was read to its end; beyond the bound the oldest is closed. One that was announced
    /// for a client is no other's, so it ends here; so does a stream of HTTP/2.
    pub fn check_in(&self, worker: usize, stream: Stream) {
        if self.plan.proxy_protocol.is_some() {
            return;
        }
        if let Stream::Http2Backend(stream) = stream {
            return end(*stream);
        }
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
        let now = Instant::now();
        self.http2.iter().for_each(|connections| lock(connections).prune(now));
    }

    /// As the rotation sees it while checks are believed.
    pub fn share(&self) -> Share {
        self.condition().share
    }

    /// What operator and checks say of it.
    pub fn condition(&self) -> Condition {
        let told = lock(&self.told);
        let weight = told.weight.unwrap_or(self.plan.weight);
        let is_silent = told.silence.is_some_and(Silence::takes_out);
        let (wanted, healthy) = (told.is_wanted(self.plan.weight), self.is_up() && !is_silent);
        let up = wanted && healthy && !told.left_out.is(Instant::now());
        Condition { share: Share { weight, backup: self.plan.backup, up }, wanted, healthy }
    }

    /// As status and metrics show it.
    pub fn report(&self, pool: &str) -> BackendReport {
        let now = Instant::now();
        let (mode, grounds) = {
            let told = lock(&self.told);
            (told.mode, told.left_out.grounds(now))
        };
        let share = self.share();
        let times = Counts::of(&self.times);
        let recent = lock(&self.recent).take(&times, now);
        let (mut why, mut verdict) = (lock(&self.opinion).why.clone(), *self.verdict.borrow());
        if let Some(silence) = lock(&self.told).silence.filter(|it| it.takes_out()) {
            why = silence.why(&self.plan.name, now);
            verdict = Verdict::Down;
        }
        if let Some(grounds) = grounds {
            why = format!("left out: {grounds}");
        }
        BackendReport {
            pool: pool.to_owned(),
            name: self.plan.name.clone(),
            mode,
            verdict,
            why,
            left_out: grounds.is_some(),
            weight: share.weight,
            backup: self.plan.backup,
            requests: self.requests.load(Relaxed),
            failures: self.failures.load(Relaxed),
            retries: self.retries.load(Relaxed),
            first_byte: times.histogram(),
            first_byte_p50_ms: recent.percentile_ms(50),
            first_byte_p99_ms: recent.percentile_ms(99),
            in_flight: self.slots.in_flight(),
            max_connections: self.slots.max(),
        }
    }
}

/// Lets a stream go whose answer was read to its end. The server may still have to say that this was all.
fn end(stream: ClientStream) {
    if !stream.is_over() {
        tokio::spawn(timeout(LAST_WORD_TIMEOUT, linger(stream)));
    }
}

/// No invariant spans two statements under these locks, so a panic elsewhere leaves nothing broken.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
