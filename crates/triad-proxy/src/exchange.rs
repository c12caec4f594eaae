//! One request's way to a backend: pick, send, and again elsewhere where that cannot do harm.
//!
//! Invariants: a request that a backend may have acted on is sent again only if it is idempotent and has no body (RFC
//! 9110 §9.2.2), and while [`crate::retry`] allows it; one that none has acted on, as long as all of its body is still
//! here; any at most [`ATTEMPTS_MAX`] times; bodies stream both ways, and only small ones are ever held whole. One that
//! was answered is sent again if the file says so of the answer's status, or the answer is another edge's that had none,
//! as [`kept`] says.

mod kept;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use triad_http::{Fault, Whose};
use triad_http1::{Framing, HeadWriter, Method, Refusal, ResponseHead, Version};
use triad_http2::Fate;

use crate::backend::Backend;
use crate::client::{Client, IDLE_TIMEOUT};
use crate::clock::{Stall, TICK};
use crate::grpc::CALL_IDLE_TIMEOUT;
use crate::header_rules::HeaderRules;
use crate::http2::connections::{self, NoStream};
use crate::members::{Choice, Place, Tried};
use crate::plan::Target;
use crate::pool::Pool;
use crate::record::Record;
use crate::routes::Outlet;
use crate::serve::Worker;
use crate::slots::Slot;
use crate::sticky::{Sticking, Sticky};
use crate::stream::{Buffer, Stream};
use crate::transfer::{Upload, UploadError};
use crate::upstream::preface;

pub(crate) use kept::{REPEATED, UNANSWERED};

/// Times a request is sent, the first included.
const ATTEMPTS_MAX: u32 = 3;
/// Time a backend has for an answer's head once it has the request; with a body, since it last took some of it. Also
/// the time a client has for the next part of its body before the answer has begun.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Interim answers passed on for one request.
const INTERIM_MAX: u32 = 16;

/// Set on an answer to another edge that says: no application has seen a byte of this request, ask elsewhere. It never
/// leaves the design.
pub(crate) const UNTOUCHED: &str = "triad-untouched";
/// What it says where nobody is up.
const NOBODY: &str = "1";
/// What it says where all that are up are busy, which is no failure of theirs.
const BUSY: &str = "busy";

/// What of a request's head is needed after its bytes are gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub method: Method,
    pub version: Version,
    pub framing: Framing,
    pub keep_alive: bool,
    /// Whether the client reads trailers.
    pub trailers: bool,
    /// Whether it was passed on with the wish to switch protocols.
    pub upgrade: bool,
    pub expects_continue: bool,
    /// Whether it is a call of gRPC.
    pub is_call: bool,
}

impl Request {
    /// Time in which nothing need move before the answer has begun, and then.
    pub fn patience(&self, before_head: bool) -> Duration {
        match (self.is_call, before_head) {
            (true, _) => CALL_IDLE_TIMEOUT,
            (false, true) => HEAD_TIMEOUT,
            (false, false) => IDLE_TIMEOUT,
        }
    }
}

/// A request on its way.
pub(crate) struct Exchange<'a> {
    pub worker: &'a Arc<Worker>,
    pub client: &'a mut Client,
    pub record: &'a mut Record,
    /// The answer's head, used again for every answer of the connection.
    pub answer_head: &'a mut ResponseHead,
    pub request: Request,
    /// The head as backends get it.
    pub head: &'a [u8],
    /// The pool it is balanced over; `None`: it is for what is behind this server.
    pub outlet: Option<&'a Outlet>,
    /// Whether another edge sent it.
    pub over_hop: bool,
    /// The hash of what that goes by.
    pub key: Option<u64>,
    /// The user, where instances are told by a PROXY header.
    pub announced: Option<SocketAddr>,
    /// What happens to the fields of its answer.
    pub answer_rules: Option<&'a HeaderRules>,
    /// Whose cookie nobody else may set; `None` where there is none, or the answer is for another edge.
    pub sticky: Option<&'a Sticky>,
    /// `None` where users belong nowhere.
    pub sticking: Option<Sticking<'a>>,
    pub upload: Upload<'a>,
    tried: Tried,
    /// Time spent waiting for a slot.
    pub waited: Duration,
    attempts: u32,
    interim: u32,
    /// A backend may have seen some of what was sent last.
    sent: bool,
    touched: bool,
    /// The last answer because of which another backend was asked: the client gets it if nobody does better.
    kept: Option<Reply>,
}

