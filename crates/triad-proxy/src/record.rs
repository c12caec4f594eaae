//! What is counted and logged of a request, from its head to the last byte of its answer.
//!
//! A record is written when it is dropped, so a request whose client went away is counted like any other.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{HOST, HeaderName, REFERER, USER_AGENT};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use triad_http::{Body, BodyError, Client, Fault, Peer, RequestId, Whose, forwarding};
use triad_model::CHECK_USER_AGENT;

use crate::counters::{Counters, Ongoing};
use crate::live::Live;
use crate::log::Entry;

/// Status of a request whose client left before there was an answer; nginx's number for it, never sent.
const CLIENT_GONE: u16 = 499;

/// One request's record.
pub(crate) struct Record {
    /// Gone only while the record is dropped.
    entry: Option<Box<Entry>>,
    site: Arc<str>,
    /// A check of another edge: nobody's traffic.
    is_check: bool,
    started: Instant,
    live: Arc<Live>,
    counters: Arc<Counters>,
    _in_flight: Ongoing<Arc<Counters>>,
}

impl Record {
    /// Starts the clock.
    pub fn begin(live: Arc<Live>, counters: Arc<Counters>, peer: &Peer, head: &Parts) -> Self {
        let site = triad_http::host(head).ok().and_then(|host| live.site(host)).unwrap_or(&live.other_site).clone();
        Self {
            entry: Some(Box::new(entry(peer, head))),
            site,
            is_check: is_check(&live, peer, head),
            started: Instant::now(),
            live,
            _in_flight: Ongoing::new(counters.clone(), |counters| &counters.in_flight),
            counters,
        }
    }

    /// Whether it is a check of the design's own, and nobody's traffic.
    pub fn is_check(&self) -> bool {
        self.is_check
    }

    /// The request's id.
    pub fn id(&self) -> RequestId {
        self.entry.as_ref().map(|entry| entry.id.clone()).unwrap_or_default()
    }

    /// Notes where the request went.
    pub fn sent(&mut self, backend: Option<Arc<str>>, attempts: u32) {
        if let Some(entry) = &mut self.entry {
            (entry.backend, entry.attempts) = (backend, attempts);
        }
    }

    /// Notes what went wrong; what went wrong first counts.
    pub fn failed(&mut self, fault: Fault) {
        if let Some(entry) = &mut self.entry {
            entry.fault.get_or_insert(fault);
        }
    }

    /// The answer, which carries the record with it to its last byte.
    pub fn answered(mut self, mut response: Response<Body>) -> Response<Recorded> {
        response.headers_mut().insert(forwarding::X_REQUEST_ID, self.id().header_value());
        let mut has_body = !response.body().is_end_stream();
        if let Some(entry) = &mut self.entry {
            entry.status = response.status();
            has_body &= entry.method != Method::HEAD;
        }
        response.map(|body| {
            let expected_bytes = body.size_hint().exact();
            Recorded { body, expected_bytes, sent_bytes: 0, complete: !has_body, record: self }
        })
    }
}

fn is_check(live: &Live, peer: &Peer, head: &Parts) -> bool {
    let says_so = head.headers.get(USER_AGENT).is_some_and(|agent| agent == CHECK_USER_AGENT);
    says_so && (peer.trusted || live.checked_from.contains(&peer.address))
}

fn entry(peer: &Peer, head: &Parts) -> Entry {
    let header = |name: HeaderName| head.headers.get(name).cloned();
    Entry {
        at: SystemTime::now(),
        id: forwarding::request_id(&head.headers, peer),
        client: Client::of(&head.headers, peer).address,
        host: header(HOST),
        method: head.method.clone(),
        uri: head.uri.clone(),
        version: head.version,
        status: StatusCode::from_u16(CLIENT_GONE).expect("a number of three digits"),
        bytes: 0,
        duration: Duration::ZERO,
        backend: None,
        attempts: 0,
        fault: None,
        user_agent: header(USER_AGENT),
        referer: header(REFERER),
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(mut entry) = self.entry.take().filter(|_| !self.is_check) else { return };
        entry.duration = self.started.elapsed();
        self.counters.count(&self.site, &entry.method, entry.status, entry.duration);
        if let Some(log) = &self.live.log {
            log.write(entry);
        }
    }
}

/// An answer's body with its request's record.
pub(crate) struct Recorded {
    body: Body,
    expected_bytes: Option<u64>,
    sent_bytes: u64,
    complete: bool,
    record: Record,
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            None => self.complete = true,
            Some(Ok(frame)) => self.sent_bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => self.record.failed(Fault::new(502, Whose::Upstream, "the answer broke off")),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let complete = self.complete || self.expected_bytes == Some(self.sent_bytes) || self.body.is_end_stream();
        if !complete {
            self.record.failed(Fault::new(CLIENT_GONE, Whose::Client, "the client went away"));
        }
        if let Some(entry) = &mut self.record.entry {
            entry.bytes = self.sent_bytes;
        }
    }
}
