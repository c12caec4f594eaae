//! A connection's bytes, plain or encrypted, and the buffers they are read into.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// Size of a buffer for heads and small bodies.
const SMALL_BYTES: usize = 16 * 1024;
/// Size of a buffer for large heads and bodies: fewer system calls for the same bytes.
const LARGE_BYTES: usize = 64 * 1024;
/// Buffers of each size that a worker keeps for the next use.
const KEPT_MAX: usize = 64;

/// A connection to a client or a backend.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls {
        session: Box<TlsStream<TcpStream>>,
        /// Whether the session holds records that the socket did not take yet.
        unflushed: bool,
    },
}

impl Stream {
    /// An encrypted connection whose handshake is done.
    pub fn tls(session: impl Into<TlsStream<TcpStream>>) -> Self {
        Self::Tls { session: Box::new(session.into()), unflushed: false }
    }

    /// Whether nothing has arrived since the last message: the other end has neither closed it nor spoken.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut nobody = Context::from_waker(Waker::noop());
        Pin::new(self).poll_read(&mut nobody, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Pushes out what an encrypted session holds back. Plain ones hold nothing.
    pub fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls { session, unflushed } if *unflushed => {
                ready!(Pin::new(session).poll_flush(context))?;
                *unflushed = false;
                Poll::Ready(Ok(()))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls { session, .. } => Pin::new(session).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // Records that wait go first, or a slow reader would make the session grow.
        ready!(this.poll_push(context))?;
        match this {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls { session, unflushed } => {
                let written = ready!(Pin::new(session).poll_write(context, bytes))?;
                *unflushed = true;
                if let Poll::Ready(Err(error)) = this.poll_push(context) {
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Ok(written))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_push(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls { session, .. } => Pin::new(session).poll_shutdown(context),
        }
    }
}

thread_local! {
    static KEPT: RefCell<[Vec<Vec<u8>>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Bytes that were read and not used yet. Without any it holds no memory: that belongs to the worker.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// Empty, or of one of the two sizes.
    memory: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether reads fill it, so that a larger one is worth it.
    fills: bool,
}

impl Buffer {
    /// What is there.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets the first `length` bytes.
    pub fn consume(&mut self, length: usize) {
        self.start += length;
        debug_assert!(self.start <= self.end);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Forgets all bytes.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Whether no more can be read before something is consumed.
    pub fn is_full(&self) -> bool {
        self.end - self.start == LARGE_BYTES
    }

    /// Reads behind what is there. Ready with zero at the end of the stream.
    pub fn poll_fill(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut room = ReadBuf::new(&mut self.memory[self.end..]);
        let size = room.remaining();
        let read = Pin::new(stream).poll_read(context, &mut room);
        let length = room.filled().len();
        match read {
            Poll::Ready(Ok(())) => {
                self.end += length;
                self.fills = length == size && size >= SMALL_BYTES;
                Poll::Ready(Ok(length))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.release();
                Poll::Pending
            }
        }
    }

    /// Gives the memory back if nothing is in it.
    pub fn release(&mut self) {
        if self.is_empty() && !self.memory.is_empty() {
            let memory = std::mem::take(&mut self.memory);
            KEPT.with_borrow_mut(|kept| {
                let list = &mut kept[usize::from(memory.len() == LARGE_BYTES)];
                if list.len() < KEPT_MAX {
                    list.push(memory);
                }
            });
        }
    }

    fn make_room(&mut self) {
        if self.is_empty() && self.fills && self.memory.len() == SMALL_BYTES {
            self.release();
        }
        if self.memory.is_empty() {
            self.memory = take(if self.fills { LARGE_BYTES } else { SMALL_BYTES });
        }
        if self.end < self.memory.len() {
            return;
        }
        self.memory.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.memory.len() && self.end < LARGE_BYTES {
            let mut larger = take(LARGE_BYTES);
            larger[..self.end].copy_from_slice(&self.memory);
            self.memory = larger;
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.clear();
        self.release();
    }
}

fn take(size: usize) -> Vec<u8> {
    let kept = KEPT.with_borrow_mut(|kept| kept[usize::from(size == LARGE_BYTES)].pop());
    kept.unwrap_or_else(|| vec![0; size])
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;

    use super::{Buffer, LARGE_BYTES, SMALL_BYTES, Stream};

    #[tokio::test]
    async fn a_buffer_grows_to_its_bound_and_keeps_the_order() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let tcp = tokio::net::TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let mut stream = Stream::Plain(tcp);
        let sent: Vec<u8> = (0..2 * LARGE_BYTES).map(|byte| (byte % 251) as u8).collect();
        let mut peer = listener.accept().expect("accepted").0;
        let copy = sent.clone();
        let writer = std::thread::spawn(move || peer.write_all(&copy).expect("sent"));
        let mut buffer = Buffer::default();
        let mut seen = Vec::new();
        while seen.len() < sent.len() {
            while !buffer.is_full() && seen.len() + buffer.bytes().len() < sent.len() {
                poll_fn(|context| buffer.poll_fill(&mut stream, context)).await.expect("read");
            }
            let part = buffer.bytes().len().min(SMALL_BYTES + 1);
            seen.extend_from_slice(&buffer.bytes()[..part]);
            buffer.consume(part);
        }
        writer.join().expect("sent");
        assert!(seen == sent);
        poll_fn(|context| buffer.poll_fill(&mut stream, context)).await.expect("the end");
        buffer.release();
        assert_eq!(buffer.memory.len(), 0, "an empty buffer holds nothing");
    }
}
