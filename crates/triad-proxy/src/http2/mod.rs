//! A client's connection in HTTP/2: each of its streams is served like a connection of its own, by tasks that serve one
//! stream after the other, because a task, its memory and its timer cost as much as a request. And, in [`connections`],
//! those to backends.

pub(crate) mod connections;
mod desk;
mod lingering;

use std::future::{Future, pending};
use std::io;
use std::pin::pin;
use std::sync::Arc;

use tokio::time::{Instant, sleep, timeout};
use triad_http::Peer;
use triad_http2::Server;
use triad_tls::Shown;

use crate::accept::Stop;
use crate::answer::Entrance;
use crate::bans::Cleared;
use crate::client::{HEAD_TIMEOUT, IDLE_TIMEOUT, LINGER_TIME};
use crate::connection::Connection;
use crate::serve::Worker;
use crate::stream::Stream;
use desk::Desk;
use lingering::Lingering;

/// Answers requests until the connection ends. When `stop` is ready, and after a time without requests, the client is
/// told to go elsewhere; what it has begun is still answered.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    entrance: Entrance,
    peer: Peer,
    shown: Option<Arc<Shown>>,
    stream: Stream,
    stop: impl Future<Output = Stop>,
) {
    let Ok(Ok(mut server)) = timeout(HEAD_TIMEOUT, handshake(entrance, stream)).await else { return };
    let mut look = pin!(sleep(HEAD_TIMEOUT));
    let mut stop = pin!(stop);
    let mut _open = None;
    let (is_from_world, mut cleared) = (entrance != Entrance::Hop, Cleared::default());
    let mut state = State::Quiet;
    let desk = Arc::new(Desk::new());
    let _closes = Closes(&desk);
    loop {
        tokio::select! {
            stream = server.accept() => {
                let Some(stream) = stream else { return };
                state = state.asked();
                // The stream itself is answered that its client is banned, those that run are finished.
                if is_from_world && state != State::Going && worker.shared.bans.has(peer.address, &mut cleared) {
                    state = State::Going;
                    server.shut_down();
                }
                let mut next = Some(stream);
                while let Some(stream) = next {
                    next = server.accepted();
                    let Some(stream) = desk.hand_in(Stream::Http2(stream)) else { continue };
                    let (worker, peer, shown) = (worker.clone(), peer.clone(), shown.clone());
                    let connection = Connection::new(worker, entrance, peer, shown, stream, pending());
                    tokio::spawn(attend(desk.clone(), connection));
                }
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
                    (State::Quiet, Some(State::Going)) => server.shut_down(),
                    (State::Busy, Some(State::Quiet)) => desk.dismiss(),
                    _ => {}
                }
                state = next.unwrap_or(State::Going);
                look.as_mut().reset(Instant::now() + if state == State::Going { LINGER_TIME } else { IDLE_TIMEOUT });
            }
        }
    }
}

async fn handshake(entrance: Entrance, stream: Stream) -> io::Result<Server<Lingering>> {
    let stream = Lingering::new(stream);
    match entrance {
        Entrance::Hop => Server::handshake_with_edge(stream).await,
        Entrance::Http | Entrance::Https => Server::handshake(stream).await,
    }
}

/// Serves the stream of `connection`, then others.
async fn attend(desk: Arc<Desk<Stream>>, mut connection: Connection) {
    connection.run().await;
    while let Some(stream) = desk.next().await {
        connection.take_over(stream);
        connection.run().await;
    }
}

/// Ends the tasks of a connection with it.
struct Closes<'a>(&'a Desk<Stream>);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
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
