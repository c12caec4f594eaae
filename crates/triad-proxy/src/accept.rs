//! From a listening socket to a served connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use triad_http::Peer;

use crate::answer::Entrance;
use crate::bans::Cleared;
use crate::connection::Connection;
use crate::counters::Ongoing;
use crate::forwarder;
use crate::handshake;
use crate::http2;
use crate::lead::Purpose;
use crate::limit::Admitted;
use crate::live::Hop;
use crate::plan::ListenerSpec;
use crate::relay::relay;
use crate::room::{Guest, Seat};
use crate::serve::Worker;
use crate::stream::Stream;

/// Pause after the system refused a connection for want of something, such as open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Web(Entrance),
    Relay(Purpose),
}

impl Door {
    /// The door behind a socket's name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            ListenerSpec::HTTP => Some(Self::Web(Entrance::Http)),
            ListenerSpec::HTTPS => Some(Self::Web(Entrance::Https)),
            ListenerSpec::HOP => Some(Self::Web(Entrance::Hop)),
            ListenerSpec::RELAY => Some(Self::Relay(Purpose::Write)),
            ListenerSpec::READ_RELAY => Some(Self::Relay(Purpose::Read)),
            _ => None,
        }
    }
}

/// Tells a connection when the worker stops, and the worker that the connection is open.
pub(crate) type Stop = watch::Receiver<Option<Instant>>;

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

/// Ready when connections without a request shall be closed.
async fn idle_ended(stop: &mut Stop) {
    stopped(stop).await;
    let until = *stop.borrow();
    sleep_until(until.unwrap_or_else(Instant::now)).await;
}

fn admit(worker: &Arc<Worker>, door: Door, stream: TcpStream, from: SocketAddr) {
    let stop = worker.stop.subscribe();
    let entrance = match door {
        Door::Web(entrance) => entrance,
        Door::Relay(purpose) => return drop(tokio::spawn(relayed(worker.clone(), purpose, stream, stop))),
    };
    let Some(seat) = seat(worker, entrance, from) else { return };
    if worker.shared.live.load().is_forwarded(entrance, from.ip()) {
        tokio::spawn(forwarded(worker.clone(), entrance, stream, from, stop, seat));
        return;
    }
    let Some(admitted) = limit(worker, entrance, from) else { return };
    tokio::spawn(connection(worker.clone(), entrance, stream, from, stop, (seat, admitted)));
}

/// Room for a connection, if there is any.
fn seat(worker: &Worker, entrance: Entrance, from: SocketAddr) -> Option<Seat> {
    let address = from.ip().to_canonical();
    let is_own = entrance == Entrance::Hop || worker.shared.live.load().checked_from.contains(&address);
    let guest = if is_own { Guest::Own } else { Guest::Client };
    let counters = &worker.counters;
    let seat = Seat::take(&worker.shared, guest, counters.under_way());
    if seat.is_none() {
        let refused = counters.connections_full.fetch_add(1, Relaxed) + 1;
        // Ever rarer, so that a flood of connections is no flood of log lines.
        if refused.is_power_of_two() {
            let limit = worker.shared.room.connections_max();
            tracing::warn!(refused, limit, ?guest, "too many connections or requests, new connections are closed");
        }
    }
    seat
}

/// What counts a client's connection as long as it lives; `None`: the client is banned, or has as many as it may.
fn limit(worker: &Worker, entrance: Entrance, client: SocketAddr) -> Option<Option<Admitted>> {
    if entrance == Entrance::Hop {
        return Some(None);
    }
    if worker.shared.bans.has(client.ip(), &mut Cleared::default()) {
        worker.counters.connections_banned.fetch_add(1, Relaxed);
        return None;
    }
    let live = worker.shared.live.load();
    let Some(limiter) = &live.limiter else { return Some(None) };
    let admitted = limiter.connect(client.ip(), std::time::Instant::now());
    if admitted.is_none() {
        worker.counters.connections_client.fetch_add(1, Relaxed);
    }
    admitted.map(Some)
}

/// A connection that a forwarder passes on counts as its client's.
async fn forwarded(
    worker: Arc<Worker>,
    entrance: Entrance,
    mut stream: TcpStream,
    from: SocketAddr,
    mut stop: Stop,
    seat: Seat,
) {
    let open = Ongoing::new(worker.counters.clone(), |counters| &counters.connections);
    let client = tokio::select! {
        biased;
        client = forwarder::client(&worker.counters, &mut stream, from) => client,
        // Nothing has been asked yet, but may be on its way as long as kept connections may ask.
        () = idle_ended(&mut stop) => return,
    };
    let Some(client) = client else { return };
    let Some(admitted) = limit(&worker, entrance, client) else { return };
    drop(open);
    connection(worker, entrance, stream, client, stop, (seat, admitted)).await;
}

/// A relayed connection counts as open for a drain; the application ends it, or the deadline.
async fn relayed(worker: Arc<Worker>, purpose: Purpose, stream: TcpStream, _open: Stop) {
    relay(worker.shared.relay.clone(), purpose, stream).await;
}

/// A connection, as long as it lives. What it counts as is an argument, because a task that holds this future beside
/// something else has room for it twice.
async fn connection(
    worker: Arc<Worker>,
    entrance: Entrance,
    stream: TcpStream,
    from: SocketAddr,
    mut stop: Stop,
    _counts: (Seat, Option<Admitted>),
) {
    let _open = Ongoing::new(worker.counters.clone(), |counters| &counters.connections);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection was gone before it was served");
        return;
    }
    let live = worker.shared.live.load_full();
    let address = from.ip().to_canonical();
    let (mut shown, mut certificate) = (None, None);
    let (stream, secure, trusted) = match (entrance, &live.hop) {
        (Entrance::Http, _) => (Stream::Plain(stream), false, false),
        (Entrance::Https, _) => {
            let Some(site) = &live.site_tls else { return };
            let Some(user) = handshake::with_user(&worker, site, stream).await else { return };
            (shown, certificate) = (Some(user.shown), user.certificate);
            (user.stream, true, false)
        }
        (Entrance::Hop, Hop::MutualTls(acceptor)) => {
            let Some(stream) = handshake::with_edge(&worker, acceptor, stream).await else { return };
            (stream, true, true)
        }
        (Entrance::Hop, Hop::Plain(admitted)) if admitted.contains(&address) => (Stream::Plain(stream), false, true),
        (Entrance::Hop, Hop::Plain(_)) => {
            tracing::warn!(%address, "hop refused: no edge that sends to this server");
            return;
        }
    };
    drop(live);
    let peer = Peer { certificate, ..Peer::new(from, secure, trusted) };
    let stopped = async move {
        stopped(&mut stop).await;
        stop
    };
    match stream.agreed_on_http2() {
        true => http2::serve(worker, entrance, peer, shown, stream, stopped).await,
        false => Connection::new(worker, entrance, peer, shown, stream, stopped).run().await,
    }
}