/// A backend's answer whose head is whole and still stands at the start of `bytes`.
pub(crate) struct Reply {
    pub stream: Stream,
    pub bytes: Buffer,
    pub head_length: usize,
    /// The balancer's entry for this server if the way led over it.
    pub over: Option<Arc<Backend>>,
    pub backend: Arc<Backend>,
    pub attempts: u32,
    /// When the attempt that it answers began; `None`: the time it took is noted.
    asked: Option<Instant>,
    pub slots: Slots,
}

impl Reply {
    /// Every entry that the request was sent over.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.over.iter().chain([&self.backend])
    }
}

/// A request counts as in flight at each backend it was balanced over.
pub(crate) type Slots = [Option<Slot>; 2];

/// What becomes of a request without an answer.
pub(crate) enum Unanswered {
    /// The client is told.
    Fault {
        fault: Fault,
        /// The last backend that did not answer.
        backend: Option<Arc<str>>,
        attempts: u32,
        /// What another edge is told.
        told: Option<Told>,
    },
    /// Nobody is there to be told.
    Gone,
}

/// A field of an answer to another edge, and its value: [`UNTOUCHED`], [`UNANSWERED`] or [`REPEATED`].
pub(crate) type Told = (&'static str, &'static str);

/// Where an attempt goes: a backend, and its pool's entry for this server if the way leads over it.
struct Route<'a> {
    over: Option<Arc<Backend>>,
    backend: Arc<Backend>,
    /// Whose backend it is.
    pool: &'a Pool,
    slots: Slots,
}

/// Why there is no way to go.
enum Unplaced {
    /// Nobody is up that was not tried.
    Nobody,
    /// All that are up are full, and stayed so for as long as a request waits.
    Busy,
    /// The client did not wait.
    Gone,
}

enum Failure {
    /// No byte left this server, or none of those that did was acted on.
    Unsent(String),
    /// The other edge has nobody to give it to, and says that no application has seen it.
    Untouched,
    /// The same, and it was no failure: all that could have it were busy.
    Busy,
    /// Sent at least in part, no answer.
    Broken(String),
    /// The same, and the backend meant this request alone.
    Reset(String),
    /// Its health checks fail while we wait, and there is no use in waiting on.
    Down,
    /// No head in time.
    Timeout,
    /// The client broke off its own body, or its framing is broken.
    Client(Refusal),
    /// The client went away.
    Gone,
}

impl<'a> Exchange<'a> {
    /// A request whose `head` is already fit to be passed on, and of whose body nothing was read.
    pub fn new(
        worker: &'a Arc<Worker>,
        client: &'a mut Client,
        record: &'a mut Record,
        answer_head: &'a mut ResponseHead,
        head: &'a [u8],
        request: Request,
        memory: Vec<u8>,
    ) -> Self {
        Self {
            worker,
            client,
            record,
            answer_head,
            request,
            head,
            outlet: None,
            over_hop: false,
            key: None,
            announced: None,
            answer_rules: None,
            sticky: None,
            sticking: None,
            upload: Upload::new(&request, memory),
            tried: Tried::default(),
            waited: Duration::ZERO,
            attempts: 0,
            interim: 0,
            sent: false,
            touched: false,
            kept: None,
        }
    }

