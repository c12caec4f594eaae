//! The accepting end of a connection.

mod answer;
mod request;
mod stream;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::limits::{
    BROKEN_FREE, CONNECTION_WINDOW_BYTES, EDGE_RESETS_MAX, HEADER_LIST_BYTES_MAX, OWN_RESETS_MAX,
    SEND_BUFFER_BYTES_MAX, SHARED_HEADER_LIST_BYTES_MAX, SHARED_WINDOW_BYTES, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
pub use stream::Stream;

/// A connection. Nothing moves on any of its streams unless [`Server::accept`] is waited for; dropping it ends them all.
#[derive(Debug)]
pub struct Server<T> {
    connection: Connection<T, Bytes>,
    streams: u64,
    /// Those of them that the client broke off or got wrong; `None` where that is not held against it.
    broken: Option<Arc<AtomicU64>>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Server<T> {
    /// Waits for a client's preface. The caller sets a deadline.
    ///
    /// # Errors
    /// The client speaks something else, or went away.
    pub async fn handshake(io: T) -> io::Result<Self> {
        let mut builder = builder();
        builder.initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let connection = builder.handshake(io).await.map_err(io::Error::other)?;
        Ok(Self { connection, streams: 0, broken: Some(Arc::default()) })
    }

    /// The same for another edge, whose streams are many users': one of them who reads slowly, or changes their mind,
    /// must not cost the others the connection.
    ///
    /// # Errors
    /// As [`Server::handshake`].
    pub async fn handshake_with_edge(io: T) -> io::Result<Self> {
        let mut builder = builder();
        builder
            .max_header_list_size(SHARED_HEADER_LIST_BYTES_MAX)
            .initial_connection_window_size(SHARED_WINDOW_BYTES)
            .max_pending_accept_reset_streams(EDGE_RESETS_MAX);
        let connection = builder.handshake(io).await.map_err(io::Error::other)?;
        Ok(Self { connection, streams: 0, broken: None })
    }

    /// The next stream; `None` once the connection is over. May be given up at any time and called again.
    pub async fn accept(&mut self) -> Option<Stream> {
        loop {
            let (request, respond) = self.connection.accept().await?.ok()?;
            self.streams += 1;
            if self.is_abused() {
                self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            }
            match Stream::new(request, respond, self.broken.clone()) {
                Ok(stream) => return Some(stream),
                Err(mut respond) => {
                    self.broken.iter().for_each(|broken| _ = broken.fetch_add(1, Relaxed));
                    respond.send_reset(Reason::PROTOCOL_ERROR);
                }
            }
        }
    }

    /// Whether no stream is open.
    pub fn is_idle(&self) -> bool {
        !self.connection.has_streams()
    }

    /// Tells the client to send no more requests here (GOAWAY). [`Server::accept`] returns `None` when those that it has
    /// sent are answered.
    pub fn shut_down(&mut self) {
        self.connection.graceful_shutdown();
    }

    /// Whether the client breaks off most of what it begins (CVE-2023-44487, "rapid reset").
    fn is_abused(&self) -> bool {
        let broken = self.broken.as_ref().map_or(0, |broken| broken.load(Relaxed));
        broken > BROKEN_FREE && broken > self.streams / 2
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_local_error_reset_streams(Some(OWN_RESETS_MAX))
        .enable_connect_protocol();
    builder
}
