//! The client's end of a connection: what arrived of it, what is to be sent, and its timer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::clock::{Clock, Stall};
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
    /// Grows with every write of `output`.
    pub moves: u64,
    pub clock: Clock,
}

impl Client {
    /// A connection that was just accepted.
    pub fn new(stream: Stream) -> Self {
        let clock = Clock::new(Instant::now() + HEAD_TIMEOUT);
        Self { stream, input: Buffer::default(), output: Vec::new(), sent: 0, moves: 0, clock }
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
            self.moves += 1;
        }
        self.output.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Sends `output` and whatever an encrypted session holds back; fails if the client takes nothing for too long.
    pub async fn send_output(&mut self) -> io::Result<()> {
        let mut stall = Stall::new(Instant::now(), IDLE_TIMEOUT);
        poll_fn(|context| {
            if let Poll::Ready(sent) = self.poll_output(context) {
                sent?;
                if let Poll::Ready(pushed) = self.stream.poll_push(context) {
                    return Poll::Ready(pushed);
                }
            }
            match stall.poll_stuck(&mut self.clock, context, self.moves) {
                true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Serves `stream` from now on, with the memory and the timer of the one before.
    pub fn take_over(&mut self, stream: Stream) {
        self.stream = stream;
        self.input.clear();
        self.output.clear();
        (self.sent, self.moves) = (0, 0);
    }

    /// Ends the connection.
    pub async fn close(&mut self, ending: Ending) {
        if ending == Ending::Cut {
            return self.stream.cut();
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
    }
}
