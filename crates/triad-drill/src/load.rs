//! The load: users in the client's namespace, who come when the schedule says so.
//!
//! Each request resolves the site's name, tries the addresses in turn as browsers do, trusts the lab's authority, and
//! is recorded with how it ended. Kept connections are resolved anew when one breaks.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName as DnsName;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use triad_model::{HTTP, HTTPS};

use crate::checker;
use crate::sample::{Kind, Outcome, Sample};
use crate::scenario::Rates;
use crate::schedule::{Arrival, arrivals};

/// A request that is not answered this long after it was due has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// Time between the attempts at two addresses, as RFC 8305 recommends and browsers have it.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// An address that takes no connection within this is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Before the load begins, users who are not counted come for this long: what is cold then is not the fault's.
pub(crate) const WARM_UP_MS: u64 = 1_000;
/// Requests under way at once; one that is due beyond that fails as such.
const UNDER_WAY_MAX: usize = 1_000;
/// Kept connections that wait for their next request; what comes back beyond that is closed.
const KEPT_MAX: usize = 32;
/// Name lookups at once: each holds a thread for as long as the resolver waits.
const LOOKUPS_MAX: usize = 256;
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Most entries that a list shows, as many as the guestbook gives; a drill writes fewer.
const LIST_MAX: u32 = 1_000;

/// Everything a load needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadPlan {
    /// The site's host name.
    pub host: String,
    /// The authority's certificate (PEM file) for HTTPS; `None` for plain HTTP.
    pub authority: Option<PathBuf>,
    /// Requests a second.
    pub rates: Rates,
    /// How long, in milliseconds.
    pub duration_ms: u64,
    /// Whether connections are kept for further requests.
    pub keep_alive: bool,
    /// The address its connections come from over IPv4; `None`: the system's choice.
    pub from: Option<Ipv4Addr>,
    /// What the ids of its writes are told by.
    pub run: String,
    /// When it begins, in milliseconds since 1970: the load and whoever breaks things share a clock.
    pub begins_unix_ms: u64,
}

/// How far away the moment `unix_ms` is; zero if it has passed.
pub(crate) fn until(unix_ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(unix_ms).saturating_sub(now)
}

/// Loads the site as `plan` (JSON) says and writes every request as a line of JSON to standard output.
///
/// # Errors
/// If the plan or the authority cannot be read, or nobody reads the output any more.
pub fn load_main(plan: &str) -> anyhow::Result<()> {
    let plan: LoadPlan = serde_json::from_str(plan).context("not a load's plan")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(LOOKUPS_MAX).build()?;
    let outcome = LocalSet::new().block_on(&runtime, users(plan));
    // Lookups that nobody waits for any more need not be waited for here.
    runtime.shutdown_background();
    outcome
}

async fn users(plan: LoadPlan) -> anyhow::Result<()> {
    let begins = Instant::now() + until(plan.begins_unix_ms);
    let arrivals = arrivals(plan.rates, plan.duration_ms);
    let user = Rc::new(User::new(plan)?);
    let (sender, mut samples) = mpsc::channel(UNDER_WAY_MAX);
    tokio::task::spawn_local(async move {
        warm_up(&user, begins).await;
        come(user, arrivals, begins, sender).await;
    });
    let mut out = std::io::stdout().lock();
    while let Some(sample) = samples.recv().await {
        writeln!(out, "{}", serde_json::to_string::<Sample>(&sample)?).context("nobody reads the load's results")?;
        out.flush()?;
    }
    Ok(())
}

/// As the load, but only asking, and told to nobody.
async fn warm_up(user: &Rc<User>, begins: Instant) {
    if user.plan.rates.lists > 0 {
        user.find_last_entry().await;
    }
    let starts = begins - Duration::from_millis(WARM_UP_MS);
    for arrival in arrivals(Rates { writes: 0, ..user.plan.rates }, WARM_UP_MS) {
        let due = starts + Duration::from_micros(arrival.due_us);
        sleep_until(due).await;
        let user = Rc::clone(user);
        tokio::task::spawn_local(async move { user.request(arrival, due + DEADLINE).await });
    }
}

