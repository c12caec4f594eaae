//! One client connection, from accept to close: heads in, answers out.

use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use tokio::time::Instant;
use triad_http::{Body, Fault, Peer, Whose, forwarding};
use triad_http1::{BodyReader, Framing, Refusal, RequestHead, ResponseHead};
use triad_tls::Shown;

use crate::accept::Stop;
use crate::answer::{Entrance, Identity, Way, checked, checked_from_world, file, key, outgoing, way};
use crate::bans::Cleared;
use crate::client::{Client, Ending, HEAD_TIMEOUT, IDLE_TIMEOUT, trim};
use crate::exchange::{Exchange, Told, Unanswered};
use crate::grpc;
use crate::limit::TooMany;
use crate::live::Live;
use crate::record::Record;
use crate::reply::{Relayed, relay};
use crate::respond::respond;
use crate::serve::Worker;
use crate::sticky::Sticking;
use crate::stream::Stream;
use crate::switch;

/// Seconds after which a client should ask again that came when the edge had as many requests as it has room for.
const FULL_RETRY_AFTER_S: u32 = 1;

/// Whether the connection can take another request, or how it ends.
type Next = ControlFlow<Ending>;

/// A client connection.
pub(crate) struct Connection {
    pub worker: Arc<Worker>,
    pub entrance: Entrance,
    pub peer: Peer,
    /// The certificate that the client saw.
    shown: Option<Arc<Shown>>,
    client: Client,
    live: Arc<Live>,
    record: Record,
    head: RequestHead,
    answer_head: ResponseHead,
    /// The head of a request as backends get it.
    outgoing: Vec<u8>,
    /// What is on its way to a backend.
    pending: Vec<u8>,
    /// Ready when the worker stops.
    stop: Pin<Box<dyn Future<Output = Stop> + Send>>,
    /// Whether this task is woken by `stop`.
    hears_stop: bool,
    /// What `stop` gave. Kept, or the worker would take this connection for closed.
    open: Option<Stop>,
    requests: u64,
    cleared: Cleared,
}

/// What came of waiting for a head.
enum Arrival {
    /// A head of this length.
    Head(usize),
    Refused(Refusal),
    /// The client closed the connection, or the worker stops, or nothing came in time.
    Nothing,
}

/// What came of waiting for bytes.
enum Read {
    More,
    End,
    TimedOut,
}

impl Connection {
    /// A connection that was accepted, its TLS handshake done.
    pub fn new(
        worker: Arc<Worker>,
        entrance: Entrance,
        peer: Peer,
        shown: Option<Arc<Shown>>,
        stream: Stream,
        stop: impl Future<Output = Stop> + Send + 'static,
    ) -> Self {
        Self {
            entrance,
            peer,
            shown,
            live: worker.shared.live.load_full(),
            record: Record::new(worker.clone(), stream.protocol()),
            head: RequestHead::default(),
            client: Client::new(stream),
            answer_head: ResponseHead::default(),
            outgoing: Vec::new(),
            pending: Vec::new(),
            stop: Box::pin(stop),
            hears_stop: false,
            open: None,
            requests: 0,
            cleared: Cleared::default(),
            worker,
        }
    }

    /// Serves the next stream of the same client, with what was made for the one before.
    pub fn take_over(&mut self, stream: Stream) {
        self.client.take_over(stream);
        self.requests = 0;
    }

    /// Answers requests until the connection ends.
    pub async fn run(&mut self) {
        let mut now = std::time::Instant::now();
        let ending = loop {
            let next = match self.arrival(now.into()).await {
                Arrival::Head(length) => self.answer(length).await,
                Arrival::Refused(refusal) => self.refuse(refusal).await,
                Arrival::Nothing => break Ending::Read,
            };
            now = std::time::Instant::now();
            self.record.end(now);
            self.requests += 1;
            [&mut self.client.output, &mut self.outgoing, &mut self.pending].into_iter().for_each(trim);
            if let ControlFlow::Break(ending) = next {
                break ending;
            }
        };
        self.client.close(ending).await;
    }

    /// Waits from `now` on for the next head.
    async fn arrival(&mut self, now: Instant) -> Arrival {
        let mut due = now + if self.requests == 0 { HEAD_TIMEOUT } else { IDLE_TIMEOUT };
        let mut begun = false;
        loop {
            if !self.client.input.is_empty() {
                match self.head.parse(self.client.input.bytes()) {
                    Ok(Some(length)) => return Arrival::Head(length),
                    Ok(None) => {}
                    Err(refusal) => return Arrival::Refused(refusal),
                }
                if !std::mem::replace(&mut begun, true) {
                    due = due.min(Instant::now() + HEAD_TIMEOUT);
                }
            }
            match self.read(due, begun).await {
                Read::More => {}
                Read::TimedOut if begun => {
                    return Arrival::Refused(Refusal { status: 408, clause: "the request's head" });
                }
                Read::End | Read::TimedOut => return Arrival::Nothing,
            }
        }
    }

