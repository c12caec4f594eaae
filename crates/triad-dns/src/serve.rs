//! The running name server: the authority on inherited sockets.

use std::io;
use std::net;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};
use triad_model::{DnsReport, ServerName};

use crate::authority::{Answer, Authority, InvalidZone, Transport};
use crate::plan::Zone;
use crate::report::Counts;

/// Longest query read over UDP, in bytes; the rest is cut off, which makes it a format error. Real ones have under 200.
const QUERY_BYTES_MAX: usize = 4096;
/// TCP connections open at a time on one listener; more wait in its backlog.
const CONNECTIONS_MAX: usize = 128;
/// Time a client has to send its next query, or to take an answer (RFC 7766 §6.2.3 recommends "a few seconds").
const IDLE: Duration = Duration::from_secs(10);
/// Pause after an error of a socket, so that one that lasts does not take the processor.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// A name server. Dropping it ends it, connections included.
#[derive(Debug)]
pub struct NameServer {
    state: Arc<Mutex<State>>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    zone: Zone,
    left_out: Vec<ServerName>,
    authority: Authority,
    counts: Counts,
}

impl NameServer {
    /// Answers from `zone` on the sockets, in tasks of the current Tokio runtime.
    ///
    /// # Errors
    /// A name of the zone is no domain name (`InvalidInput`), or a socket cannot be registered with the runtime.
    pub fn start(zone: Zone, udp: Vec<net::UdpSocket>, tcp: Vec<net::TcpListener>) -> io::Result<Self> {
        let authority =
            Authority::new(&zone, &[]).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let state = State { zone, left_out: Vec::new(), authority, counts: Counts::default() };
        let state = Arc::new(Mutex::new(state));
        let mut tasks = JoinSet::new();
        for socket in udp {
            socket.set_nonblocking(true)?;
            tasks.spawn(serve_udp(UdpSocket::from_std(socket)?, Arc::clone(&state)));
        }
        for listener in tcp {
            listener.set_nonblocking(true)?;
            tasks.spawn(serve_tcp(TcpListener::from_std(listener)?, Arc::clone(&state)));
        }
        Ok(Self { state, tasks })
    }

    /// Answers from `zone` from now on; sockets, connections and counters stay.
    ///
    /// # Errors
    /// A name of `zone` is no domain name; the old zone stays.
    pub fn reload(&self, zone: Zone) -> Result<(), InvalidZone> {
        let mut state = lock(&self.state);
        state.authority = Authority::new(&zone, &state.left_out)?;
        state.zone = zone;
        Ok(())
    }

    /// Leaves the addresses of `servers`, and of no others, out of the apex, unless those are all there are.
    pub fn leave_out(&self, servers: Vec<ServerName>) {
        let mut state = lock(&self.state);
        if state.left_out != servers {
            state.authority = Authority::new(&state.zone, &servers).expect("the zone was accepted before");
            state.left_out = servers;
        }
    }

    /// What it counted since it started.
    pub fn report(&self) -> DnsReport {
        let state = lock(&self.state);
        state.counts.report(state.zone.absent(&state.left_out))
    }

    /// Waits until a socket is no longer served, which only a defect of this crate brings about (or no socket at all):
    /// the process should then end and be started again.
    pub async fn failed(&mut self) {
        self.tasks.join_next().await;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(state: &Mutex<State>, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let state = &mut *lock(state);
    let answer = state.authority.answer(packet, transport);
    state.counts.count(transport, &answer);
    match answer {
        Answer::Reply { bytes, .. } => Some(bytes),
        Answer::Drop => None,
    }
}

async fn serve_udp(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut packet = vec![0; QUERY_BYTES_MAX];
    loop {
        let (length, client) = match socket.recv_from(&mut packet).await {
            Ok(received) => received,
            Err(error) => {
                warn!(%error, "cannot receive queries over udp");
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        if let Some(bytes) = answer(&state, &packet[..length], Transport::Udp)
            && let Err(error) = socket.send_to(&bytes, client).await
        {
            debug!(%error, %client, "cannot send an answer");
        }
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve_connection(stream, Arc::clone(&state)));
            }
            Err(error) => {
                warn!(%error, "cannot accept connections");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    // An error or a silence ends the connection; both are the client's own business.
    while let Ok(Ok(query)) = timeout(IDLE, read_message(&mut stream)).await {
        let Some(bytes) = answer(&state, &query, Transport::Tcp) else { return };
        let Ok(Ok(())) = timeout(IDLE, write_message(&mut stream, &bytes)).await else { return };
    }
}

/// Reads a message after its length in two bytes (RFC 1035 §4.2.2).
async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length_bytes = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length_bytes)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes length and message in one go, since some clients expect them in one segment (RFC 7766 §8).
async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length_bytes = u16::try_from(message.len()).map_err(io::Error::other)?;
    let framed = [&length_bytes.to_be_bytes()[..], message].concat();
    stream.write_all(&framed).await
}