    /// Sends the request until it is answered, may not be sent again, or nobody is left to ask.
    pub async fn run(&mut self) -> Result<Reply, Unanswered> {
        let outcome = self.ask().await;
        match (outcome, self.kept.take()) {
            (Err(Unanswered::Fault { .. }), Some(kept)) => self.give_kept(kept),
            (outcome, _) => outcome,
        }
    }

    async fn ask(&mut self) -> Result<Reply, Unanswered> {
        let (mut failed, mut last, mut busy, mut costs, mut is_final) = (None, None, false, false, false);
        self.worker.retries.earn();
        while self.attempts < ATTEMPTS_MAX {
            let route = match self.choose().await {
                Ok(route) => route,
                Err(Unplaced::Gone) => return Err(Unanswered::Gone),
                Err(Unplaced::Nobody) => break,
                Err(Unplaced::Busy) => {
                    busy = true;
                    break;
                }
            };
            if costs && !self.can_afford_to_repeat() {
                break;
            }
            let name = &route.backend.name;
            let slow_from = self.slow_from(&route.backend);
            let failure = match self.attempt(&route).await {
                Ok(reply) => {
                    let slow = slow_from.is_some_and(|from| from < Instant::now());
                    self.observe(&route, matches!(self.answer_head.status, 502..=504), slow);
                    self.attempts += self.unanswered_behind(&reply).map_or(0, |times| times - 1);
                    let reply = Reply { over: route.over, slots: route.slots, attempts: self.attempts, ..reply };
                    if !self.may_keep(&reply) {
                        return Ok(reply);
                    }
                    self.tried.push(reply.backend.clone());
                    self.keep(reply);
                    costs = true;
                    continue;
                }
                Err(Failure::Gone) => return Err(Unanswered::Gone),
                Err(failure) => failure,
            };
            tracing::debug!(backend = %name, why = failure.why(), "request got no answer");
            costs = !matches!(failure, Failure::Unsent(_) | Failure::Untouched | Failure::Busy);
            self.touched |= costs;
            if !matches!(failure, Failure::Client(_) | Failure::Busy) {
                route.backends().for_each(|backend| _ = backend.failures.fetch_add(1, Relaxed));
                self.observe(&route, true, false);
            }
            busy = matches!(failure, Failure::Busy);
            failed = Some(failure.fault(name));
            last = Some(name.clone());
            is_final = matches!(failure, Failure::Timeout | Failure::Client(_));
            if is_final || !self.may_repeat() {
                break;
            }
            self.tried.push(route.backend);
        }
        let fault = if busy { self.busy() } else { failed.unwrap_or_else(|| self.nobody()) };
        let told = match self.touched {
            false => Some((UNTOUCHED, if busy { BUSY } else { NOBODY })),
            true if is_final => self.repeated(),
            true => Some(self.unanswered()),
        };
        Err(Unanswered::Fault { fault, backend: last, attempts: self.attempts, told })
    }

    /// Notes at each entry how the request ended there: checks do not see everything that users do.
    fn observe(&self, route: &Route<'_>, failed: bool, slow: bool) {
        let over = route.over.iter().zip(self.outlet).map(|(over, outlet)| (over, &*outlet.pool));
        for (backend, pool) in over.chain([(&route.backend, route.pool)]) {
            if let Some(grounds) = backend.observe(failed, slow) {
                pool.leave_out(backend, grounds);
            }
        }
    }

    /// When an answer that is asked for now is late, where that is judged: not with a body, which its sender may delay.
    fn slow_from(&self, backend: &Backend) -> Option<Instant> {
        let after = backend.slow_after().filter(|_| self.request.framing == Framing::None)?;
        Some(Instant::now() + after)
    }

    fn can_afford_to_repeat(&self) -> bool {
        let can = self.worker.retries.spend(std::time::Instant::now());
        if !can {
            self.worker.counters.retries_refused.fetch_add(1, Relaxed);
        }
        can
    }

    fn may_repeat(&self) -> bool {
        !self.sent || self.is_safe_to_repeat()
    }