    async fn read(&mut self, due: Instant, begun: bool) -> Read {
        poll_fn(|context| {
            let client = &mut self.client;
            match client.input.poll_fill(&mut client.stream, context) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Read::End),
                Poll::Ready(Ok(_)) => return Poll::Ready(Read::More),
                Poll::Pending => {}
            }
            // Polled once, it wakes this task whenever it comes to pass.
            if !std::mem::replace(&mut self.hears_stop, true)
                && let Poll::Ready(open) = self.stop.as_mut().poll(context)
            {
                self.open = Some(open);
            }
            let idle_until = self.worker.idle_until().filter(|_| !begun);
            let due = idle_until.map_or(due, |until| due.min(until));
            if client.clock.poll_passed(context, due) { Poll::Ready(Read::TimedOut) } else { Poll::Pending }
        })
        .await
    }

    /// Why the request is refused at the door, if it is. Checks and other edges never are.
    fn refusal(&mut self) -> Option<Fault> {
        if self.entrance == Entrance::Hop || self.record.is_check {
            return None;
        }
        let counters = &self.worker.counters;
        if self.worker.shared.bans.has(self.peer.address, &mut self.cleared) {
            counters.requests_banned.fetch_add(1, Relaxed);
            self.head.keep_alive = false;
            return Some(Fault::new(403, Whose::Client, "the client is banned"));
        }
        if self.worker.shared.room.is_over(counters.under_way()) {
            counters.requests_full.fetch_add(1, Relaxed);
            return Some(Fault::overload("too many requests under way", FULL_RETRY_AFTER_S));
        }
        let limiter = self.live.limiter.as_ref()?;
        match limiter.request(self.peer.address, self.record.started).err()? {
            TooMany::OfClient(spent) => {
                counters.requests_client.fetch_add(1, Relaxed);
                Some(Fault::too_many(spent.retry_after_s()))
            }
            TooMany::OfSite(spent) => {
                counters.requests_site.fetch_add(1, Relaxed);
                Some(Fault::overload("too many requests of all", spent.retry_after_s()))
            }
        }
    }

    /// Takes the plan that is live now.
    fn refresh(&mut self) {
        let live = self.worker.shared.live.load();
        if !Arc::ptr_eq(&live, &self.live) {
            self.live = live.clone();
        }
    }

    /// Answers the request whose head is the first `length` bytes, from the plan that is live when it arrives.
    async fn answer(&mut self, length: usize) -> Next {
        self.refresh();
        let bytes = &self.client.input.bytes()[..length];
        self.client.min_rate = self.live.min_rate(self.entrance);
        self.record.begin(self.live.clone(), &self.peer, &self.head, bytes);
        let refusal = self.refusal();
        let bytes = &self.client.input.bytes()[..length];
        let way = match self.record.is_check && self.entrance == Entrance::Hop && self.live.answers_checks {
            true => checked(self.worker.shared.local.is_up() == Some(true)),
            false if self.record.is_check && self.entrance != Entrance::Hop => checked_from_world(),
            false => {
                let shown = self.shown.as_deref();
                way(self.entrance, &self.live, &self.head, bytes, &self.peer, shown, &mut self.outgoing)
            }
        };
        let way = refusal.map_or(way, |fault| Way::Here(Err(fault)));
        let has_local = self.live.has_local;
        let file = match (&way, &self.live.statics) {
            (Way::Inside { files: true, .. }, Some(statics)) => file(statics, &self.head, bytes, self.record.id).await,
            _ => None,
        };
        match (file, way) {
            (Some(response), _) | (None, Way::Here(Ok(response))) => {
                self.client.input.consume(length);
                self.respond(response, BodyReader::new(self.head.framing)).await
            }
            (None, Way::Here(Err(fault))) => {
                self.client.input.consume(length);
                self.fail(fault, BodyReader::new(self.head.framing), None).await
            }
            (None, Way::Inside { outlet, .. }) if outlet.is_some() || has_local => self.pass_on(length, outlet).await,
            (None, Way::Inside { .. }) => {
                self.client.input.consume(length);
                let fault = Fault::new(404, Whose::Client, "the request's path");
                self.fail(fault, BodyReader::new(self.head.framing), None).await
            }
        }
    }

    /// Answers what was not understood, and ends the connection.
    async fn refuse(&mut self, refusal: Refusal) -> Next {
        self.refresh();
        self.record.begin(self.live.clone(), &self.peer, &self.head, self.client.input.bytes());
        self.head.keep_alive = false;
        if refusal.status == 400
            && self.entrance != Entrance::Hop
            && let Some(limiter) = &self.live.limiter
        {
            limiter.malformed(self.peer.address, self.record.started);
        }
        let fault = Fault::new(refusal.status, Whose::Client, refusal.clause);
        let _ = self.fail(fault, BodyReader::new(Framing::None), None).await;
        ControlFlow::Break(Ending::Unread)
    }

    /// Answers with `fault`; `told` is for another edge.
    async fn fail(&mut self, fault: Fault, body: BodyReader, told: Option<Told>) -> Next {
        let mut response = fault.response(&self.record.id);
        if let Some((name, value)) = told {
            response.headers_mut().insert(name, http::HeaderValue::from_static(value));
        }
        self.record.failed(fault);
        self.respond(response, body).await
    }

    /// Sends an answer of ours. What is left of the request's `body` is read over if it is here already.
    async fn respond(&mut self, response: http::Response<Body>, mut body: BodyReader) -> Next {
        let whole = read_over(&mut body, &mut self.client);
        let keep = self.head.keep_alive && whole && !self.worker.is_stopping();
        let rules = self.live.answer_rules(self.entrance);
        match respond(&mut self.client, &mut self.record, &self.head, response, rules, keep).await {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(if whole { Ending::Read } else { Ending::Unread }),
        }
    }

    /// Passes a request on, and its answer back.
    async fn pass_on(&mut self, length: usize, outlet: Option<usize>) -> Next {
        let bytes = &self.client.input.bytes()[..length];
        self.record.outlet = outlet;
        // A cookie is of [balancer]'s backends, and nobody else sees it or sets it.
        let sticks = outlet.is_some() && outlet == self.live.balancer;
        let outlet = outlet.map(|number| &self.live.outlets[number]);
        let key =
            outlet.and_then(|outlet| outlet.hash_on.as_ref()).and_then(|on| key(on, &self.head, bytes, &self.peer));
        let announced = self.live.announces.then(|| forwarding::client_end(&self.head.fields, bytes, &self.peer));
        let changes = self.live.changes(self.entrance);
        let identity = Identity { id: &self.record.id, trace: &self.record.trace };
        let mut request = outgoing(&mut self.outgoing, &self.head, bytes, &self.peer, identity, changes);
        let front = changes.sticky.filter(|_| sticks);
        let sticking = Sticking::of(front, self.entrance == Entrance::Hop, &self.head.fields, bytes);
        // Its messages come in chunks; whoever sends none is not asked.
        let in_chunks = self.live.grpc && request.framing == Framing::Chunked;
        request.is_call = in_chunks && grpc::is_call(&self.head.fields, bytes);
        self.client.input.consume(length);
        let memory = std::mem::take(&mut self.pending);
        let mut exchange = Exchange::new(
            &self.worker,
            &mut self.client,
            &mut self.record,
            &mut self.answer_head,
            &self.outgoing,
            request,
            memory,
        );
        exchange.outlet = outlet;
        exchange.over_hop = self.entrance == Entrance::Hop;
        exchange.key = key;
        exchange.announced = announced;
        exchange.sticky = changes.sticky;
        exchange.sticking = sticking;
        exchange.upload.rules = changes.rules;
        exchange.answer_rules = self.live.answer_rules(self.entrance);
        let outcome = match exchange.run().await {
            Ok(reply) => Ok(relay(&mut exchange, reply).await),
            Err(unanswered) => Err(unanswered),
        };
        let waited = exchange.waited;
        let (body, memory) = exchange.upload.into_parts();
        self.pending = memory;
        match outcome {
            Ok(Relayed::Kept) => ControlFlow::Continue(()),
            Ok(Relayed::Closed(ending)) => ControlFlow::Break(ending),
            Ok(Relayed::Refused(fault)) => self.fail(fault, body, None).await,
            Ok(Relayed::Switched(stream, rest, slots)) => {
                self.record.end(std::time::Instant::now());
                let _switched = self.worker.counters.switch();
                switch::join(&mut self.client, stream, rest).await;
                drop(slots);
                ControlFlow::Break(Ending::Read)
            }
            Err(Unanswered::Gone) => ControlFlow::Break(Ending::Read),
            Err(Unanswered::Fault { fault, backend, attempts, told }) => {
                self.record.sent(backend, attempts, waited);
                self.fail(fault, body, told.filter(|_| self.entrance == Entrance::Hop)).await
            }
        }
    }
}

/// Reads over what is left of a request's body, as far as it is here; returns whether that was all of it.
fn read_over(body: &mut BodyReader, client: &mut Client) -> bool {
    while !body.is_done() && !client.input.is_empty() {
        let Ok(piece) = body.next(client.input.bytes()) else { return false };
        client.input.consume(piece.consumed);
    }
    body.is_done()
}
