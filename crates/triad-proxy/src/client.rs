//! The client's end of a connection: what arrived of it, what is to be sent, and its timer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::clock::{Clock, Stall};
use crate::min_rate::{MinRate, Pace};
use crate::stream::{Buffer, Stream};

/// Time in which a new connection must have sent a request's whole head, and any connection a head that it has begun.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which a kept connection must begin its next request; also the time, up to twice, after which a connection
/// on which nothing moves is closed, whether it sends a body or takes one.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time in which a client that was refused may still send what nobody reads, so that it sees why: closing with unread
/// bytes would destroy the answer on its way.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(2);
/// Bytes of that.
pub(crate) const LINGER_BYTES_MAX: usize = 512 * 1024;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In order.
    Read,
    /// In order, though the client may be sending what nobody will read.
    Unread,
    /// In order, but for a stream of HTTP/2, which is told that nobody wants the rest of its answer.
    Cancelled,
    /// By a reset: an answer that ends with the connection must not look whole.
    Cut,
}

/// Bytes of memory that a connection keeps in each of its buffers between requests.
const KEPT_BYTES_MAX: usize = 4 * 1024;

/// Gives back what one large request made of a buffer.
pub(crate) fn trim(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES_MAX {
        *buffer = Vec::new();
    }
}

/// The client's end.
pub(crate) struct Client {
    pub stream: Stream,
    /// Arrived and not used yet.
    pub input: Buffer,
    /// To be sent, except for what was sent already.
    pub output: Vec<u8>,
    sent: usize,
    /// Bytes that the stream took.
    pub taken: u64,
    pub clock: Clock,
    /// How slow the client may be; `None`: as slow as it likes.
    pub min_rate: Option<MinRate>,
    /// How it takes the answer under way, once it was waited for.
    pace: Option<Pace>,
    /// It was too slow, or took nothing for too long: the connection is cut, whatever was said of its end.
    is_given_up: bool,
}

impl Client {
    /// A connection that was just accepted.
    pub fn new(stream: Stream) -> Self {
        let clock = Clock::new(Instant::now() + HEAD_TIMEOUT);
        Self {
            stream,
            input: Buffer::default(),
            output: Vec::new(),
            sent: 0,
            taken: 0,
            clock,
            min_rate: None,
            pace: None,
            is_given_up: false,
        }
    }

    /// Whether the client has gone. What it sends meanwhile is kept; behind more than that this cannot see.
    pub fn poll_gone(&mut self, context: &mut Context<'_>) -> bool {
        while !self.input.is_full() {
            match self.input.poll_fill(&mut self.stream, context) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
            }
        }
        false
    }

    /// Sends `output`; ready when the stream took all of it.
    pub fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.output.len() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.output[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.taken += written as u64;
        }
        self.output.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Sends `output` and whatever an encrypted session holds back; fails if the client takes it too slowly.
    pub async fn send_output(&mut self) -> io::Result<()> {
        let mut stall = Stall::new(Instant::now(), IDLE_TIMEOUT);
        let sent = poll_fn(|context| {
            if let Poll::Ready(sent) = self.poll_output(context) {
                sent?;
                if let Poll::Ready(pushed) = self.stream.poll_push(context) {
                    return Poll::Ready(pushed);
                }
            }
            let moved = self.moved();
            let is_stuck = stall.poll_stuck(&mut self.clock, context, moved);
            match is_stuck || self.poll_too_slow(context, true) {
                true => Poll::Ready(Err(self.give_up())),
                false => Poll::Pending,
            }
        })
        .await;
        if let Some(pace) = &mut self.pace {
            pace.pause();
        }
        sent
    }

    /// An answer begins.
    pub fn begin_answer(&mut self) {
        self.pace = None;
    }

    /// Bytes that went on towards the client, as far as that can be seen: of a stream of HTTP/2 those for which the
    /// client had room, otherwise those that the system took.
    pub fn moved(&self) -> u64 {
        self.stream.pushed().unwrap_or(self.taken)
    }

    /// Whether it is the client that has not taken all of what there is.
    pub fn is_behind(&self) -> bool {
        !self.output.is_empty() || self.stream.holds_back()
    }

    /// Whether the client takes its answer too slowly. `waits`: it has something to take.
    pub fn poll_too_slow(&mut self, context: &mut Context<'_>, waits: bool) -> bool {
        let (Some(rate), moved) = (self.min_rate, self.moved()) else { return false };
        let pace = self.pace.get_or_insert_with(|| Pace::new(rate, Instant::now(), moved));
        pace.poll_too_slow(&mut self.clock, context, waits, moved)
    }

    /// Notes that the client was too slow.
    pub fn give_up(&mut self) -> io::Error {
        self.is_given_up = true;
        io::ErrorKind::TimedOut.into()
    }

    /// Serves `stream` from now on, with the memory and the timer of the one before.
    pub fn take_over(&mut self, stream: Stream) {
        self.stream = stream;
        self.input.clear();
        self.output.clear();
        (self.sent, self.taken) = (0, 0);
        (self.pace, self.is_given_up) = (None, false);
    }

    /// Ends the connection.
    pub async fn close(&mut self, ending: Ending) {
        if ending == Ending::Cut || self.is_given_up {
            return self.stream.cut();
        }
        if ending == Ending::Cancelled {
            self.stream.cancel();
        }
        // A stream of HTTP/2 whose answer went out needs no timer.
        if !self.stream.lingers() && self.is_shut_down().await {
            self.stream = Stream::Gone;
            return;
        }
        let unread = self.stream.lingers() && (ending == Ending::Unread || !self.input.is_empty());
        let _ = timeout(LINGER_TIME, async {
            self.stream.shutdown().await?;
            let mut left = if unread { LINGER_BYTES_MAX } else { 0 };
            while left > 0 {
                self.input.clear();
                match poll_fn(|context| self.input.poll_fill(&mut self.stream, context)).await? {
                    0 => break,
                    length => left = left.saturating_sub(length),
                }
            }
            io::Result::Ok(())
        })
        .await;
        // A stream of HTTP/2 whose request was not read to its end is broken off only when nobody holds it.
        if !self.stream.lingers() {
            self.stream = Stream::Gone;
        }
    }

    /// Whether its end was said without waiting.
    async fn is_shut_down(&mut self) -> bool {
        poll_fn(|context| Poll::Ready(Pin::new(&mut self.stream).poll_shutdown(context).is_ready())).await
    }
}