async fn come(user: Rc<User>, arrivals: Vec<Arrival>, begins: Instant, sender: mpsc::Sender<Sample>) {
    let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    for arrival in arrivals {
        let due = begins + Duration::from_micros(arrival.due_us);
        sleep_until(due).await;
        let (user, sender) = (Rc::clone(&user), sender.clone());
        let place = Arc::clone(&places).try_acquire_owned();
        tokio::task::spawn_local(async move {
            let answer = match &place {
                Ok(_) => user.request(arrival, due + DEADLINE).await,
                Err(_) => Err(Outcome::Crowded),
            };
            let took_us = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            let (outcome, answer) = match answer {
                Ok(answer) => (Outcome::Ok, answer),
                Err(outcome) => (outcome, Answer::default()),
            };
            let Answer { server, seen, .. } = answer;
            let Arrival { due_us, kind, number } = arrival;
            // Whoever reads is gone only when the process ends.
            let _ = sender.send(Sample { kind, number, due_us, took_us, outcome, server, seen }).await;
        });
    }
}

type Connection = SendRequest<Full<Bytes>>;

struct User {
    plan: LoadPlan,
    /// The last entry that was there before the load: lists begin after it.
    last_entry: Cell<u64>,
    tls: Option<(Arc<ClientConfig>, DnsName<'static>)>,
    kept: RefCell<Vec<Connection>>,
}

impl User {
    fn new(plan: LoadPlan) -> anyhow::Result<Self> {
        let tls = match &plan.authority {
            Some(path) => {
                let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                let name = DnsName::try_from(plan.host.clone()).context("the site's host is no name")?;
                Some((triad_tls::public_client_config(&pem)?, name))
            }
            None => None,
        };
        Ok(Self { plan, last_entry: Cell::new(0), tls, kept: RefCell::new(Vec::new()) })
    }

    /// Makes one request.
    async fn request(&self, arrival: Arrival, deadline: Instant) -> Result<Answer, Outcome> {
        let mut sent = false;
        let answer = timeout_at(deadline, self.exchange(arrival, &mut sent)).await;
        answer.unwrap_or(Err(if sent { Outcome::TimedOut } else { Outcome::NeverSent }))
    }

    async fn exchange(&self, arrival: Arrival, sent: &mut bool) -> Result<Answer, Outcome> {
        // A kept connection may have been closed meanwhile: then the request was not sent, or may be repeated.
        while let Some(connection) = self.take_kept() {
            *sent = true;
            match self.send(connection, arrival).await {
                Err(Failure::NotSent) => *sent = false,
                Err(Failure::Sent(Outcome::Broken)) if arrival.kind != Kind::Writes => *sent = false,
                Err(Failure::Sent(outcome)) => return Err(outcome),
                Ok(answer) => return Ok(answer),
            }
        }
        let connection = self.connect().await?;
        *sent = true;
        self.send(connection, arrival).await.map_err(|failure| match failure {
            Failure::NotSent => Outcome::Unconnected,
            Failure::Sent(outcome) => outcome,
        })
    }

    fn take_kept(&self) -> Option<Connection> {
        let mut kept = self.kept.borrow_mut();
        kept.retain(|connection| !connection.is_closed());
        kept.pop()
    }

    /// A connection to the first address that takes one. An address that does not answer at once is not waited for:
    /// the next is tried beside it (RFC 8305 section 5).
    async fn connect(&self) -> Result<Connection, Outcome> {
        let port = if self.tls.is_some() { HTTPS } else { HTTP };
        let addresses = lookup_host((self.plan.host.as_str(), port)).await.map_err(|_| Outcome::Unresolved)?;
        let mut addresses = addresses.peekable();
        let mut attempts = FuturesUnordered::new();
        let mut failure = Outcome::Unresolved;
        loop {
            attempts.extend(addresses.next().map(|address| timeout(CONNECT_TIMEOUT, self.connect_to(address))));
            tokio::select! {
                attempt = attempts.next() => match attempt.map(|done| done.unwrap_or(Err(Outcome::Unconnected))) {
                    Some(Ok(connection)) => return Ok(connection),
                    Some(Err(outcome)) => failure = outcome,
                    None => return Err(failure),
                },
                () = sleep(ATTEMPT_DELAY), if addresses.peek().is_some() => {}
            }
        }
    }

    async fn connect_to(&self, address: SocketAddr) -> Result<Connection, Outcome> {
        let stream = self.open(address).await.map_err(|_| Outcome::Unconnected)?;
        // Costs a moment on a small request otherwise; a failure to set it costs nothing more.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => speak(TokioIo::new(stream)).await,
            Some((config, name)) => {
                let stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await;
                speak(TokioIo::new(stream.map_err(|_| Outcome::Untrusted)?)).await
            }
        }
    }

