//! A client's connection in HTTP/2: each of its streams is served like a connection of its own.

use std::future::{Future, pending};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, timeout};
use triad_http::Peer;
use triad_http2::Server;

use crate::accept::Stop;
use crate::answer::Entrance;
use crate::client::{HEAD_TIMEOUT, IDLE_TIMEOUT, LINGER_BYTES_MAX, LINGER_TIME};
use crate::connection::Connection;
use crate::serve::Worker;
use crate::stream::Stream;

/// Answers requests until the connection ends. When `stop` is ready, and after a time without requests, the client is
/// told to go elsewhere; what it has begun is still answered.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    entrance: Entrance,
    peer: Peer,
    stream: Stream,
    stop: impl Future<Output = Stop>,
) {
    let Ok(Ok(mut server)) =
        timeout(HEAD_TIMEOUT, Server::handshake(Lingering { stream, left: LINGER_BYTES_MAX })).await
    else {
        return;
    };
    let mut look = pin!(sleep(HEAD_TIMEOUT));
    let mut stop = pin!(stop);
    let mut _open = None;
    let mut state = State::Quiet;
    loop {
        tokio::select! {
            stream = server.accept() => {
                let Some(stream) = stream else { return };
                let stream = Stream::Http2(Box::new(stream));
                let connection = Connection::new(worker.clone(), entrance, peer.clone(), stream, pending());
                tokio::spawn(connection.serve());
                state = state.asked();
            }
            open = &mut stop, if state != State::Going => {
                // Kept, or the worker would take this connection for closed.
                _open = Some(open);
                state = State::Going;
                server.shut_down();
            }
            () = &mut look => {
                let next = state.looked_at(server.is_idle());
                match (state, next) {
                    (_, None) => return,
                    (State::Quiet | State::Busy, Some(State::Going)) => server.shut_down(),
                    _ => {}
                }
                state = next.unwrap_or(State::Going);
                look.as_mut().reset(Instant::now() + if state == State::Going { LINGER_TIME } else { IDLE_TIMEOUT });
            }
        }
    }
}

/// What a connection has been about since it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has had requests.
    Busy,
    /// It has had none.
    Quiet,
    /// Its client was told to go.
    Going,
}

impl State {
    /// A request has come.
    fn asked(self) -> Self {
        if self == Self::Going { self } else { Self::Busy }
    }

    /// It is time to look; `None`: the connection ends.
    fn looked_at(self, is_idle: bool) -> Option<Self> {
        match (self, is_idle) {
            (Self::Going, true) => None,
            (Self::Quiet, true) => Some(Self::Going),
            (Self::Busy, true) => Some(Self::Quiet),
            (state, false) => Some(state),
        }
    }
}

/// A connection that, once it has said all, reads on until the client closes as well: what the client still sends, such
/// as that it has room for more, would otherwise be answered by a reset that destroys what it has not read.
struct Lingering {
    stream: Stream,
    /// Bytes that are read then, at most.
    left: usize,
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        let mut memory = [0; 1024];
        while self.left > 0 {
            let mut unread = ReadBuf::new(&mut memory);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut unread))?;
            let length = unread.filled().len();
            self.left = if length == 0 { 0 } else { self.left.saturating_sub(length) };
        }
        Poll::Ready(Ok(()))
    }
}