    /// Whether it does no harm if a backend acts on it after another one has.
    fn is_safe_to_repeat(&self) -> bool {
        self.request.framing == Framing::None && self.request.method.is_idempotent()
    }

    /// The next backend, with a slot in it.
    async fn choose(&mut self) -> Result<Route<'a>, Unplaced> {
        let local = &*self.worker.shared.local;
        let Some(outlet) = self.outlet else { return self.choose_inside(local).await };
        let pool = &*outlet.pool;
        let mut busy = false;
        loop {
            let entry = match self.place(pool, self.key, None).await {
                Err(Unplaced::Nobody) if busy => return Err(Unplaced::Busy),
                entry => entry?,
            };
            if entry.backend.plan.target != Target::ThisServer {
                return Ok(Route::to(entry, pool));
            }
            match self.place(local, None, Some(&entry.backend.name)).await {
                Ok(instance) => return Ok(Route::to(instance, local).over(entry)),
                Err(Unplaced::Gone) => return Err(Unplaced::Gone),
                Err(why) => {
                    busy |= matches!(why, Unplaced::Busy);
                    self.tried.push(entry.backend);
                }
            }
        }
    }

    /// The next of what is behind this server. A check takes nobody's slot and waits for none: a server whose instances
    /// are all busy would be taken out, and the others would get more of the load.
    async fn choose_inside(&mut self, local: &'a Pool) -> Result<Route<'a>, Unplaced> {
        if !self.record.is_check {
            return Ok(Route::to(self.place(local, None, None).await?, local));
        }
        let backend = local.pick_for_check(&self.tried).ok_or(Unplaced::Nobody)?;
        Ok(Route { over: None, backend, pool: local, slots: Slots::default() })
    }

    /// A slot in `pool`, to which the way leads over the entry `over`.
    async fn place(&mut self, pool: &'a Pool, key: Option<u64>, over: Option<&Arc<str>>) -> Result<Place, Unplaced> {
        if let Some(sticking) = &self.sticking {
            self.tried.home = sticking.next(over.into_iter()).cloned();
        }
        match pool.pick(&self.tried, key) {
            Choice::Place(place) => Ok(place),
            Choice::Nobody => Err(Unplaced::Nobody),
            // Two that keep an answer and wait could wait for each other's slots.
            Choice::Busy if self.kept.is_some() => Err(Unplaced::Busy),
            Choice::Busy => self.wait(pool, key).await,
        }
    }

    /// Waits for a slot: as long as is left of what one request may wait in all.
    async fn wait(&mut self, pool: &'a Pool, key: Option<u64>) -> Result<Place, Unplaced> {
        let left = pool.queue_timeout().saturating_sub(self.waited);
        let entered = if left.is_zero() { None } else { pool.enter(&self.tried, key) };
        let Some(mut waiting) = entered else {
            pool.count_overflowed();
            return Err(Unplaced::Busy);
        };
        let from = Instant::now();
        let outcome = poll_fn(|context| {
            if let Poll::Ready(choice) = waiting.poll(context) {
                return Poll::Ready(Ok(choice));
            }
            if self.client.poll_gone(context) {
                return Poll::Ready(Err(Unplaced::Gone));
            }
            match self.client.clock.poll_passed(context, from + left) {
                true => Poll::Ready(Err(Unplaced::Busy)),
                false => Poll::Pending,
            }
        });
        let outcome = outcome.await;
        self.waited += from.elapsed();
        match outcome {
            Ok(Choice::Place(place)) => Ok(place),
            Ok(Choice::Nobody | Choice::Busy) => Err(Unplaced::Nobody),
            Err(why) => {
                if matches!(why, Unplaced::Busy) {
                    pool.count_timed_out();
                }
                Err(why)
            }
        }
    }

    /// When the attempt began; the first one begins with the request, as good as.
    fn now(&self) -> Instant {
        let is_first = self.attempts == 1 && self.waited.is_zero();
        if is_first { self.record.started.into() } else { Instant::now() }
    }

    /// One attempt: over a connection that is there; if that turns out closed, over a new one.
    async fn attempt(&mut self, route: &Route<'a>) -> Result<Reply, Failure> {
        self.attempts += 1;
        if self.attempts > 1 {
            self.worker.counters.retries.fetch_add(1, Relaxed);
            route.backends().for_each(|backend| _ = backend.retries.fetch_add(1, Relaxed));
        }
        route.backends().for_each(|backend| _ = backend.requests.fetch_add(1, Relaxed));
        if let Some(stream) = self.check_out(&route.backend) {
            match self.send(stream, route).await {
                // The backend closed it while it was idle. That says nothing about a new one.
                Err(Failure::Unsent(_)) if !self.sent => {}
                Err(Failure::Broken(_)) if self.may_repeat() => {}
                other => return other,
            }
        }
        let opened = self.open(&route.backend).await?;
        self.send(opened, route).await
    }

    /// Whether the request goes over HTTP/2. A wish to switch protocols does not: RFC 8441 has a way for WebSockets, but
    /// few applications know it, while HTTP/1.1 is spoken by all that know WebSockets, and by every edge.
    fn wants_http2(&self, backend: &Backend) -> bool {
        backend.plan.http2 && !self.request.upgrade
    }

    /// A connection, or a stream of one, that is there.
    fn check_out(&self, backend: &Backend) -> Option<Stream> {
        let worker = self.worker.number;
        let stream = if self.wants_http2(backend) { backend.http2_stream(worker) } else { None };
        stream.or_else(|| backend.check_out(worker, self.now().into_std()))
    }

    async fn open(&self, backend: &Arc<Backend>) -> Result<Stream, Failure> {
        let shared = &self.worker.shared;
        if self.wants_http2(backend) {
            match connections::open(shared, backend, self.worker.number).await {
                Ok(stream) => return Ok(stream),
                Err(NoStream::Busy) => return Err(Failure::Busy),
                Err(NoStream::Failed(why)) => return Err(Failure::Unsent(why)),
                // It may be here by now.
                Err(NoStream::Http1) => {}
            }
            if let Some(stream) = backend.check_out(self.worker.number, self.now().into_std()) {
                return Ok(stream);
            }
        }
        shared.dialer.open(&backend.plan.target).await.map_err(Failure::Unsent)
    }

    async fn send(&mut self, stream: Stream, route: &Route<'a>) -> Result<Reply, Failure> {
        let asked = self.now();
        let mut reply = Reply {
            stream,
            bytes: Buffer::default(),
            head_length: 0,
            over: None,
            backend: route.backend.clone(),
            attempts: self.attempts,
            asked: Some(asked),
            slots: Slots::default(),
        };
        self.sent = false;
        *self.answer_head = ResponseHead::reusing(self.answer_head);
        let preface = preface(&route.backend.plan, self.announced);
        let sticking = self.sticking.as_ref().filter(|_| route.backend.plan.target.is_edge());
        let lines = sticking.map(|it| it.tell(route.backends().map(|backend| &backend.name))).unwrap_or_default();
        self.upload.begin(&preface, self.head, &lines, &self.client.input);
        let stall = Stall::new(asked, self.request.patience(true));
        let may_repeat = self.is_safe_to_repeat();
        let mut wait = Wait { pool: route.pool, may_repeat, stall, tick: asked + TICK };
        let answered = poll_fn(|context| self.poll_reply(context, &mut reply, &mut wait)).await;
        self.sent |= self.upload.moved > 0;
        reply.head_length = answered.map_err(|failure| self.judge(failure, &reply.stream))?;
        let untouched = self.answer_head.fields.find(reply.bytes.bytes(), UNTOUCHED);
        let Some(untouched) = untouched.filter(|_| route.backend.plan.target.is_edge()) else { return Ok(reply) };
        // Nobody acted on it; of a large body some is spent all the same.
        self.sent = self.upload.is_spent();
        Err(match untouched.of_bytes(reply.bytes.bytes()) == BUSY.as_bytes() {
            true => Failure::Busy,
            false => Failure::Untouched,
        })
    }

    /// A failure, with what a stream of HTTP/2 knows of it.
    fn judge(&mut self, failure: Failure, stream: &Stream) -> Failure {
        match (failure, stream.fate()) {
            (Failure::Broken(why), Fate::Unprocessed) => {
                self.sent = self.upload.is_spent();
                Failure::Unsent(why)
            }
            (Failure::Broken(why), Fate::Cancelled | Fate::Reset) => Failure::Reset(why),
            (failure, _) => failure,
        }
    }

    /// Sends, and reads the answer's head; ready with the head's length.
    fn poll_reply(
        &mut self,
        context: &mut Context<'_>,
        reply: &mut Reply,
        wait: &mut Wait<'a>,
    ) -> Poll<Result<usize, Failure>> {
        if self.upload.is_under_way(&reply.stream)
            && let Poll::Ready(Err(error)) = self.upload.poll(context, self.client, &mut reply.stream)
        {
            match error {
                UploadError::Client(refusal) => return Poll::Ready(Err(Failure::Client(refusal))),
                UploadError::Backend(error) if self.upload.moved == 0 && error.kind() == ErrorKind::InvalidData => {
                    return Poll::Ready(Err(Failure::no_words()));
                }
                UploadError::Backend(error) if self.upload.moved == 0 => {
                    return Poll::Ready(Err(Failure::Unsent(error.to_string())));
                }
                // It may have answered before it stopped reading.
                UploadError::Backend(_) => self.upload.stop(),
            }
        }
        if let Poll::Ready(head) = self.poll_answer_head(context, reply) {
            return Poll::Ready(head);
        }
        if let Poll::Ready(Err(_)) = self.client.poll_output(context) {
            return Poll::Ready(Err(Failure::Gone));
        }
        if let Poll::Ready(Err(_)) = self.client.stream.poll_push(context) {
            return Poll::Ready(Err(Failure::Gone));
        }
        if self.is_client_gone(context) {
            return Poll::Ready(Err(Failure::Gone));
        }
        wait.poll(context, self.client, &reply.backend, &mut self.upload)
    }

    fn poll_answer_head(&mut self, context: &mut Context<'_>, reply: &mut Reply) -> Poll<Result<usize, Failure>> {
        loop {
            match reply.bytes.poll_fill(&mut reply.stream, context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(Failure::Broken("the connection was closed".to_owned())));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Broken(error.to_string()))),
                Poll::Ready(Ok(_)) => {}
            }
            while let Some(length) =
                self.answer_head.parse(reply.bytes.bytes()).map_err(|refusal| Failure::Broken(refusal.to_string()))?
            {
                if !self.answer_head.is_interim() {
                    return Poll::Ready(self.accept(length));
                }
                self.pass_interim(&reply.bytes.bytes()[..length])?;
                reply.bytes.consume(length);
            }
        }
    }

    /// A switch of protocols that nobody asked for is no answer.
    fn accept(&self, length: usize) -> Result<usize, Failure> {
        match self.answer_head.status == 101 && !self.request.upgrade {
            true => Err(Failure::Broken("101 without being asked".to_owned())),
            false => Ok(length),
        }
    }

    /// Passes 103 and the like on; 100 is between us and the backend, and HTTP/1.0 knows none of them.
    fn pass_interim(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.interim += 1;
        if self.interim > INTERIM_MAX {
            return Err(Failure::Broken("too many interim answers".to_owned()));
        }
        let head = &*self.answer_head;
        if head.status != 100 && self.request.version == Version::Http11 {
            let reason = head.reason.of_bytes(bytes);
            let mut writer = HeadWriter::response(&mut self.client.output, head.status, reason);
            writer.pass(&head.fields, bytes, |_, name| self.answer_rules.is_none_or(|rules| rules.passes(name)));
            writer.finish();
        }
        Ok(())
    }

    /// Whether a client that has sent its request has gone. What it sends already of the next one is kept.
    fn is_client_gone(&mut self, context: &mut Context<'_>) -> bool {
        self.upload.is_done() && self.client.poll_gone(context)
    }

    fn busy(&self) -> Fault {
        let part = match self.outlet.is_some() {
            true => "all backends are busy",
            false => "all instances of the application are busy",
        };
        Fault::new(503, Whose::Upstream, part)
    }

    fn nobody(&self) -> Fault {
        let part = match self.outlet.is_some() {
            true => "no backend is up",
            false => "no instance of the application is up",
        };
        Fault::new(503, Whose::Upstream, part)
    }
}

