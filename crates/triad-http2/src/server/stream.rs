//! One stream: a request to read, an answer to write.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::{Key, Session};
use crate::frame::Reason;

/// A stream of a connection. It reads as the request in HTTP/1.1, then waits, and fails once the client breaks it off;
/// what is written to it must be the answer in HTTP/1.1, each head in one piece.
///
/// Dropping it before the answer is whole breaks it off towards the client.
pub struct Stream {
    session: Arc<Mutex<Session>>,
    key: Key,
}

impl Stream {
    pub(super) fn new(session: Arc<Mutex<Session>>, key: Key) -> Self {
        Self { session, key }
    }

    /// Breaks it off: the client sees that the answer is not whole. `cancelled`: nobody wanted the rest, which is no
    /// fault of anybody's.
    pub fn reset(&mut self, cancelled: bool) {
        self.lock().reset(self.key, if cancelled { Reason::Cancel } else { Reason::InternalError });
    }

    /// Bytes of payload that the connection took, for which the client had room.
    pub fn pushed(&self) -> u64 {
        self.lock().pushed(self.key)
    }

    /// Whether some wait until the client has room.
    pub fn holds_back(&self) -> bool {
        self.lock().holds_back(self.key)
    }

    /// Hands what waits to the connection; ready when that has all of it.
    pub fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_push(self.key, context)
    }

    fn lock(&self) -> MutexGuard<'_, Session> {
        super::lock(&self.session)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_read(self.key, context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_write(self.key, context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_push(self.key, context)
    }

    /// Ends an answer that is whole or whose end is the end; breaks any other off.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_shutdown(self.key, context)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.lock().release(self.key);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.key.id).finish_non_exhaustive()
    }
}
