//! The opening end of a connection.

mod answer;
mod fields;
mod incoming;
mod outgoing;
mod request;
mod stream;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use http::uri::Scheme;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use crate::limits::{
    OWN_RESETS_MAX, SEND_BUFFER_BYTES_MAX, SHARED_HEADER_LIST_BYTES_MAX, SHARED_WINDOW_BYTES, STREAM_WINDOW_BYTES,
    STREAMS_MAX,
};
pub use stream::{ClientStream, Fate};

/// What requests over a connection need. Once it is dropped, the connection ends when its streams have.
#[derive(Debug)]
pub struct Client {
    requests: SendRequest<Bytes>,
    scheme: Scheme,
    /// Shared with each stream that is open.
    open: Arc<()>,
}

/// A connection's work: nothing moves on any of its streams unless [`Connection::run`] is waited for; dropping it
/// breaks them all.
#[derive(Debug)]
pub struct Connection<T: AsyncRead + AsyncWrite> {
    connection: h2::client::Connection<T, Bytes>,
    pings: PingPong,
}

/// Opens a connection over `io` to a server that is known to speak HTTP/2 (RFC 9113 §3.3), or agreed to (§3.2). It is
/// open when the server has answered a PING: so it does speak HTTP/2, and what it allows is known. The caller sets a
/// deadline. `is_encrypted` is what requests say of their scheme.
///
/// # Errors
/// The server speaks something else, or went away.
pub async fn connect<T>(io: T, is_encrypted: bool) -> io::Result<(Client, Connection<T>)>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (requests, mut connection) = Builder::new()
        .enable_push(false)
        .max_header_list_size(SHARED_HEADER_LIST_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(SHARED_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_local_error_reset_streams(Some(OWN_RESETS_MAX))
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    let mut pings = connection.ping_pong().ok_or_else(|| io::Error::other("no PING"))?;
    tokio::select! {
        pong = pings.ping(Ping::opaque()) => {
            pong.map_err(io::Error::other)?;
        }
        ended = &mut connection => {
            ended.map_err(io::Error::other)?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
    let scheme = if is_encrypted { Scheme::HTTPS } else { Scheme::HTTP };
    Ok((Client { requests, scheme, open: Arc::default() }, Connection { connection, pings }))
}

impl Client {
    /// A stream for one request; `None` while as many are open as the server and [`STREAMS_MAX`] allow, and for ever
    /// once [`Client::is_over`].
    pub fn stream(&mut self) -> Option<ClientStream> {
        let allowed = self.requests.current_max_send_streams().min(STREAMS_MAX as usize);
        let has_room = self.open_streams() < allowed && !self.is_over();
        has_room.then(|| ClientStream::new(self.requests.clone(), self.scheme.clone(), self.open.clone()))
    }

    /// Whether it takes no more requests: the server said so (GOAWAY), or it has ended.
    pub fn is_over(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        matches!(self.requests.poll_ready(&mut nobody), Poll::Ready(Err(_)))
    }

    /// Streams that are open.
    pub fn open_streams(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Connection<T> {
    /// Works until the connection has ended: after a GOAWAY and once nobody needs it, when its streams have.
    ///
    /// With `ping_every` the server is asked so often whether it is there; one that has not answered by the next time is
    /// taken for dead. Some servers take more than a PING in five minutes ill (gRPC's), so this is for servers that are
    /// known not to.
    ///
    /// # Errors
    /// What ended it, if that was not in order. Its streams have failed by then.
    pub async fn run(mut self, ping_every: Option<Duration>) -> io::Result<()> {
        let mut look_at = ping_every.map(|every| Instant::now() + every);
        let mut awaits_pong = false;
        loop {
            tokio::select! {
                ended = &mut self.connection => return ended.map_err(io::Error::other),
                pong = poll_fn(|context| self.pings.poll_pong(context)), if awaits_pong => {
                    pong.map_err(io::Error::other)?;
                    awaits_pong = false;
                }
                () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {
                    if awaits_pong {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    self.pings.send_ping(Ping::opaque()).map_err(io::Error::other)?;
                    awaits_pong = true;
                    look_at = ping_every.map(|every| Instant::now() + every);
                }
            }
        }
    }
}

/// Waits until `stream`, whose answer was read, is over for the server as well: breaking it off before would count as a
/// change of mind. The caller sets a deadline.
pub async fn linger(mut stream: ClientStream) {
    let mut memory = [0; 64];
    loop {
        let mut unread = tokio::io::ReadBuf::new(&mut memory);
        let read = poll_fn(|context| tokio::io::AsyncRead::poll_read(Pin::new(&mut stream), context, &mut unread));
        if read.await.is_err() || unread.filled().is_empty() {
            return;
        }
    }
}
