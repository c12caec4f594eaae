//! A connection's bytes, plain, encrypted or a stream of HTTP/2, and the buffers they are read into.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use triad_http2::{ClientStream, Fate};
use triad_tls::ALPN_HTTP2;

/// Size of a buffer for heads and small bodies.
const SMALL_BYTES: usize = 16 * 1024;
/// Size of a buffer for large heads and bodies: fewer system calls for the same bytes.
const LARGE_BYTES: usize = 128 * 1024;
/// Buffers of each size that a worker keeps for the next use.
const KEPT_MAX: usize = 32;

/// A connection to a client or a backend.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls {
        session: Box<TlsStream<TcpStream>>,
        /// Whether the session holds records that the socket did not take yet.
        unflushed: bool,
    },
    /// A stream of a client's connection: to us a connection of its own, with one request in HTTP/1.1.
    Http2(triad_http2::Stream),
    /// A stream of a connection to a backend: to us a connection of its own, for one request in HTTP/1.1.
    Http2Backend(Box<ClientStream>),
    /// Nothing any more.
    Gone,
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

    /// Whether both ends agreed on HTTP/2 (RFC 7301), so that it is to be taken apart into streams.
    pub fn agreed_on_http2(&self) -> bool {
        matches!(self, Self::Tls { session, .. } if session.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2))
    }

    /// The protocol as logs name it, where that is not the version of a request's head.
    pub fn protocol(&self) -> Option<&'static str> {
        matches!(self, Self::Http2(_)).then_some("HTTP/2.0")
    }

    /// Whether closing it with unread bytes would destroy what is on its way.
    pub fn lingers(&self) -> bool {
        matches!(self, Self::Plain(_) | Self::Tls { .. })
    }

    /// How a stream to a backend broke; of a connection nothing is known.
    pub fn fate(&self) -> Fate {
        if let Self::Http2Backend(stream) = self { stream.fate() } else { Fate::Unknown }
    }

    /// Tells a client, where HTTP/2 has a word for it, that nobody wants the rest of its answer.
    pub fn cancel(&mut self) {
        if let Self::Http2(stream) = self {
            stream.reset(true);
        }
    }

    /// Makes its end one that no reader takes for a regular one.
    pub fn cut(&mut self) {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls { session, .. } => session.get_ref().0,
            Self::Http2(stream) => return stream.reset(false),
            Self::Http2Backend(stream) => return stream.reset(),
            Self::Gone => return,
        };
        if let Err(error) = SockRef::from(tcp).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "connection was gone before it was cut");
        }
    }

    /// Bytes of a stream of HTTP/2 that its client has had room for.
    pub fn pushed(&self) -> Option<u64> {
        match self {
            Self::Http2(stream) => Some(stream.pushed()),
            Self::Plain(_) | Self::Tls { .. } | Self::Http2Backend(_) | Self::Gone => None,
        }
    }

    /// Whether something that was written has not gone on.
    pub fn holds_back(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Gone => false,
            Self::Tls { unflushed, .. } => *unflushed,
            Self::Http2(stream) => stream.holds_back(),
            Self::Http2Backend(stream) => stream.holds_back(),
        }
    }

    /// Pushes out what an encrypted session or a stream holds back. Plain ones hold nothing.
    pub fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls { session, unflushed } if *unflushed => {
                ready!(Pin::new(session).poll_flush(context))?;
                *unflushed = false;
                Poll::Ready(Ok(()))
            }
            Self::Http2(stream) => stream.poll_push(context),
            Self::Http2Backend(stream) => stream.poll_push(context),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls { session, .. } => Pin::new(session).poll_read(context, buffer),
            Self::Http2(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Http2Backend(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            other => Pin::new(other).poll_write_vectored(context, &[IoSlice::new(bytes)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // Records that wait go first, or a slow reader would make the session grow.
        ready!(this.poll_push(context))?;
        match this {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, parts),
            Self::Http2(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Http2Backend(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Self::Tls { session, unflushed } => {
                let written = ready!(Pin::new(session).poll_write_vectored(context, parts))?;
                *unflushed = true;
                if let Poll::Ready(Err(error)) = this.poll_push(context) {
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Ok(written))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Plain(_) | Self::Tls { .. })
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_push(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls { session, .. } => Pin::new(session).poll_shutdown(context),
            Self::Http2(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Http2Backend(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Gone => Poll::Ready(Ok(())),
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