    async fn open(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        match self.plan.from.filter(|_| address.is_ipv4()) {
            None => TcpStream::connect(address).await,
            Some(from) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind((from, 0).into())?;
                socket.connect(address).await
            }
        }
    }

    async fn send(&self, mut connection: Connection, arrival: Arrival) -> Result<Answer, Failure> {
        let response = connection
            .send_request(self.message(arrival))
            .await
            .map_err(|error| if error.is_canceled() { Failure::NotSent } else { Failure::Sent(Outcome::Broken) })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| Failure::Sent(Outcome::Broken))?.to_bytes();
        if self.plan.keep_alive && self.kept.borrow().len() < KEPT_MAX {
            self.kept.borrow_mut().push(connection);
        }
        let due = if arrival.kind == Kind::Writes { StatusCode::SEE_OTHER } else { StatusCode::OK };
        if status != due {
            return Err(Failure::Sent(Outcome::Status(status.as_u16())));
        }
        Ok(match arrival.kind {
            Kind::Lists => {
                let entries: Vec<Entry> = serde_json::from_slice(&body).map_err(|_| Failure::Sent(Outcome::Broken))?;
                let last = entries.last().map(|entry| entry.id);
                Answer { server: None, seen: numbers(&entries, &self.plan.run), last }
            }
            _ => Answer { server: served_by(&String::from_utf8_lossy(&body)), ..Answer::default() },
        })
    }

    /// Pages through what is stored already, so that a list shows the drill's entries and no others.
    async fn find_last_entry(&self) {
        let first = Arrival { due_us: 0, kind: Kind::Lists, number: 0 };
        while let Ok(Answer { last: Some(last), .. }) = self.request(first, Instant::now() + DEADLINE).await {
            self.last_entry.set(last);
        }
    }

    fn message(&self, arrival: Arrival) -> Request<Full<Bytes>> {
        let (method, path) = match arrival.kind {
            // No schedule has statements: they do not come by HTTP.
            Kind::Reads | Kind::Statements => (Method::GET, "/".to_owned()),
            Kind::Writes => (Method::POST, "/entries".to_owned()),
            Kind::Files => (Method::GET, "/style.css".to_owned()),
            Kind::Lists => (Method::GET, format!("/entries.json?after={}&limit={LIST_MAX}", self.last_entry.get())),
        };
        let connection = if self.plan.keep_alive { "keep-alive" } else { "close" };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.plan.host)
            .header(header::USER_AGENT, "triad-drill")
            .header(header::CONNECTION, connection);
        let request = match arrival.kind {
            Kind::Writes => {
                let form = format!("name={}&text=drill", checker::id(&self.plan.run, arrival.number));
                request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(Full::from(form))
            }
            Kind::Reads | Kind::Files | Kind::Lists | Kind::Statements => request.body(Full::default()),
        };
        request.expect("the parts are well-formed; the host was checked as a name")
    }
}

/// An answer that was asked for.
#[derive(Default)]
struct Answer {
    /// The server whose instance answered, where it says so.
    server: Option<String>,
    /// The drill's writes that a list shows, by number.
    seen: Vec<u32>,
    /// The last entry of a list.
    last: Option<u64>,
}

/// An entry of the guestbook, as `/entries.json` lists it.
#[derive(Deserialize)]
struct Entry {
    id: u64,
    name: String,
}

/// The numbers of the writes of `run` among `entries`.
fn numbers(entries: &[Entry], run: &str) -> Vec<u32> {
    let prefix = checker::id_prefix(run);
    entries.iter().filter_map(|entry| entry.name.strip_prefix(&prefix)?.parse().ok()).collect()
}

enum Failure {
    /// It never left; it can be sent again on another connection.
    NotSent,
    /// It may have arrived.
    Sent(Outcome),
}

async fn speak<S>(stream: TokioIo<S>) -> Result<Connection, Outcome>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = handshake(stream).await.map_err(|_| Outcome::Unconnected)?;
    // Ends with the sender; its errors reach the request.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(sender)
}

/// The server that the guestbook's page names: `served by srv2, instance 1`.
fn served_by(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("served by ")?;
    rest.split_once(',').map(|(server, _)| server.to_owned())
}

/// Ends when this process is told to, for whoever must put things right first.
pub(crate) async fn interruption() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::served_by;

    #[test]
    fn a_page_names_its_server() {
        assert_eq!(served_by("<footer>served by srv2, instance 1</footer>").as_deref(), Some("srv2"));
        assert_eq!(served_by("<h1>Guestbook</h1>"), None);
    }
}
