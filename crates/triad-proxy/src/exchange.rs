//! One request's way to a backend: pick, send, and again elsewhere where that cannot do harm.
//!
//! Invariants: a request of which a backend may have seen a byte is sent again only if it is idempotent and has no
//! body (RFC 9110 §9.2.2); at most [`ATTEMPTS_MAX`] times; bodies stream both ways and are never held whole.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use triad_http::{Body, BodyError, Fault, SendError, Sender, Switch, Whose, body, forwarding};

use crate::backend::Backend;
use crate::balance::{HashOn, cookie, fingerprint};
use crate::counters::Ongoing;
use crate::plan::Target;
use crate::serve::Worker;
use crate::upstream::Lease;

/// Times a request is sent, the first included.
const ATTEMPTS_MAX: u32 = 3;
/// Time a backend has for an answer's head once it has the request; with a body, since it last took some of it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Set on an answer to another edge that says: no application has seen a byte of this request, ask elsewhere. It never
/// leaves the design.
const UNTOUCHED: HeaderName = HeaderName::from_static("triad-untouched");

/// What became of a request.
pub(crate) struct Outcome {
    pub answer: Result<Response<Body>, Fault>,
    /// The backend that answered, or the last that did not.
    pub backend: Option<Arc<str>>,
    pub attempts: u32,
    /// Whether a backend may have seen some of it.
    pub touched: bool,
}

/// Marks an answer to another edge for a request that no application has seen.
pub(crate) fn mark_untouched(response: &mut Response<Body>) {
    response.headers_mut().insert(UNTOUCHED, HeaderValue::from_static("1"));
}

/// A request on its way.
pub(crate) struct Exchange {
    worker: Arc<Worker>,
    through_balancer: bool,
    /// The client.
    source: IpAddr,
    head: Parts,
    /// `None` once a backend may have acted on the request, so that it must not be sent again.
    body: Option<Body>,
    /// The client's end and the protocol, if it asks for another one.
    switch: Option<(Switch, HeaderValue)>,
    tried: Vec<Arc<Backend>>,
    attempts: u32,
    touched: bool,
}

/// Where an attempt goes: a backend, and the balancer's entry for this server if the way leads over it.
struct Route {
    over: Option<Arc<Backend>>,
    backend: Arc<Backend>,
}

enum Failure {
    /// No byte left this server.
    Unsent(String),
    /// The other edge has nobody to give it to, and says that no application has seen it.
    Untouched,
    /// Sent at least in part, no answer.
    Broken(String),
    /// The health check took the backend out while we waited.
    Down,
    /// No head in time.
    Timeout,
    /// The client broke off its own body.
    Client,
}

impl Exchange {
    /// A request whose headers are already fit to be passed on.
    pub fn new(
        worker: Arc<Worker>,
        through_balancer: bool,
        source: IpAddr,
        request: Request<Body>,
        switch: Option<(Switch, HeaderValue)>,
    ) -> Self {
        let (mut head, body) = request.into_parts();
        if let Some((_, protocol)) = &switch {
            forwarding::set_upgrade(&mut head.headers, protocol.clone());
        }
        Self {
            worker,
            through_balancer,
            source,
            head,
            body: Some(body),
            switch,
            tried: Vec::new(),
            attempts: 0,
            touched: false,
        }
    }

    /// Sends the request until it is answered, may not be sent again, or nobody is left to ask.
    pub async fn run(mut self) -> Outcome {
        let mut failed: Option<(Fault, Arc<str>)> = None;
        while self.attempts < ATTEMPTS_MAX
            && let Some(route) = self.choose()
        {
            let name = route.backend.name.clone();
            let failure = match self.attempt(&route).await {
                Ok(response) => return self.answered(response, name),
                Err(failure) => failure,
            };
            tracing::debug!(backend = %name, why = failure.why(), "request got no answer");
            self.touched |= !matches!(failure, Failure::Unsent(_) | Failure::Untouched);
            if !matches!(failure, Failure::Client) {
                route.backends().for_each(|backend| _ = backend.failures.fetch_add(1, Relaxed));
            }
            failed = Some((failure.fault(&name), name));
            if matches!(failure, Failure::Timeout) || self.body.is_none() {
                break;
            }
            self.tried.push(route.backend);
        }
        let (fault, backend) = failed.map_or_else(|| (self.nobody(), None), |(fault, name)| (fault, Some(name)));
        Outcome { answer: Err(fault), backend, attempts: self.attempts, touched: self.touched }
    }

