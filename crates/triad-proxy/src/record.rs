//! What is counted and logged of a request, from its head to the last byte of its answer.
//!
//! A connection has one record, used again for each request. If it is dropped while a request is under way, that is
//! counted like any other: the client went away, or the edge was ended.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use triad_http::{Fault, Peer, RequestId, TraceContext, Whose, forwarding};
use triad_http1::{Method, RequestHead, Version};
use triad_model::CHECK_USER_AGENT;

use crate::counters::LastRow;
use crate::live::Live;
use crate::log::{Answered, Asked, LineShape};
use crate::serve::Worker;

/// Status of a request whose client left before there was an answer; nginx's number for it, never sent.
const CLIENT_GONE: u16 = 499;
/// How long the wall clock is taken from the steady one before it is looked at again.
const WALL_CLOCK_AGE: Duration = Duration::from_secs(1);

/// The record of the request under way.
pub(crate) struct Record {
    worker: Arc<Worker>,
    /// The protocol of its connection, where that is not the version of a head.
    protocol: Option<&'static str>,
    /// The plan it is answered from; `None` between requests.
    live: Option<Arc<Live>>,
    /// The request's id.
    pub id: RequestId,
    /// The trace it is part of.
    pub trace: TraceContext,
    /// A check of another edge: nobody's traffic.
    pub is_check: bool,
    /// Bytes sent of the answer's body.
    pub bytes: u64,
    /// The pool it was balanced over, by its number in the plan.
    pub outlet: Option<usize>,
    site: Option<Arc<str>>,
    method: Method,
    /// When its head was whole.
    pub started: Instant,
    status: u16,
    backend: Option<Arc<str>>,
    attempts: u32,
    queued: Duration,
    first_byte: Option<Duration>,
    fault: Option<Fault>,
    /// The log's line up to what the answer decides, and what follows that.
    front: Vec<u8>,
    back: Vec<u8>,
    last_row: LastRow,
}

impl Record {
    /// No request yet.
    pub fn new(worker: Arc<Worker>, protocol: Option<&'static str>) -> Self {
        Self {
            worker,
            protocol,
            live: None,
            id: RequestId::default(),
            trace: TraceContext::default(),
            is_check: false,
            bytes: 0,
            outlet: None,
            site: None,
            method: Method::Get,
            started: Instant::now(),
            status: CLIENT_GONE,
            backend: None,
            attempts: 0,
            queued: Duration::ZERO,
            first_byte: None,
            fault: None,
            front: Vec::new(),
            back: Vec::new(),
            last_row: LastRow::default(),
        }
    }

    /// Starts the clock for the request whose head, as far as it was understood, is in `bytes`.
    pub fn begin(&mut self, live: Arc<Live>, peer: &Peer, head: &RequestHead, bytes: &[u8]) {
        self.started = Instant::now();
        self.id = forwarding::request_id(&head.fields, bytes, peer);
        self.trace = live.trace(peer, head, bytes);
        let host = head.host.map(|host| host.of_bytes(bytes));
        self.site = Some(host.and_then(|host| live.site(host)).unwrap_or(&live.other_site).clone());
        self.method = head.method;
        (self.status, self.bytes, self.attempts) = (CLIENT_GONE, 0, 0);
        (self.outlet, self.backend, self.fault) = (None, None, None);
        (self.queued, self.first_byte) = (Duration::ZERO, None);
        self.front.clear();
        self.back.clear();
        let user_agent = head.fields.find(bytes, "user-agent").map(|value| value.of_bytes(bytes));
        // What another edge passes on for somebody says for whom; its own checks are for nobody.
        let is_own = || peer.trusted && head.fields.find(bytes, forwarding::X_FORWARDED_FOR).is_none();
        self.is_check =
            user_agent == Some(CHECK_USER_AGENT.as_bytes()) && (is_own() || live.checked_from.contains(&peer.address));
        if live.log.is_some() && !self.is_check {
            self.write_line(live.line, peer, head, bytes, user_agent);
        }
        self.worker.counters.in_flight.fetch_add(1, Relaxed);
        self.live = Some(live);
    }