/// How long an answer may take.
struct Wait<'a> {
    pool: &'a Pool,
    /// Whether the request can be sent elsewhere although the backend has it.
    may_repeat: bool,
    stall: Stall,
    /// When to look next.
    tick: Instant,
}

impl Wait<'_> {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        backend: &Backend,
        upload: &mut Upload<'_>,
    ) -> Poll<Result<usize, Failure>> {
        if upload.poll_too_slow(context, client) {
            return Poll::Ready(Err(Failure::slow_body()));
        }
        while client.clock.poll_passed(context, self.tick) {
            let now = Instant::now();
            if self.is_futile(backend, upload.moved > 0) {
                return Poll::Ready(Err(Failure::Down));
            }
            if self.stall.is_stuck(now, upload.moved) {
                return Poll::Ready(Err(if upload.is_waiting() { Failure::slow_body() } else { Failure::Timeout }));
            }
            self.tick = now + TICK;
        }
        Poll::Pending
    }

    /// Whether there is no use in waiting for `backend`, which has some of the request if it was `sent`. Checks that fail
    /// alone say too little: one that is only slow goes on with what it has. So what cannot be repeated waits on, unless
    /// the server is silent, too.
    fn is_futile(&self, backend: &Backend, sent: bool) -> bool {
        // In panic its checks were no reason not to send it.
        let is_down = !backend.is_up() && !self.pool.is_panic();
        is_down && (self.may_repeat || !sent || backend.is_known_silent())
    }
}

