//! From a listening socket to a served connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use triad_http::Peer;

use crate::answer::{Connection, Entrance, answer};
use crate::counters::Ongoing;
use crate::live::Hop;
use crate::plan::ListenerSpec;
use crate::relay::relay;
use crate::serve::Worker;

/// HTTP connections a worker keeps open at one time; more are closed at once and counted.
const CONNECTIONS_MAX: u64 = 8192;
/// Time a client has for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the system refused a connection for want of something, such as open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Web(Entrance),
    Relay,
}

impl Door {
    /// The door behind a socket's name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            ListenerSpec::HTTP => Some(Self::Web(Entrance::Http)),
            ListenerSpec::HTTPS => Some(Self::Web(Entrance::Https)),
            ListenerSpec::HOP => Some(Self::Web(Entrance::Hop)),
            ListenerSpec::RELAY => Some(Self::Relay),
            _ => None,
        }
    }
}

type Stop = watch::Receiver<Option<Instant>>;

/// Accepts until the worker stops.
pub(crate) async fn accept(worker: Arc<Worker>, door: Door, listener: TcpListener) {
    let mut stop = worker.stop.subscribe();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => admit(&worker, door, stream, from),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn stopped(stop: &mut Stop) {
    let _ = stop.wait_for(Option::is_some).await;
}

fn admit(worker: &Arc<Worker>, door: Door, stream: TcpStream, from: SocketAddr) {
    let stop = worker.stop.subscribe();
    match door {
        Door::Relay => drop(tokio::spawn(relayed(worker.clone(), stream, stop))),
        Door::Web(_) if worker.counters.connections.load(Relaxed) >= CONNECTIONS_MAX => {
            let refused = worker.counters.connections_refused.fetch_add(1, Relaxed) + 1;
            // Ever rarer, so that a flood of connections is no flood of log lines.
            if refused.is_power_of_two() {
                tracing::warn!(refused, limit = CONNECTIONS_MAX, "too many connections, new ones are closed");
            }
        }
        Door::Web(entrance) => drop(tokio::spawn(connection(worker.clone(), entrance, stream, from, stop))),
    }
}

/// A relayed connection counts as open for a drain; the application ends it, or the deadline.
async fn relayed(worker: Arc<Worker>, stream: TcpStream, _open: Stop) {
    relay(worker.shared.relay.clone(), stream).await;
}

async fn connection(worker: Arc<Worker>, entrance: Entrance, stream: TcpStream, from: SocketAddr, stop: Stop) {
    let _open = Ongoing::new(worker.counters.clone(), |counters| &counters.connections);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection was gone before it was served");
        return;
    }
    let live = worker.shared.live.load_full();
    let address = from.ip().to_canonical();
    let peer = |secure, trusted| Peer::new(address, secure, trusted);
    match (entrance, &live.hop) {
        (Entrance::Http, _) => serve(worker, entrance, peer(false, false), stream, stop).await,
        (Entrance::Https, _) => {
            let Some(acceptor) = &live.site_tls else { return };
            let Some(stream) = handshake(&worker, acceptor, stream).await else { return };
            serve(worker, entrance, peer(true, false), stream, stop).await;
        }
        (Entrance::Hop, Hop::MutualTls(acceptor)) => {
            let Some(stream) = handshake(&worker, acceptor, stream).await else { return };
            serve(worker, entrance, peer(true, true), stream, stop).await;
        }
        (Entrance::Hop, Hop::Plain(admitted)) if admitted.contains(&address) => {
            serve(worker, entrance, peer(false, true), stream, stop).await;
        }
        (Entrance::Hop, Hop::Plain(_)) => tracing::warn!(%address, "hop refused: no edge that sends to this server"),
    }
}

async fn handshake(worker: &Worker, acceptor: &TlsAcceptor, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let failure = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => "not done in time".to_owned(),
    };
    worker.counters.handshake_failures.fetch_add(1, Relaxed);
    tracing::debug!(why = failure, "TLS handshake failed");
    None
}

async fn serve<I>(worker: Arc<Worker>, entrance: Entrance, peer: Peer, io: I, mut stop: Stop)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::new(Connection { worker, entrance, peer });
    let handler = move |request| answer(connection.clone(), request);
    if let Err(why) = triad_http::serve(io, handler, stopped(&mut stop)).await {
        tracing::debug!(why, "client connection ended");
    }
}