    /// Notes where the request went, and how long it had to wait for that.
    pub fn sent(&mut self, backend: Option<Arc<str>>, attempts: u32, queued: Duration) {
        (self.backend, self.attempts, self.queued) = (backend, attempts, queued);
    }

    /// Notes that a backend's answer begins, which is now.
    pub fn begun(&mut self) -> Instant {
        let now = Instant::now();
        self.first_byte = Some(now.saturating_duration_since(self.started));
        now
    }

    /// Notes what went wrong; what went wrong first counts.
    pub fn failed(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Notes the status of the answer that is being sent.
    pub fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// The answer broke off because its reader is gone.
    pub fn client_gone(&mut self) {
        self.failed(Fault::new(CLIENT_GONE, Whose::Client, "the client went away"));
    }

    /// The answer is broken off because its reader takes it too slowly, or sends its own body so.
    pub fn client_slow(&mut self) {
        self.failed(Fault::new(self.status, Whose::Client, "the client was too slow"));
    }

    /// The answer has ended at `now`: counts and logs it.
    pub fn end(&mut self, now: Instant) {
        let Some(live) = self.live.take() else { return };
        let counters = &self.worker.counters;
        counters.in_flight.fetch_sub(1, Relaxed);
        let Some(site) = self.site.as_ref().filter(|_| !self.is_check) else { return };
        let duration = now.saturating_duration_since(self.started);
        counters.count(&mut self.last_row, site, self.method, self.status, duration);
        let Some(log) = &live.log else { return };
        // That of the balancer goes without saying.
        let routed = self.outlet.filter(|outlet| live.balancer != Some(*outlet));
        let answered = Answered {
            pool: routed.map(|outlet| &*live.outlets[outlet].pool.name),
            status: self.status,
            bytes: self.bytes,
            duration,
            queued: self.queued,
            first_byte: self.first_byte,
            backend: self.backend.as_deref(),
            attempts: self.attempts,
            fault: self.fault.as_ref(),
        };
        log.write(self.worker.number, now, &self.front, |line| match live.line {
            LineShape::Json(fields) => answered.write(fields, line, &self.back),
            LineShape::Combined => answered.write_combined(line, &self.back),
        });
    }

    fn write_line(
        &mut self,
        shape: LineShape,
        peer: &Peer,
        head: &RequestHead,
        bytes: &[u8],
        user_agent: Option<&[u8]>,
    ) {
        let text = |name| head.fields.find(bytes, name).map(|value| value.of_bytes(bytes));
        let (_, path) = head.path(bytes);
        let path = if path.is_empty() { head.target.of_bytes(bytes) } else { path };
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        let client = if peer.trusted { Some(forwarding::client(&head.fields, bytes, peer).to_string()) } else { None };
        let asked = Asked {
            at: time_of(self.started),
            id: &self.id,
            trace_id: self.trace.id(&self.id),
            client: client.as_deref().unwrap_or(&peer.address_text),
            host: text("host").unwrap_or_default(),
            method: head.method_text.of_bytes(bytes),
            path: if path.is_empty() && head.version.is_some() { b"/" } else { path },
            protocol: self.protocol.or(head.version.map(Version::as_str)).unwrap_or_default(),
            user_agent,
            referer: text("referer"),
        };
        match shape {
            LineShape::Json(fields) => asked.write(fields, &mut self.front, &mut self.back),
            LineShape::Combined => asked.write_combined(&mut self.front, &mut self.back),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.live.is_some() {
            if self.status != CLIENT_GONE {
                self.client_gone();
            }
            self.end(Instant::now());
        }
    }
}

/// The time of day at `now`, which is not before the last `now` of this thread. Looks at one clock, not two.
fn time_of(now: Instant) -> SystemTime {
    thread_local! {
        static SEEN: Cell<Option<(Instant, SystemTime)>> = const { Cell::new(None) };
    }
    let fresh = SEEN.get().and_then(|(then, time)| Some((now.checked_duration_since(then)?, time)));
    match fresh.filter(|(age, _)| *age < WALL_CLOCK_AGE) {
        Some((age, time)) => time + age,
        None => {
            let time = SystemTime::now();
            SEEN.set(Some((now, time)));
            time
        }
    }
}
