//! What comes in over a stream, as HTTP/1.1 would have brought it: a head, then a body in its framing.

use std::io;
use std::task::{Context, Poll, ready};

use h2::RecvStream;
use tokio::io::ReadBuf;
use triad_http1::{write_chunk, write_last_chunk};

use crate::text;

/// How a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none.
    None,
    /// By `Content-Length`, which `h2` holds the sender to.
    Length,
    /// In chunks.
    Chunked,
    /// Bytes of another protocol, once the answer is 101 (RFC 8441).
    Tunnel,
}

/// Bytes to be read.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    bytes: Vec<u8>,
    taken: usize,
}

impl Ready {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, taken: 0 }
    }

    /// Whether all of it was read.
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Moves as much as fits.
    pub fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.bytes[self.taken..];
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        self.taken += length;
    }

    /// Forgets all of it, for what is written to it next.
    pub fn clear(&mut self) -> &mut Vec<u8> {
        self.bytes.clear();
        self.taken = 0;
        &mut self.bytes
    }
}

/// A message that comes in.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub body: Body,
    receive: RecvStream,
    /// In HTTP/1.1.
    pub ready: Ready,
    /// Whether the last of it is in `ready`, or was.
    pub ended: bool,
}

impl Incoming {
    /// A message whose `head` tells its body so.
    pub fn new(head: Vec<u8>, body: Body, receive: RecvStream) -> Self {
        Self { receive, ready: Ready::new(head), ended: body == Body::None, body }
    }

    /// Whether the sender has said that this was all.
    pub fn is_end_stream(&self) -> bool {
        self.receive.is_end_stream()
    }

    /// Puts the next part of the body into `ready`. Without a body it is not called.
    pub fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let out = self.ready.clear();
        let Some(data) = ready!(self.receive.poll_data(context)) else { return self.poll_end(context) };
        let data = data?;
        match self.body {
            Body::Chunked => write_chunk(out, &data),
            _ => out.extend_from_slice(&data),
        }
        Poll::Ready(self.receive.flow_control().release_capacity(data.len()))
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let trailers = ready!(self.receive.poll_trailers(context))?;
        if self.body == Body::Chunked {
            let lines = trailers.as_ref().map(text::lines).unwrap_or_default();
            write_last_chunk(self.ready.clear(), lines.iter().map(Vec::as_slice));
        }
        self.ended = true;
        Poll::Ready(Ok(()))
    }
}

/// Any failure of a stream, to whom knows only connections.
pub(crate) fn failed(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