impl<'a> Route<'a> {
    fn to(Place { backend, slot }: Place, pool: &'a Pool) -> Self {
        Self { over: None, backend, pool, slots: [Some(slot), None] }
    }

    fn over(self, entry: Place) -> Self {
        let [slot, _] = self.slots;
        Self { over: Some(entry.backend), slots: [slot, Some(entry.slot)], ..self }
    }

    /// Every entry that counts the request.
    fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.over.iter().chain([&self.backend])
    }
}

impl Failure {
    /// HTTP/1.1 has a target or the like that HTTP/2 cannot say.
    fn no_words() -> Self {
        Self::Client(Refusal { status: 400, clause: "a target that HTTP/2 has no words for" })
    }

    fn slow_body() -> Self {
        Self::Client(Refusal { status: 408, clause: "the request's body" })
    }

    fn why(&self) -> &str {
        match self {
            Failure::Unsent(why) | Failure::Broken(why) | Failure::Reset(why) => why,
            Failure::Untouched => "nobody there to answer it",
            Failure::Busy => "everybody there is busy",
            Failure::Down => "taken out by its health check",
            Failure::Timeout => "no answer in time",
            Failure::Client(refusal) => refusal.clause,
            Failure::Gone => "the client went away",
        }
    }

    fn fault(&self, backend: &str) -> Fault {
        let status = match self {
            Failure::Client(refusal) => return Fault::new(refusal.status, Whose::Client, refusal.clause),
            Failure::Timeout => 504,
            Failure::Untouched | Failure::Busy => 503,
            _ => 502,
        };
        Fault::new(status, Whose::Upstream, format!("backend {backend}"))
    }
}
