//! An answer that comes in.

use std::io;
use std::task::{Context, Poll, ready};

use h2::RecvStream;
use triad_http1::{write_chunk, write_last_chunk};

use super::fields;
use crate::receive::{Body, Ready};

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
            let lines = trailers.as_ref().map(fields::lines).unwrap_or_default();
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