    fn is_idempotent(&self) -> bool {
        [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(&self.head.method)
    }

    /// The hash of what the balancer goes by.
    fn key(&self, on: &HashOn) -> Option<u64> {
        let header = |name: &str| self.head.headers.get(name).map(HeaderValue::as_bytes);
        match on {
            HashOn::Source => Some(fingerprint(self.source.to_string().as_bytes())),
            HashOn::Uri => self.head.uri.path_and_query().map(|path| fingerprint(path.as_str().as_bytes())),
            HashOn::Header(name) => header(name).map(fingerprint),
            HashOn::Cookie(name) => header("cookie").and_then(|all| cookie(all, name)).map(fingerprint),
        }
    }

    fn choose(&mut self) -> Option<Route> {
        let local = &self.worker.shared.local;
        if !self.through_balancer {
            return local.pick(&self.tried, |_| None).map(|backend| Route { over: None, backend });
        }
        loop {
            let backend = self.worker.shared.balancer.pick(&self.tried, |on| self.key(on))?;
            if backend.plan.target != Target::ThisServer {
                return Some(Route { over: None, backend });
            }
            match local.pick(&self.tried, |_| None) {
                Some(instance) => return Some(Route { over: Some(backend), backend: instance }),
                None => self.tried.push(backend),
            }
        }
    }

    /// One attempt: over an idle connection first; if that turns out closed, over a new one.
    async fn attempt(&mut self, route: &Route) -> Result<Response<Body>, Failure> {
        self.attempts += 1;
        route.backends().for_each(|backend| _ = backend.requests.fetch_add(1, Relaxed));
        if let Some(sender) = route.backend.check_out(self.worker.number) {
            match self.send(sender, route).await {
                // The backend closed it while it was idle. That says nothing about a new one.
                Err(Failure::Unsent(_)) => {}
                Err(Failure::Broken(_)) if self.body.is_some() => {}
                other => return other,
            }
        }
        let opened = self.worker.shared.dialer.open(&route.backend.plan.target).await;
        self.send(opened.map_err(Failure::Unsent)?, route).await
    }

    async fn send(&mut self, mut sender: Sender, route: &Route) -> Result<Response<Body>, Failure> {
        let in_flight = route.backends().map(|backend| Ongoing::new(backend.clone(), |b| &b.in_flight)).collect();
        let (request, upload) = self.request();
        let sent = tokio::select! {
            biased;
            sent = sender.send(request) => sent,
            () = route.backend.down() => return Err(Failure::Down),
            () = too_long(upload.as_deref()) => return Err(Failure::Timeout),
        };
        let response = sent.map_err(|error| match error {
            SendError::Unsent(request) => {
                self.body = Some(request.into_body());
                Failure::Unsent("the connection was closed".to_owned())
            }
            SendError::Broken(_) if upload.as_ref().is_some_and(|upload| upload.broke.load(Relaxed)) => Failure::Client,
            SendError::Broken(why) => Failure::Broken(why),
        })?;
        if response.headers().contains_key(UNTOUCHED) && route.backend.plan.target.is_edge() {
            self.body = upload.is_none().then(body::empty);
            return Err(Failure::Untouched);
        }
        let lease = Lease { sender, backend: route.backend.clone(), worker: self.worker.number, _in_flight: in_flight };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        Ok(response.map(|body| lease.carry(body)))
    }

    /// The request as it is sent, and what its body moves. An idempotent one without a body may be sent again.
    fn request(&mut self) -> (Request<Body>, Option<Arc<Progress>>) {
        let body = self.body.take().unwrap_or_default();
        if body.is_end_stream() {
            self.body = self.is_idempotent().then(body::empty);
            return (Request::from_parts(self.head.clone(), body), None);
        }
        let progress = Arc::new(Progress::default());
        let body = body::stream(Upload { body, progress: progress.clone() });
        (Request::from_parts(self.head.clone(), body), Some(progress))
    }

    /// The backend's answer, made fit for the client.
    fn answered(mut self, mut response: Response<Body>, backend: Arc<str>) -> Outcome {
        forwarding::remove_hop_by_hop(response.headers_mut());
        response.headers_mut().remove(UNTOUCHED);
        *response.version_mut() = http::Version::HTTP_11;
        let answer = match (response.status(), self.switch.take()) {
            (StatusCode::SWITCHING_PROTOCOLS, Some((client, protocol))) => {
                Ok(self.switched(response, client, protocol))
            }
            (StatusCode::SWITCHING_PROTOCOLS, None) => Err(Fault::new(502, Whose::Upstream, part(&backend))),
            _ => Ok(response),
        };
        Outcome { answer, backend: Some(backend), attempts: self.attempts, touched: true }
    }

    fn switched(&self, mut response: Response<Body>, client: Switch, protocol: HeaderValue) -> Response<Body> {
        let backend = Switch::of_response(&mut response);
        forwarding::set_upgrade(response.headers_mut(), protocol);
        let connection = self.worker.stop.subscribe();
        tokio::spawn(async move {
            let _counts_as_open = connection;
            if let Err(error) = client.join(backend).await {
                tracing::debug!(%error, "switched connection ended");
            }
        });
        response
    }

    fn nobody(&self) -> Fault {
        let part = match self.through_balancer {
            true => "no backend is up",
            false => "no instance of the application is up",
        };
        Fault::new(503, Whose::Upstream, part)
    }
}

impl Route {
    /// Every entry that counts the request.
    fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.over.iter().chain([&self.backend])
    }
}

