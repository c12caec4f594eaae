//! The accepting end of a connection.

mod answer;
mod input;
mod request;
mod session;
mod stream;

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use input::Input;
use session::Session;
pub use stream::Stream;

/// A connection. Nothing moves on any of its streams unless [`Server::accept`] is waited for; dropping it ends them all.
#[derive(Debug)]
pub struct Server<T> {
    io: T,
    input: Input,
    /// Its streams' tasks have it, too. All are tasks of one thread, so its lock is free.
    session: Arc<Mutex<Session>>,
    /// Something was written that may be held back.
    unflushed: bool,
    /// The other end takes nothing any more.
    is_lost: bool,
}

/// What came of one look at a connection's bytes.
enum Moved {
    Some,
    Nothing,
    /// The other end is gone.
    Lost,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Server<T> {
    /// Waits for a client's preface. The caller sets a deadline.
    ///
    /// # Errors
    /// The client speaks something else, or went away.
    pub async fn handshake(io: T) -> io::Result<Self> {
        Self::begin(io, false).await
    }

    /// The same for another edge, whose streams are many users': one of them who reads slowly, or changes their mind,
    /// must not cost the others the connection.
    ///
    /// # Errors
    /// As [`Server::handshake`].
    pub async fn handshake_with_edge(io: T) -> io::Result<Self> {
        Self::begin(io, true).await
    }

    async fn begin(io: T, is_shared: bool) -> io::Result<Self> {
        let session = Arc::new(Mutex::new(Session::new(is_shared)));
        let mut server = Self { io, input: Input::default(), session, unflushed: false, is_lost: false };
        poll_fn(|context| {
            server.poll_move(context);
            let session = lock(&server.session);
            match session.has_begun() {
                true => Poll::Ready(io::Result::Ok(())),
                false if session.is_over() => Poll::Ready(Err(ErrorKind::InvalidData.into())),
                false => Poll::Pending,
            }
        })
        .await?;
        Ok(server)
    }

    /// The next stream; `None` once the connection is over. May be given up at any time and called again.
    pub async fn accept(&mut self) -> Option<Stream> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    /// The next stream, if it is here already.
    pub fn accepted(&mut self) -> Option<Stream> {
        let key = lock(&self.session).accept()?;
        Some(Stream::new(self.session.clone(), key))
    }

    /// Whether no stream is open.
    pub fn is_idle(&self) -> bool {
        lock(&self.session).is_idle()
    }

    /// Tells the client to send no more requests here (GOAWAY). [`Server::accept`] returns `None` when those that it has
    /// sent are answered.
    pub fn shut_down(&mut self) {
        lock(&self.session).shut_down();
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<Option<Stream>> {
        loop {
            if let Some(stream) = self.accepted() {
                return Poll::Ready(Some(stream));
            }
            if !self.poll_move(context) {
                break;
            }
        }
        let has_said_all = {
            let session = lock(&self.session);
            session.is_over() && (session.output().is_empty() || self.is_lost)
        };
        if !has_said_all {
            return Poll::Pending;
        }
        let _ = ready!(Pin::new(&mut self.io).poll_shutdown(context));
        Poll::Ready(None)
    }

    /// Sends and receives until there is a stream to accept, or, which is false, nothing can be done now.
    fn poll_move(&mut self, context: &mut Context<'_>) -> bool {
        let session = self.session.clone();
        let mut session = lock(&session);
        session.wait(context);
        loop {
            let moved = match self.poll_send(&mut session, context) {
                Moved::Nothing if session.may_read() => self.poll_receive(&mut session, context),
                moved => moved,
            };
            match moved {
                Moved::Some if session.has_accepted() => return true,
                Moved::Some => {}
                Moved::Nothing => {
                    session.rest();
                    return false;
                }
                Moved::Lost => {
                    self.is_lost = true;
                    session.end();
                    return false;
                }
            }
        }
    }

    /// Sends what there is.
    fn poll_send(&mut self, session: &mut Session, context: &mut Context<'_>) -> Moved {
        session.pump();
        if session.output().is_empty() {
            return if self.poll_flush(context).is_ok() { Moved::Nothing } else { Moved::Lost };
        }
        match Pin::new(&mut self.io).poll_write(context, session.output()) {
            Poll::Ready(Ok(length @ 1..)) => {
                session.sent(length);
                self.unflushed = true;
                Moved::Some
            }
            Poll::Ready(_) => Moved::Lost,
            Poll::Pending => Moved::Nothing,
        }
    }

    /// Pushes out what the connection below holds back, as far as that can be done now.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(context)
        {
            self.unflushed = false;
            return flushed;
        }
        Ok(())
    }

    /// Receives once.
    fn poll_receive(&mut self, session: &mut Session, context: &mut Context<'_>) -> Moved {
        match self.input.poll_fill(&mut self.io, context) {
            Poll::Ready(Ok(1..)) => {
                let taken = session.receive(self.input.bytes());
                self.input.consume(taken);
                Moved::Some
            }
            Poll::Ready(_) => Moved::Lost,
            Poll::Pending => Moved::Nothing,
        }
    }
}

impl<T> Drop for Server<T> {
    fn drop(&mut self) {
        lock(&self.session).end();
    }
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}
