//! TLS handshakes: what one costs, who waits for whom, and what is known of a client afterwards.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};
use triad_tls::{Shown, SiteTls};

use crate::serve::Worker;
use crate::stream::Stream;

/// Time a client has for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Users' handshakes under way at one time on a worker; more are closed at once and counted. They are never more than half
/// of the connections that there is room for, so that strangers who never finish one leave room for plain HTTP.
const HANDSHAKES_MAX: u64 = 4096;

/// The handshakes of one worker's users.
#[derive(Debug)]
pub(crate) struct Handshakes {
    under_way: AtomicU64,
    /// Whose turn it is to be answered. Signing takes longer than most requests: a thousand clients that come at once
    /// take turns with what else there is to do, instead of going before it.
    turn: Semaphore,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { under_way: AtomicU64::new(0), turn: Semaphore::new(1) }
    }
}

impl Handshakes {
    /// Counts one more as long as what it returns lives; `None` if there are as many as may be.
    fn begin(&self, max: u64) -> Option<UnderWay<'_>> {
        if self.under_way.fetch_add(1, Relaxed) >= max {
            self.under_way.fetch_sub(1, Relaxed);
            return None;
        }
        Some(UnderWay(self))
    }
}

struct UnderWay<'h>(&'h Handshakes);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

/// A user whose handshake is done.
pub(crate) struct User {
    pub stream: Stream,
    /// The certificate it saw, now or when the session began that it takes up.
    pub shown: Arc<Shown>,
    /// Its own, as the application is told of it.
    pub certificate: Option<Arc<str>>,
}

/// Shakes hands with a user of the site.
pub(crate) async fn with_user(worker: &Worker, site: &SiteTls, stream: TcpStream) -> Option<User> {
    let limit = HANDSHAKES_MAX.min(worker.shared.room.connections_max() / 2).max(1);
    let Some(_under_way) = worker.handshakes.begin(limit) else {
        let refused = worker.counters.connections_full.fetch_add(1, Relaxed) + 1;
        if refused.is_power_of_two() {
            tracing::warn!(refused, limit, "too many handshakes under way, new connections are closed");
        }
        return None;
    };
    let session = succeeded(worker, timeout(HANDSHAKE_TIMEOUT, in_turn(worker, site, stream)).await)?;
    let (_, state) = session.get_ref();
    let shown = site.shown(state.server_name()).clone();
    match triad_tls::client_cert_field(state.peer_certificates().unwrap_or_default()) {
        Ok(certificate) => Some(User { stream: Stream::tls(session), shown, certificate }),
        Err(refused) => failed(worker, &refused),
    }
}

/// Reads what the client offers, and answers when it is its turn.
async fn in_turn(worker: &Worker, site: &SiteTls, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let answered = {
        let _turn = worker.handshakes.turn.acquire().await;
        hello.into_stream(site.config().clone())
    };
    answered.await
}

/// Shakes hands with another edge.
pub(crate) async fn with_edge(worker: &Worker, acceptor: &TlsAcceptor, stream: TcpStream) -> Option<Stream> {
    succeeded(worker, timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await).map(Stream::tls)
}

fn succeeded<T>(worker: &Worker, outcome: Result<io::Result<T>, tokio::time::error::Elapsed>) -> Option<T> {
    match outcome {
        Ok(Ok(session)) => Some(session),
        Ok(Err(error)) => failed(worker, &error),
        Err(_elapsed) => failed(worker, &"not done in time"),
    }
}

fn failed<T>(worker: &Worker, why: &dyn std::fmt::Display) -> Option<T> {
    worker.counters.handshake_failures.fetch_add(1, Relaxed);
    tracing::debug!(%why, "TLS handshake failed");
    None
}

#[cfg(test)]
mod tests {
    use super::{HANDSHAKES_MAX, Handshakes};

    #[test]
    fn so_many_are_under_way_and_no_more() {
        let handshakes = Handshakes::default();
        let mut under_way: Vec<_> =
            (0..HANDSHAKES_MAX).map(|_| handshakes.begin(HANDSHAKES_MAX).expect("there is room")).collect();
        assert!(handshakes.begin(HANDSHAKES_MAX).is_none());
        assert!(handshakes.begin(HANDSHAKES_MAX).is_none(), "who was refused does not count");
        under_way.pop();
        assert!(handshakes.begin(HANDSHAKES_MAX).is_some());
    }
}