impl Failure {
    fn why(&self) -> &str {
        match self {
            Failure::Unsent(why) | Failure::Broken(why) => why,
            Failure::Untouched => "nobody there to answer it",
            Failure::Down => "taken out by its health check",
            Failure::Timeout => "no answer in time",
            Failure::Client => "the client broke off its request",
        }
    }

    fn fault(&self, backend: &str) -> Fault {
        let status = match self {
            Failure::Client => return Fault::new(400, Whose::Client, "the request's body"),
            Failure::Timeout => 504,
            Failure::Untouched => 503,
            _ => 502,
        };
        Fault::new(status, Whose::Upstream, part(backend))
    }
}

fn part(backend: &str) -> String {
    format!("backend {backend}")
}

/// Ready when a backend took too long: [`HEAD_TIMEOUT`] in which it took nothing of the body either.
async fn too_long(upload: Option<&Progress>) {
    let moved = || upload.map_or(0, |upload| upload.moved.load(Relaxed));
    loop {
        let before = moved();
        tokio::time::sleep(HEAD_TIMEOUT).await;
        if moved() == before {
            return;
        }
    }
}

/// How far a request's body got.
#[derive(Default)]
struct Progress {
    /// Pieces the backend took.
    moved: AtomicU64,
    /// The client did not send all it promised.
    broke: AtomicBool,
}

/// A request's body that notes how far it got.
struct Upload {
    body: Body,
    progress: Arc<Progress>,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.progress.moved.fetch_add(1, Relaxed);
        if matches!(frame, Some(Err(_))) {
            self.progress.broke.store(true, Relaxed);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;

    use tokio::time::{Instant, sleep};

    use super::{HEAD_TIMEOUT, Progress, too_long};

    #[tokio::test(start_paused = true)]
    async fn the_time_for_an_answer_starts_when_the_body_is_through() {
        let start = Instant::now();
        too_long(None).await;
        assert_eq!(start.elapsed(), HEAD_TIMEOUT);

        let progress = Arc::new(Progress::default());
        let upload = progress.clone();
        tokio::spawn(async move {
            sleep(HEAD_TIMEOUT / 2).await;
            upload.moved.fetch_add(1, Relaxed);
        });
        let start = Instant::now();
        too_long(Some(&progress)).await;
        assert_eq!(start.elapsed(), 2 * HEAD_TIMEOUT);
    }
}
