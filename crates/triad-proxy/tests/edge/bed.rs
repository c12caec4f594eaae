//! What the tests stand on: real origins, real clients, real sockets, all on 127.0.0.1.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use socket2::{Domain, Socket, Type};
use tokio::sync::Notify;
use triad_http::{Body, body};
use triad_model::{BackendMode, BackendReport, HealthCheck, Verdict};
use triad_proxy::{BackendPlan, Edge, EdgePlan, MinRate, PoolPlan, Target};

/// The site of all tests.
pub const HOST: &str = "www.foobar.com";
/// Workers of every edge under test.
pub const WORKERS: usize = 2;
/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// One socket per worker on a free port, as the agent would open them.
pub fn sockets() -> (SocketAddr, Vec<TcpListener>) {
    let first = reuse_port(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let address = first.local_addr().expect("bound");
    let others = (1..WORKERS).map(|_| reuse_port(address));
    (address, std::iter::once(first).chain(others).collect())
}

fn reuse_port(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("reuse of the address");
    socket.set_reuse_port(true).expect("reuse of the port");
    socket.bind(&address.into()).expect("a free port");
    socket.listen(1024).expect("listening");
    socket.into()
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A plan that serves nothing yet.
pub fn plan() -> EdgePlan {
    EdgePlan {
        hosts: vec![HOST.to_owned(), "foobar.com".to_owned()],
        redirect_to_https: false,
        site_certificate: None,
        site_extras: Default::default(),
        http2: true,
        identity: None,
        hop_from: vec![Ipv4Addr::LOCALHOST.into()],
        proxy_protocol_from: Vec::new(),
        checked_from: Vec::new(),
        root: None,
        balancer: None,
        local: None,
        sticky: None,
        limits: None,
        fronts: 1,
        files_max: None,
        min_rate: MinRate::default(),
        headers: Default::default(),
        redirects: Vec::new(),
        pools: Default::default(),
        routes: Vec::new(),
        hsts: None,
        grpc: false,
        maintenance: Default::default(),
        relay: None,
        database: Default::default(),
        access_log: None,
        log: Default::default(),
    }
}

/// A pool that is checked often.
pub fn pool(backends: Vec<BackendPlan>) -> Option<PoolPlan> {
    let check = HealthCheck::new("/up", 50, 500);
    Some(PoolPlan::new(backends, check))
}

/// An application as a backend.
pub fn backend(name: &str, address: SocketAddr, weight: u16) -> BackendPlan {
    BackendPlan { weight, ..BackendPlan::new(name, Target::Instance(address)) }
}

/// The same of weight 1, with so many requests in flight at most.
pub fn bounded(name: &str, address: SocketAddr, max_connections: u32) -> BackendPlan {
    BackendPlan { max_connections, ..backend(name, address, 1) }
}

/// The same, passive.
pub fn backup(name: &str, address: SocketAddr) -> BackendPlan {
    BackendPlan { backup: true, ..backend(name, address, 1) }
}

/// An edge with one listener called `name`, which has checked its backends once. It starts without that as well if the
/// checks take long, as they may on a busy machine.
pub fn edge(name: &str, plan: EdgePlan) -> (Edge, SocketAddr) {
    let (address, listeners) = sockets();
    let edge = Edge::start(plan, vec![(name.to_owned(), listeners)]).expect("the edge starts");
    let is_checked = |it: &BackendReport| it.mode == BackendMode::Maintenance || it.why != "not checked yet";
    until("all are checked", || edge.report().backends.iter().all(is_checked));
    (edge, address)
}

/// Waits for a verdict.
pub fn until_backend(edge: &Edge, name: &str, verdict: Verdict) {
    let is_so = || edge.report().backends.iter().any(|backend| backend.name == name && backend.verdict == verdict);
    until(&format!("{name} is {verdict:?}"), is_so);
}

/// An address where nobody listens.
pub fn nowhere() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port").local_addr().expect("bound")
}

/// A real application. `/up` answers as told, `/wait` answers when told, `/nap` after a moment, `/never` never, `/echo`
/// with what it is sent, `/status/503` with that, anything else with its name and the head it got.
pub struct Origin {
    pub address: SocketAddr,
    pub state: Arc<State>,
    running: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What a test tells and asks an origin.
#[derive(Default)]
pub struct State {
    name: String,
    pub sick: AtomicBool,
    /// Requests beside checks.
    pub requests: AtomicUsize,
    /// Connections that carried a request beside checks.
    pub connections: AtomicUsize,
    /// Requests beside checks that are there now, and the most that ever were.
    pub there: AtomicUsize,
    pub most: AtomicUsize,
    pub release: Notify,
    pub heads: Mutex<Vec<String>>,
}

impl Origin {
    /// Starts one on a free port.
    pub fn start(name: &str) -> Self {
        let listener = reuse_port(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Self::on(name, listener)
    }

    /// Starts one where another was.
    pub fn again(name: &str, address: SocketAddr) -> Self {
        Self::on(name, reuse_port(address))
    }

    fn on(name: &str, listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State { name: name.to_owned(), ..State::default() });
        let (running, ended) = tokio::sync::oneshot::channel::<()>();
        let serving = state.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::spawn(origin(listener, serving));
                let _ = ended.await;
            });
        });
        Self { address, state, running: Some(running), thread: Some(thread) }
    }

    /// Ends it at once, connections and all.
    pub fn kill(mut self) {
        self.end();
    }

    /// Waits until a request beside checks is there.
    pub fn until_asked(&self, times: usize) {
        until("the origin is asked", || self.state.requests.load(SeqCst) >= times);
    }

    fn end(&mut self) {
        self.running.take();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the origin ends");
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.end();
    }
}

