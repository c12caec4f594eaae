//! One stream: a request to read, an answer to write.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use triad_http1::{write_chunk, write_last_chunk};

use crate::answer::{Answer, Part, Unfit};
use crate::request::{self, Body};

/// A stream of a connection. It reads as the request in HTTP/1.1, then waits, and fails once the client breaks it off;
/// what is written to it must be the answer in HTTP/1.1, each head in one piece.
///
/// Dropping it before the answer is whole breaks it off towards the client.
#[derive(Debug)]
pub struct Stream {
    incoming: Incoming,
    outgoing: Outgoing,
    /// Streams of this connection that the client broke off or got wrong.
    broken: Arc<AtomicU64>,
}

/// The request.
#[derive(Debug)]
struct Incoming {
    body: Body,
    receive: RecvStream,
    /// In HTTP/1.1, of which `taken` bytes were read.
    ready: Vec<u8>,
    taken: usize,
    /// Whether the last of it is in `ready`, or was.
    ended: bool,
}

/// The answer.
#[derive(Debug)]
struct Outgoing {
    answer: Answer,
    respond: SendResponse<Bytes>,
    /// From the head on.
    send: Option<SendStream<Bytes>>,
    /// Payload that the connection has not taken.
    waiting: Bytes,
    /// Bytes of it that the connection took.
    pushed: u64,
    /// Whether the connection has all of it.
    ended: bool,
}

impl Stream {
    /// The stream of a request; it is given back if the request has no words in HTTP/1.1.
    pub(crate) fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        broken: Arc<AtomicU64>,
    ) -> Result<Self, SendResponse<Bytes>> {
        let (parts, receive) = request.into_parts();
        let Some((head, body)) = request::head(&parts, receive.is_end_stream()) else { return Err(respond) };
        let answer = Answer::new(&parts.method);
        Ok(Self {
            incoming: Incoming { receive, ready: head, taken: 0, ended: body == Body::None, body },
            outgoing: Outgoing { answer, respond, send: None, waiting: Bytes::new(), pushed: 0, ended: false },
            broken,
        })
    }

    /// Breaks it off: the client sees that the answer is not whole.
    pub fn reset(&mut self) {
        self.outgoing.reset();
    }

    /// Bytes of payload that the connection took, for which the client had room.
    pub fn pushed(&self) -> u64 {
        self.outgoing.pushed
    }

    /// Whether some wait until the client has room.
    pub fn holds_back(&self) -> bool {
        !self.outgoing.waiting.is_empty()
    }

    /// Hands what waits to the connection; ready when that has all of it.
    pub fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_push(context)
    }

    /// Ready when the client has broken it off.
    fn poll_broken_off(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = ready!(self.outgoing.poll_reset(context));
        self.broken.fetch_add(1, Relaxed);
        Poll::Ready(Err(ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let incoming = &mut this.incoming;
        while incoming.taken == incoming.ready.len() {
            if incoming.ended && incoming.body == Body::Tunnel {
                return Poll::Ready(Ok(()));
            }
            if incoming.ended || (incoming.body == Body::Tunnel && !this.outgoing.answer.is_tunnel()) {
                return this.poll_broken_off(context);
            }
            ready!(incoming.poll_body(context)).inspect_err(|_| _ = this.broken.fetch_add(1, Relaxed))?;
        }
        let rest = &incoming.ready[incoming.taken..];
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        incoming.taken += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outgoing = &mut self.get_mut().outgoing;
        ready!(outgoing.poll_push(context))?;
        outgoing.take(bytes)?;
        match outgoing.poll_push(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_push(context)
    }

    /// Ends an answer that is whole or whose end is the end; breaks any other off.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outgoing = &mut self.get_mut().outgoing;
        ready!(outgoing.poll_push(context))?;
        if outgoing.ended {
            return Poll::Ready(Ok(()));
        }
        if let Err(unfit) = outgoing.answer.end_of_input() {
            outgoing.reset();
            return Poll::Ready(Err(unfit.into()));
        }
        Poll::Ready(outgoing.end())
    }
}

impl Incoming {
    /// Puts the next part of the body into `ready`. Without a body it is not called.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ready.clear();
        self.taken = 0;
        let Some(data) = ready!(self.receive.poll_data(context)) else { return self.poll_end(context) };
        let data = data.map_err(failed)?;
        match self.body {
            Body::Chunked => write_chunk(&mut self.ready, &data),
            _ => self.ready.extend_from_slice(&data),
        }
        Poll::Ready(self.receive.flow_control().release_capacity(data.len()).map_err(failed))
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let trailers = ready!(self.receive.poll_trailers(context)).map_err(failed)?;
        if self.body == Body::Chunked {
            let lines = trailers.as_ref().map(request::trailer_lines).unwrap_or_default();
            write_last_chunk(&mut self.ready, lines.iter().map(Vec::as_slice));
        }
        self.ended = true;
        Poll::Ready(Ok(()))
    }
}

impl Outgoing {
    /// Takes all of `bytes`; what of them is payload waits.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut payload = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let (length, part) = self.answer.next(&bytes[at..])?;
            at += length;
            match part {
                Part::Interim(response) => self.respond.send_informational(response).map_err(failed)?,
                Part::Head(response) => {
                    let is_whole = self.answer.is_over();
                    self.send = Some(self.respond.send_response(response, is_whole).map_err(failed)?);
                    self.ended = is_whole;
                }
                Part::Payload(part) if payload.is_empty() => {
                    payload.reserve_exact(if part.is_empty() { 0 } else { bytes.len() - at + part.len() });
                    payload.extend_from_slice(part);
                }
                Part::Payload(part) => payload.extend_from_slice(part),
            }
        }
        self.waiting = payload.into();
        Ok(())
    }

    fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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
            self.pushed += part.len() as u64;
            let is_last = self.waiting.is_empty() && self.answer.is_over() && self.answer.trailers()?.is_none();
            send.send_data(part, is_last).map_err(failed)?;
            self.ended = is_last;
        }
        if self.answer.is_over() && !self.ended {
            self.end()?;
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing waits: says that this was all.
    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        let Some(send) = &mut self.send else { return Ok(()) };
        match self.answer.trailers()? {
            Some(trailers) => send.send_trailers(trailers),
            None => send.send_data(Bytes::new(), true),
        }
        .map_err(failed)
    }

    fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        match &mut self.send {
            Some(send) => send.poll_reset(context),
            None => self.respond.poll_reset(context),
        }
    }

    fn reset(&mut self) {
        if !self.ended {
            self.ended = true;
            match &mut self.send {
                Some(send) => send.send_reset(Reason::INTERNAL_ERROR),
                None => self.respond.send_reset(Reason::INTERNAL_ERROR),
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.reset();
    }
}

impl From<Unfit> for io::Error {
    fn from(Unfit(what): Unfit) -> Self {
        io::Error::new(ErrorKind::InvalidData, what)
    }
}

fn failed(error: h2::Error) -> io::Error {
    io::Error::new(ErrorKind::ConnectionReset, error)
}
