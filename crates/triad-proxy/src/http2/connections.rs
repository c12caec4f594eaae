//! Connections of HTTP/2 to one backend, which the requests of one worker share.
//!
//! Whoever finds no room on those that are open has another one opened, by a task that then works for it; all who come
//! meanwhile wait for the same one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use triad_http2::{Client, ClientStream, Connection};

use crate::backend::{Backend, lock};
use crate::serve::Shared;
use crate::stream::Stream;
use crate::upstream::Dialed;

/// Connections of a worker to one backend; whoever finds no room on any of so many finds the backend busy.
const CONNECTIONS_MAX: usize = 32;
/// Time one without streams is kept: less than another edge keeps it, and as nothing is lost when a server closes one
/// (RFC 9113 §6.8), far longer than of HTTP/1.1.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often another edge is asked whether it is there: one dead connection would hold up all its requests, where a
/// silent network between two servers takes no longer than this, twice, to be noticed. Instances are on this server.
const PING_EVERY: Duration = Duration::from_secs(2);

/// Connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Vec<Open>,
    /// What becomes of the one that is being opened.
    opening: Option<watch::Receiver<Option<Opened>>>,
}

#[derive(Debug)]
struct Open {
    client: Client,
    /// When it was seen without streams first.
    idle_since: Option<Instant>,
}

#[derive(Clone, Debug)]
enum Opened {
    Http2,
    /// The other end does not speak it.
    Http1,
    Failed(String),
}

/// Why there is no stream.
pub(crate) enum NoStream {
    /// Every connection is full, and there are as many as there may be.
    Busy,
    /// The backend speaks HTTP/1.1.
    Http1,
    Failed(String),
}

impl Connections {
    /// A stream of the first connection with room.
    pub fn stream(&mut self) -> Option<ClientStream> {
        let mut at = 0;
        while let Some(open) = self.open.get_mut(at) {
            if let Some(stream) = open.client.stream() {
                open.idle_since = None;
                return Some(stream);
            }
            if open.client.is_over() {
                // Its streams, if it has any, are none of ours to end.
                self.open.remove(at);
            } else {
                at += 1;
            }
        }
        None
    }

    /// Lets those go that have ended or were idle for too long.
    pub fn prune(&mut self, now: Instant) {
        self.open.retain_mut(|open| {
            let is_idle = open.client.open_streams() == 0;
            let since = open.idle_since.filter(|_| is_idle);
            open.idle_since = is_idle.then(|| since.unwrap_or(now));
            !open.client.is_over() && since.is_none_or(|since| now.saturating_duration_since(since) < IDLE_TIMEOUT)
        });
    }

    /// Lets all go: each ends when its streams have.
    pub fn clear(&mut self) {
        self.open.clear();
    }
}

/// A stream to `backend` on a connection that is opened for it, and for whoever asks meanwhile.
pub(crate) async fn open(shared: &Arc<Shared>, backend: &Arc<Backend>, worker: usize) -> Result<Stream, NoStream> {
    loop {
        let mut told = begin(shared, backend, worker).ok_or(NoStream::Busy)?;
        let opened = match told.wait_for(Option::is_some).await {
            Ok(opened) => opened.clone(),
            Err(_ended) => None,
        };
        match opened {
            Some(Opened::Http2) => {}
            Some(Opened::Http1) => return Err(NoStream::Http1),
            Some(Opened::Failed(why)) => return Err(NoStream::Failed(why)),
            None => return Err(NoStream::Failed("the worker ends".to_owned())),
        }
        if let Some(stream) = backend.http2_stream(worker) {
            return Ok(stream);
        }
        // Others were quicker. Each time there is one connection more, so this ends.
    }
}

/// What becomes of the connection that is being opened, by somebody else or from now on.
fn begin(shared: &Arc<Shared>, backend: &Arc<Backend>, worker: usize) -> Option<watch::Receiver<Option<Opened>>> {
    let mut connections = lock(backend.http2.get(worker)?);
    // One whose task is no more will never tell.
    if let Some(opening) = connections.opening.as_ref().filter(|opening| opening.has_changed().is_ok()) {
        return Some(opening.clone());
    }
    connections.open.retain_mut(|open| !open.client.is_over());
    if connections.open.len() >= CONNECTIONS_MAX {
        return None;
    }
    let (tell, told) = watch::channel(None);
    connections.opening = Some(told.clone());
    tokio::spawn(establish(shared.clone(), backend.clone(), worker, tell));
    Some(told)
}

/// Opens a connection, and works for it.
async fn establish(shared: Arc<Shared>, backend: Arc<Backend>, worker: usize, tell: watch::Sender<Option<Opened>>) {
    let dialed = shared.dialer.open_http2(&backend.plan.target).await;
    drop(shared);
    let (opened, connection) = backend.take_dialed(worker, dialed);
    let ping_every = backend.plan.target.is_edge().then_some(PING_EVERY);
    let name = backend.name.clone();
    // Gone with the plan that has it no more, and with it the connection, once its streams have ended.
    drop(backend);
    tell.send_replace(Some(opened));
    let Some(connection) = connection else { return };
    if let Err(error) = connection.run(ping_every).await {
        tracing::debug!(backend = %name, %error, "connection of HTTP/2 ended");
    }
}

impl Backend {
    /// A stream of a connection that is open and has room.
    pub fn http2_stream(&self, worker: usize) -> Option<Stream> {
        let stream = lock(self.http2.get(worker)?).stream()?;
        Some(Stream::Http2Backend(Box::new(stream)))
    }

    fn take_dialed(&self, worker: usize, dialed: Result<Dialed, String>) -> (Opened, Option<Box<Connection<Stream>>>) {
        let (opened, client, connection) = match dialed {
            Ok(Dialed::Http2(client, connection)) => (Opened::Http2, Some(client), Some(connection)),
            Ok(Dialed::Http1(stream)) => {
                self.check_in(worker, stream);
                (Opened::Http1, None, None)
            }
            Err(why) => (Opened::Failed(why), None, None),
        };
        let mut connections = lock(&self.http2[worker]);
        connections.opening = None;
        connections.open.extend(client.map(|client| Open { client, idle_since: None }));
        (opened, connection)
    }
}