async fn origin(listener: TcpListener, state: Arc<State>) {
    listener.set_nonblocking(true).expect("a non-blocking socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        let fresh = Arc::new(AtomicBool::new(true));
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = act(state.clone(), fresh.clone(), request.map(body::stream));
            async move { Ok::<_, Infallible>(answer.await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn act(state: Arc<State>, fresh: Arc<AtomicBool>, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path == "/up" {
        let status = if state.sick.load(SeqCst) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        return Response::builder().status(status).body(body::empty()).expect("an answer");
    }
    if fresh.swap(false, SeqCst) {
        state.connections.fetch_add(1, SeqCst);
    }
    let head = head_text(&request);
    state.heads.lock().expect("heads").push(head.clone());
    let released = state.release.notified();
    let _there = There::new(&state);
    state.requests.fetch_add(1, SeqCst);
    match path.as_str() {
        "/wait" => released.await,
        "/nap" => tokio::time::sleep(Duration::from_millis(3)).await,
        "/never" => std::future::pending().await,
        "/echo" => return Response::new(request.into_body()),
        "/status/503" => {
            let answer = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).body(body::empty());
            return answer.expect("an answer");
        }
        _ => {}
    }
    Response::new(body::full(format!("{}\n{head}", state.name)))
}

/// A request that is there.
struct There(Arc<State>);

impl There {
    fn new(state: &Arc<State>) -> Self {
        state.most.fetch_max(state.there.fetch_add(1, SeqCst) + 1, SeqCst);
        Self(state.clone())
    }
}

impl Drop for There {
    fn drop(&mut self) {
        self.0.there.fetch_sub(1, SeqCst);
    }
}

fn head_text(request: &Request<Body>) -> String {
    let mut lines: Vec<String> = request.headers().iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    lines.sort();
    format!("{} {}\n{}", request.method(), request.uri(), lines.join("\n"))
}

/// An origin of bytes: it answers checks with 200, then does what `act` says with any other request's connection.
pub fn raw_origin(act: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    raw_origin_with_heads(move |stream, _| act(stream))
}

/// The same, with the request's head.
pub fn raw_origin_with_heads(act: impl Fn(TcpStream, String) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A check that was given up closes its connection before it sends a head.
            let Some(head) = read_head(&mut stream) else { continue };
            if head.starts_with("GET /up ") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            } else {
                act(stream, head);
            }
        }
    });
    address
}

/// An origin that switches to a protocol of its own on [`shout`]: it answers one word of five letters, louder.
pub fn shouter() -> SocketAddr {
    raw_origin(|mut stream| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n";
        stream.write_all(head).expect("sent");
        let mut word = [0; 5];
        stream.read_exact(&mut word).expect("a word");
        stream.write_all(&word.to_ascii_uppercase()).expect("sent");
    })
}

/// The request that makes a [`shouter`] switch.
pub fn shout() -> String {
    format!("GET /chat HTTP/1.1\nHost: {HOST}\nConnection: Upgrade\nUpgrade: shout\n\n")
}

/// What a client got.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first line of the body: an origin's name.
    pub fn name(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A client's connection, plain.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the edge accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream
}

/// A client's connection over TLS to the site.
pub fn connect_tls(
    address: SocketAddr,
    authority_pem: &str,
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    tls_over(connect(address), authority_pem)
}

/// The same, over a connection that is there already.
pub fn tls_over(
    connection: TcpStream,
    authority_pem: &str,
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority_pem.as_bytes()).expect("a certificate")).expect("a root");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(HOST).expect("a name");
    let session = rustls::ClientConnection::new(Arc::new(config), name).expect("a session");
    rustls::StreamOwned::new(session, connection)
}

/// Sends `request`, in which `\n` ends lines, and reads one answer.
pub fn exchange(stream: &mut (impl Read + Write), request: &str) -> Reply {
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).expect("sent");
    read_reply(stream)
}

/// `GET path` over a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Reply {
    exchange(&mut connect(address), &format!("GET {path} HTTP/1.1\nHost: {HOST}\nConnection: close\n\n"))
}

/// Reads one answer: its head, then as much body as it says.
pub fn read_reply(stream: &mut impl Read) -> Reply {
    let head = read_head(stream).expect("an answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut reply = Reply { status, head, body: Vec::new() };
    if reply.header("transfer-encoding").is_some() {
        reply.body = read_chunks(stream);
    } else {
        let length = reply.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        reply.body = vec![0; length];
        stream.read_exact(&mut reply.body).expect("the whole body");
    }
    reply
}

/// A message's head with `\n` for line ends; `None` if the connection ends within it.
pub fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.extend(byte);
    }
    Some(String::from_utf8(bytes).ok()?.replace("\r\n", "\n"))
}

fn read_chunks(stream: &mut impl Read) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&read_line(stream), 16).expect("a chunk's size");
        let mut chunk = vec![0; size];
        stream.read_exact(&mut chunk).expect("a chunk");
        body.extend(chunk);
        read_line(stream);
        if size == 0 {
            return body;
        }
    }
}

fn read_line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a line");
        line.extend(byte);
    }
    String::from_utf8(line).expect("text").trim_end().to_owned()
}
