//! One stream: a request to read, an answer to write.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use triad_http1::Framing;

use super::answer::{Answer, Head};
use super::request;
use crate::receive::{Body, Incoming, failed};
use crate::send::Outgoing;

/// A stream of a connection. It reads as the request in HTTP/1.1, then waits, and fails once the client breaks it off;
/// what is written to it must be the answer in HTTP/1.1, each head in one piece.
///
/// Dropping it before the answer is whole breaks it off towards the client.
#[derive(Debug)]
pub struct Stream {
    incoming: Incoming,
    answer: Answer,
    respond: SendResponse<Bytes>,
    outgoing: Outgoing,
    /// Streams of this connection that the client broke off or got wrong, where they are counted.
    broken: Option<Arc<AtomicU64>>,
}

impl Stream {
    /// The stream of a request; it is given back if the request has no words in HTTP/1.1.
    pub(crate) fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        broken: Option<Arc<AtomicU64>>,
    ) -> Result<Self, SendResponse<Bytes>> {
        let (parts, receive) = request.into_parts();
        let Some((head, body)) = request::head(&parts, receive.is_end_stream()) else { return Err(respond) };
        let answer = Answer::new(&parts.method);
        Ok(Self { incoming: Incoming::new(head, body, receive), answer, respond, outgoing: Outgoing::new(), broken })
    }

    /// Breaks it off: the client sees that the answer is not whole. `cancelled`: nobody wanted the rest, which is no
    /// fault of anybody's.
    pub fn reset(&mut self, cancelled: bool) {
        let reason = if cancelled { Reason::CANCEL } else { Reason::INTERNAL_ERROR };
        if !self.outgoing.reset(reason) {
            self.respond.send_reset(reason);
        }
    }

    /// Bytes of payload that the connection took, for which the client had room.
    pub fn pushed(&self) -> u64 {
        self.outgoing.pushed
    }

    /// Whether some wait until the client has room.
    pub fn holds_back(&self) -> bool {
        self.outgoing.holds_back()
    }

    /// Hands what waits to the connection; ready when that has all of it.
    pub fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_push(context)
    }

    /// Ready when the client has broken it off.
    fn poll_broken_off(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let reset = match self.outgoing.poll_reset(context) {
            Some(reset) => reset,
            None => self.respond.poll_reset(context),
        };
        let _ = ready!(reset);
        self.count_broken();
        Poll::Ready(Err(ErrorKind::ConnectionReset.into()))
    }

    fn count_broken(&self) {
        self.broken.iter().for_each(|broken| _ = broken.fetch_add(1, Relaxed));
    }

    /// Takes all of `bytes`.
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.outgoing.expects_head() && !bytes.is_empty() {
            let (length, head) = self.answer.next(bytes)?;
            bytes = &bytes[length..];
            let (response, framing) = match head {
                Head::Interim(response) => {
                    self.respond.send_informational(response).map_err(failed)?;
                    continue;
                }
                Head::Last(response, framing) => (response, Some(framing)),
                Head::Switch(response) => (response, None),
            };
            let is_whole = framing == Some(Framing::None);
            let send = self.respond.send_response(response, is_whole).map_err(failed)?;
            self.outgoing.begin(send, framing);
        }
        if bytes.is_empty() { Ok(()) } else { Ok(self.outgoing.take(bytes)?) }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let incoming = &mut this.incoming;
        while incoming.ready.is_empty() {
            if incoming.ended && incoming.body == Body::Tunnel {
                return Poll::Ready(Ok(()));
            }
            if incoming.ended || (incoming.body == Body::Tunnel && !this.outgoing.is_tunnel()) {
                return this.poll_broken_off(context);
            }
            if let Err(error) = ready!(incoming.poll_body(context)) {
                this.count_broken();
                return Poll::Ready(Err(failed(error)));
            }
        }
        incoming.ready.give(buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.outgoing.poll_push(context))?;
        this.take(bytes)?;
        match this.outgoing.poll_push(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_push(context)
    }

    /// Ends an answer that is whole or whose end is the end; breaks any other off.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.outgoing.poll_push(context))?;
        if this.outgoing.ended {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(this.outgoing.shut_down().inspect_err(|_| this.reset(false)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reset(false);
    }
}
