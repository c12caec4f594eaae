//! A body that goes out over a stream: what is written in the framing of HTTP/1.1, without that framing.

use std::io::{self, ErrorKind};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use triad_http1::{BodyReader, Framing};

use super::fields;
use super::incoming::failed;
use crate::text::Unfit;

/// A message that goes out, behind its head.
#[derive(Debug)]
pub(crate) struct Outgoing {
    state: State,
    /// From the head on.
    send: Option<SendStream<Bytes>>,
    /// Payload that the connection has not taken.
    waiting: Bytes,
    /// Whether the connection has all of it.
    pub ended: bool,
}

#[derive(Debug)]
enum State {
    /// A head is to be written.
    Head,
    Body(BodyReader),
}

impl Outgoing {
    /// Nothing was written.
    pub fn new() -> Self {
        Self { state: State::Head, send: None, waiting: Bytes::new(), ended: false }
    }

    /// Whether what is written next is a head.
    pub fn expects_head(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// The head went out over `send`; a body in `framing` follows.
    pub fn begin(&mut self, send: SendStream<Bytes>, framing: Framing) {
        self.send = Some(send);
        self.state = State::Body(BodyReader::new(framing));
        self.ended = self.is_over();
    }

    /// Whether some wait until the peer has room.
    pub fn holds_back(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes all of `bytes`, which follow a head; what of them is payload waits.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        debug_assert!(self.waiting.is_empty());
        let State::Body(reader) = &mut self.state else { return Err(Unfit("no head")) };
        let mut payload = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if reader.is_done() {
                return Err(Unfit("more than the message"));
            }
            let piece = reader.next(&bytes[at..])?;
            let part = &bytes[at..][piece.payload];
            if payload.is_empty() && !part.is_empty() {
                payload.reserve_exact(bytes.len() - at);
            }
            payload.extend_from_slice(part);
            at += piece.consumed;
        }
        self.waiting = payload.into();
        Ok(())
    }

    /// Hands what waits to the connection; ready when that has all of it.
    pub fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_over = self.is_over();
        let Some(send) = &mut self.send else { return Poll::Ready(Ok(())) };
        while !self.waiting.is_empty() {
            send.reserve_capacity(self.waiting.len());
            let room = match send.capacity() {
                0 => match ready!(send.poll_capacity(context)) {
                    Some(Ok(room)) => room,
                    Some(Err(error)) => return Poll::Ready(Err(failed(error))),
                    None => return Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
                },
                room => room,
            };
            let part = self.waiting.split_to(room.min(self.waiting.len()));
            let is_last = self.waiting.is_empty() && is_over && trailers(&self.state).is_empty();
            send.send_data(part, is_last).map_err(failed)?;
            self.ended = is_last;
        }
        if is_over && !self.ended {
            self.end()?;
        }
        Poll::Ready(Ok(()))
    }

    /// Breaks it off if it is not whole; whether it was, or had no head, so that nothing was done.
    pub fn reset(&mut self, reason: Reason) -> bool {
        let was_whole = std::mem::replace(&mut self.ended, true);
        match &mut self.send {
            Some(send) if !was_whole => {
                send.send_reset(reason);
                true
            }
            _ => was_whole,
        }
    }

    fn is_over(&self) -> bool {
        matches!(&self.state, State::Body(reader) if reader.is_done())
    }

    /// Nothing waits: says that this was all.
    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        let Some(send) = &mut self.send else { return Ok(()) };
        match fields::fields(trailers(&self.state))? {
            Some(trailers) => send.send_trailers(trailers),
            None => send.send_data(Bytes::new(), true),
        }
        .map_err(failed)
    }
}

fn trailers(state: &State) -> &[u8] {
    if let State::Body(reader) = state { reader.trailers() } else { &[] }
}
