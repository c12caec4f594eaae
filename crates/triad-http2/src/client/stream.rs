//! One stream: a request to write, an answer to read.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::Method;
use http::uri::Scheme;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use triad_http1::Framing;

use super::incoming::{Incoming, failed};
use super::outgoing::Outgoing;
use super::{answer, request};
use crate::receive::Ready;
use crate::text::Unfit;

/// A stream of a connection. What is written to it must be one request in HTTP/1.1, its head in one piece; it reads as
/// the answer in HTTP/1.1, then ends.
///
/// Dropping it before both are whole breaks it off towards the server.
#[derive(Debug)]
pub struct ClientStream {
    outgoing: Outgoing,
    incoming: Answering,
    /// What broke it.
    fate: Fate,
    /// Counts as open.
    _open: Arc<()>,
}

#[derive(Debug)]
enum Answering {
    /// Nothing was asked.
    Unasked {
        requests: SendRequest<Bytes>,
        scheme: Scheme,
    },
    /// No head has come but those of interim answers.
    Head {
        response: ResponseFuture,
        interim: Ready,
        to_head: bool,
    },
    Body(Incoming),
}

/// How a stream broke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It did not, or with its connection.
    #[default]
    Unknown,
    /// The server surely did nothing with the request, so that sending it again is no second time: it never left, or the
    /// server said so (RFC 9113 §8.7).
    Unprocessed,
    /// The server did not want it any more (CANCEL).
    Cancelled,
    /// The server broke it off for another reason.
    Reset,
}

impl ClientStream {
    pub(crate) fn new(requests: SendRequest<Bytes>, scheme: Scheme, open: Arc<()>) -> Self {
        let incoming = Answering::Unasked { requests, scheme };
        Self { outgoing: Outgoing::new(), incoming, fate: Fate::Unknown, _open: open }
    }

    /// How it broke, as far as its reader was told.
    pub fn fate(&self) -> Fate {
        self.fate
    }

    /// Breaks it off.
    pub fn reset(&mut self) {
        self.outgoing.reset(Reason::CANCEL);
    }

    /// Whether something waits until the server has room.
    pub fn holds_back(&self) -> bool {
        self.outgoing.holds_back()
    }

    /// Hands what waits to the connection; ready when that has all of it.
    pub fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_push(context)
    }

    /// Whether both ends have said all, as far as is known here.
    pub fn is_over(&self) -> bool {
        let answered = match &self.incoming {
            Answering::Body(incoming) => incoming.ended || incoming.is_end_stream(),
            Answering::Unasked { .. } | Answering::Head { .. } => false,
        };
        answered && self.outgoing.ended
    }

    /// Sends the request's head; returns how many of `bytes` it has.
    fn ask(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Answering::Unasked { requests, scheme } = &mut self.incoming else { return Err(Unfit("a head").into()) };
        let (length, request, framing) = request::head(bytes, scheme)?;
        let to_head = request.method() == Method::HEAD;
        let sent = requests.send_request(request, framing == Framing::None);
        let (response, send) = sent.map_err(|error| {
            self.fate = Fate::Unprocessed;
            failed(error)
        })?;
        self.outgoing.begin(send, framing);
        self.incoming = Answering::Head { response, interim: Ready::default(), to_head };
        Ok(length)
    }

    /// Puts more of the answer in place to be read; ready with false at its end.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let polled = match &mut self.incoming {
            // Whoever writes the request asks again.
            Answering::Unasked { .. } => return Poll::Pending,
            Answering::Head { response, to_head, .. } => {
                let came = ready!(poll_head(response, *to_head, context));
                came.map(|came| self.take(came))
            }
            Answering::Body(incoming) if incoming.ended => return Poll::Ready(Ok(false)),
            Answering::Body(incoming) => ready!(incoming.poll_body(context)).map(Ok),
        };
        Poll::Ready(match polled {
            Ok(taken) => taken.map(|()| true),
            Err(error) => Err(self.broken(error)),
        })
    }

    fn take(&mut self, came: Came) -> io::Result<()> {
        match (came, &mut self.incoming) {
            (Came::Interim(head), Answering::Head { interim, .. }) => *interim = Ready::new(head),
            (Came::Last(incoming), _) => self.incoming = Answering::Body(incoming),
            (Came::Malformed | Came::Interim(_), _) => return Err(Unfit("a malformed answer").into()),
        }
        Ok(())
    }

    /// A GOAWAY reaches a stream only if it is above the last one that the server took (RFC 9113 §6.8).
    fn broken(&mut self, error: h2::Error) -> io::Error {
        let by_reset = if error.is_reset() { error.reason() } else { None };
        self.fate = match by_reset {
            _ if !error.is_remote() => Fate::Unknown,
            _ if error.is_go_away() => Fate::Unprocessed,
            Some(Reason::REFUSED_STREAM) => Fate::Unprocessed,
            Some(Reason::CANCEL) => Fate::Cancelled,
            Some(_) => Fate::Reset,
            None => Fate::Unknown,
        };
        failed(error)
    }

    fn ready(&mut self) -> Option<&mut Ready> {
        match &mut self.incoming {
            Answering::Unasked { .. } => None,
            Answering::Head { interim, .. } => Some(interim),
            Answering::Body(incoming) => Some(&mut incoming.ready),
        }
    }
}

/// What came of an answer's heads.
enum Came {
    Interim(Vec<u8>),
    Last(Incoming),
    Malformed,
}

fn poll_head(response: &mut ResponseFuture, to_head: bool, context: &mut Context<'_>) -> Poll<Result<Came, h2::Error>> {
    if let Some(interim) = ready!(response.poll_informational(context)) {
        let interim = interim?;
        let head = answer::interim(interim.status(), interim.headers());
        return Poll::Ready(Ok(head.map_or(Came::Malformed, Came::Interim)));
    }
    let (parts, receive) = ready!(Pin::new(response).poll(context))?.into_parts();
    let head = answer::head(parts.status, &parts.headers, receive.is_end_stream(), to_head);
    Poll::Ready(Ok(head.map_or(Came::Malformed, |(head, body)| Came::Last(Incoming::new(head, body, receive)))))
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(ready) = this.ready().filter(|ready| !ready.is_empty()) {
                ready.give(buffer);
                return Poll::Ready(Ok(()));
            }
            if !ready!(this.poll_answer(context))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.outgoing.poll_push(context))?;
        let head_length = if this.outgoing.expects_head() { this.ask(bytes)? } else { 0 };
        if head_length < bytes.len() {
            this.outgoing.take(&bytes[head_length..])?;
        }
        match this.outgoing.poll_push(context) {
            // Of the head it is known that it went out; what broke it, the answer's reader is told.
            Poll::Ready(Err(error)) if head_length == 0 => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_push(context)
    }

    /// Ends a request that is whole; breaks any other off.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.outgoing.poll_push(context))?;
        if !this.outgoing.ended {
            this.reset();
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.reset();
    }
}
