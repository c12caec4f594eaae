//! The end of a connection that nothing is lost with.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::LINGER_BYTES_MAX;
use crate::stream::Stream;

/// A connection that, once it has said all, reads on until the client closes as well: what the client still sends, such
/// as that it has room for more, would otherwise be answered by a reset that destroys what it has not read.
pub(crate) struct Lingering {
    stream: Stream,
    /// Bytes that are read then, at most.
    left: usize,
}

impl Lingering {
    /// Over `stream`, which is still in use.
    pub fn new(stream: Stream) -> Self {
        Self { stream, left: LINGER_BYTES_MAX }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        let mut memory = [0; 1024];
        while self.left > 0 {
            let mut unread = ReadBuf::new(&mut memory);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut unread))?;
            let length = unread.filled().len();
            self.left = if length == 0 { 0 } else { self.left.saturating_sub(length) };
        }
        Poll::Ready(Ok(()))
    }
}
