//! The TCP relay that applications use as their database: it knows where the primary is, they need not.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::counters::Ongoing;
use crate::plan::RelayTarget;

/// Connections open through the relay at one time; more are closed at once.
const CONNECTIONS_MAX: u64 = 1024;
/// Time to reach the database.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The relay.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where new connections lead. It may change at any time; connections that are open stay where they are.
    pub target: watch::Sender<Option<RelayTarget>>,
    pub open: AtomicU64,
    pub failures: AtomicU64,
}

impl Default for Relay {
    fn default() -> Self {
        Self { target: watch::Sender::new(None), open: AtomicU64::new(0), failures: AtomicU64::new(0) }
    }
}

/// Connects `client` to where the relay leads now and copies until both directions have ended; the end of one is
/// passed on while the other goes on.
pub(crate) async fn relay(relay: Arc<Relay>, client: TcpStream) {
    if relay.open.load(Relaxed) >= CONNECTIONS_MAX {
        relay.failures.fetch_add(1, Relaxed);
        tracing::warn!(limit = CONNECTIONS_MAX, "database relay is full");
        return;
    }
    let _open = Ongoing::new(relay.clone(), |relay| &relay.open);
    let target = relay.target.borrow().clone();
    let result = match target {
        Some(RelayTarget::Tcp(address)) => to_address(client, address).await,
        Some(RelayTarget::Unix(path)) => to_socket(client, &path).await,
        None => Err(io::Error::other("the design has no database for this server")),
    };
    if let Err(error) = result {
        relay.failures.fetch_add(1, Relaxed);
        tracing::warn!(%error, "database relay could not pass a connection on");
    }
}

async fn to_address(client: TcpStream, address: SocketAddr) -> io::Result<()> {
    let database = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    keep_fresh(&database)?;
    copy(client, database).await
}

async fn to_socket(client: TcpStream, path: &Path) -> io::Result<()> {
    let database = timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await??;
    copy(client, database).await
}

/// No delay for small statements; a probe that notices a peer that died silently, because idle is normal here.
fn keep_fresh(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_keepalive(true)
}

/// Fails only before the first byte: how a connection ends later is between the application and its database.
async fn copy(mut client: TcpStream, mut database: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    keep_fresh(&client)?;
    if let Err(error) = copy_bidirectional(&mut client, &mut database).await {
        tracing::debug!(%error, "relayed connection ended");
    }
    Ok(())
}
