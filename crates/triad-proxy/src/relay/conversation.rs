//! A client and its database. What they say is read along (`triad_mysql`), so that between two statements the client can
//! be held while nobody takes them, and go on at another database, in the same state. What is not understood is copied,
//! and ends when its database is no longer the one to ask.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::either::Either;
use triad_mysql::limits::{HELD_BACK_BYTES_MAX, LOGIN_BYTES_MAX};
use triad_mysql::{Account, HEAD_BYTES, Head, Restore, Said, Session};

use super::{Counts, Database, End, HOLD_TIMEOUT, RETRY_EVERY, Relay, gone, hold, reach};
use crate::lead::{Lead, Tie};

/// What is read of either side at once. Statements and most results fit, and whatever `triad_mysql` holds back.
const BUFFER_BYTES: usize = 16 * 1024;
const _: () = assert!(BUFFER_BYTES > HELD_BACK_BYTES_MAX);
/// Time for a database that took a connection to be brought to where another one was.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time after a database ended a connection at rest in which it is learnt that another one is to be asked. Otherwise it
/// meant this connection: it was idle for too long, or somebody killed it.
const NEWS_WITHIN: Duration = Duration::from_secs(1);

/// One of them.
pub(super) struct Conversation<'a> {
    relay: &'a Relay,
    counts: &'a Arc<Counts>,
    client: TcpStream,
    database: Database,
    lead: watch::Receiver<Lead>,
    tie: Tie,
    session: Session,
    /// What the client said and is yet to go on.
    up: Buffer,
    /// What the database said and is yet to go on.
    down: Buffer,
}

#[derive(Default)]
struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: vec![0; BUFFER_BYTES].into(), filled: 0 }
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    fn content(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.filled]
    }

    /// So much went on.
    fn consume(&mut self, length: usize) {
        self.bytes.copy_within(length..self.filled, 0);
        self.filled -= length;
    }
}

/// What the lead says of a conversation.
#[derive(Clone, Copy)]
struct Standing {
    /// It may go on where it is.
    keeps: bool,
    /// Nobody takes statements for a moment.
    waits: bool,
}

/// A client that is held.
struct Held<C> {
    until: Instant,
    _counted: C,
}

impl<'a> Conversation<'a> {
    pub fn new(
        relay: &'a Relay,
        counts: &'a Arc<Counts>,
        client: TcpStream,
        database: Database,
        lead: watch::Receiver<Lead>,
        tie: Tie,
    ) -> Self {
        let (session, up, down) = (Session::default(), Buffer::default(), Buffer::default());
        Self { relay, counts, client, database, lead, tie, session, up, down }
    }

    /// Until it ends.
    pub async fn pass_on(mut self) -> End {
        if self.lead.borrow().account().is_none() {
            // Nobody is carried: there is nothing to read along for.
            return self.copy().await;
        }
        (self.up, self.down) = (Buffer::new(), Buffer::new());
        let mut standing = self.standing();
        let mut held = None;
        loop {
            if self.session.is_opaque() {
                return self.copy().await;
            }
            if self.lead.has_changed().is_ok_and(|changed| changed) {
                standing = self.standing();
            }
            let is_at_rest = self.session.is_at_rest();
            if !standing.keeps {
                if !is_at_rest || !self.carry().await {
                    return self.cut();
                }
                (standing, held) = (self.standing(), None);
                continue;
            }
            if !(is_at_rest && standing.waits) {
                held = None;
            } else if held.is_none() {
                // Who finds no room to wait takes what comes.
                held = hold(self.counts).ok().map(|_counted| Held { until: Instant::now() + HOLD_TIMEOUT, _counted });
            }
            let until = held.as_ref().map(|held| held.until).filter(|until| *until > Instant::now());
            tokio::select! {
                biased;
                _ = self.lead.changed() => standing = self.standing(),
                read = self.database.read(self.down.room()) => {
                    self.down.filled += read.as_ref().unwrap_or(&0);
                    if is_at_rest {
                        // It ends the connection, perhaps with a reason that nobody asked for.
                        if !self.is_news().await || !self.carry().await {
                            return self.say_why().await;
                        }
                        (standing, held) = (self.standing(), None);
                    } else if !matches!(read, Ok(1..)) {
                        return End::Itself;
                    } else if let Some(end) = self.answer().await {
                        return end;
                    }
                }
                read = words(&mut self.client, self.up.room(), until) => match read {
                    Some(Ok(length @ 1..)) => {
                        self.up.filled += length;
                        if let Some(end) = self.ask().await {
                            return end;
                        }
                    }
                    Some(Ok(0)) => return self.copy().await,
                    Some(Err(_)) => return End::Itself,
                    None => {}
                },
            }
        }
    }

    fn standing(&mut self) -> Standing {
        let lead = self.lead.borrow_and_update();
        let keeps = lead.keeps(&self.tie);
        Standing { keeps, waits: keeps && lead.waits(&self.tie) }
    }

    /// Passes on what the client said; how it ends, if it does.
    async fn ask(&mut self) -> Option<End> {
        let length = match self.session.client_said(self.up.content()) {
            Ok(length) => length,
            Err(refused) => {
                tracing::debug!(why = refused.0, "a connection that was carried over is cut");
                return Some(self.cut());
            }
        };
        let end = pass(&mut self.database, &self.up.bytes[..length], &self.lead, &self.tie).await;
        self.up.consume(length);
        end
    }

    /// Passes on what the database said; how it ends, if it does.
    async fn answer(&mut self) -> Option<End> {
        let length = self.session.server_said(self.down.content());
        let end = pass(&mut self.client, &self.down.bytes[..length], &self.lead, &self.tie).await;
        self.down.consume(length);
        end
    }

    /// Whether it turns out soon that the database ended the connection because it is not to be asked any more.
    async fn is_news(&mut self) -> bool {
        let tie = self.tie.clone();
        let news = self.lead.wait_for(|lead| !lead.keeps(&tie) || lead.waits(&tie));
        tokio::select! {
            news = timeout(NEWS_WITHIN, news) => matches!(news, Ok(Ok(_))),
            () = gone(&self.client) => false,
        }
    }

    /// Goes on at another database, or at the same one anew, from rest; whether that succeeded.
    async fn carry(&mut self) -> bool {
        self.abandon();
        let deadline = Instant::now() + HOLD_TIMEOUT;
        let reason = loop {
            let Some(account) = self.lead.borrow().account().cloned() else { break "no account is known".to_owned() };
            let account = Account { user: &account.user, password: account.password.expose_secret() };
            let restore = match self.session.restore(account) {
                Ok(restore) => restore,
                Err(why) => break why.to_owned(),
            };
            let reached = reach(self.relay, self.counts, self.tie.purpose, &self.client, &mut self.lead);
            let (mut database, tie) = match timeout_at(deadline, reached).await {
                Ok(Ok(Some(reached))) => reached,
                Ok(Ok(None)) => break "the client is gone".to_owned(),
                Ok(Err(error)) => break error.to_string(),
                Err(_) => break "no database took it in time".to_owned(),
            };
            match timeout(RESTORE_TIMEOUT, bring(&mut database, restore)).await {
                Ok(Ok(restore)) => {
                    self.session.go_on(restore);
                    (self.database, self.tie, self.down.filled) = (database, tie, 0);
                    self.counts.carried.fetch_add(1, Relaxed);
                    return true;
                }
                Ok(Err(Hitch::For(why))) => break why.to_owned(),
                // It was there a moment ago: the next look at the lead tells.
                Ok(Err(Hitch::Now(error))) => {
                    tracing::debug!(%error, "a database broke off");
                    sleep(RETRY_EVERY).await;
                }
                Err(_) => sleep(RETRY_EVERY).await,
            }
        };
        tracing::debug!(reason, "a connection is not carried over");
        false
    }

    /// Passes on the database's last words.
    async fn say_why(mut self) -> End {
        let _ = pass(&mut self.client, &self.down.bytes[..self.down.filled], &self.lead, &self.tie).await;
        End::Itself
    }

    fn cut(&self) -> End {
        self.abandon();
        End::Cut
    }

    /// What is still on its way to a primary of before is not delivered, should it be heard of again.
    fn abandon(&self) {
        if let Either::Left(database) = &self.database
            && let Err(error) = SockRef::from(database).set_linger(Some(Duration::ZERO))
        {
            tracing::debug!(%error, "a connection ends in its own time");
        }
    }

    /// Without looking at it; the end of one direction is passed on while the other goes on.
    async fn copy(mut self) -> End {
        let (up, down) = (&self.up.bytes[..self.up.filled], &self.down.bytes[..self.down.filled]);
        let ways = [
            pass(&mut self.database, up, &self.lead, &self.tie).await,
            pass(&mut self.client, down, &self.lead, &self.tie).await,
        ];
        (self.up, self.down) = (Buffer::default(), Buffer::default());
        let end = match ways.into_iter().flatten().next() {
            Some(end) => end,
            None => copy_on(&mut self.client, &mut self.database, &mut self.lead, &self.tie).await,
        };
        if let End::Cut = end {
            self.abandon();
        }
        end
    }
}

async fn copy_on(client: &mut TcpStream, database: &mut Database, lead: &mut watch::Receiver<Lead>, tie: &Tie) -> End {
    tokio::select! {
        biased;
        ended = copy_bidirectional_with_sizes(client, database, BUFFER_BYTES, BUFFER_BYTES) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "relayed connection ended");
            }
            End::Itself
        }
        _ = lead.wait_for(|lead| !lead.keeps(tie)) => End::Cut,
    }
}

/// Writes all of `bytes`; how the conversation ends, if it does.
async fn pass(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    lead: &watch::Receiver<Lead>,
    tie: &Tie,
) -> Option<End> {
    // On a clone, so that what it sees is still news to the conversation.
    let cut = async { drop(lead.clone().wait_for(|lead| !lead.keeps(tie)).await) };
    tokio::select! {
        biased;
        written = to.write_all(bytes) => written.is_err().then_some(End::Itself),
        () = cut => Some(End::Cut),
    }
}

/// What the client says; `None` if it was held until `until`.
async fn words(client: &mut TcpStream, room: &mut [u8], until: Option<Instant>) -> Option<io::Result<usize>> {
    let Some(until) = until else { return Some(client.read(room).await) };
    tokio::select! {
        () = sleep_until(until) => None,
        () = gone(client) => Some(Ok(0)),
    }
}

/// Why a database is not where another one was.
enum Hitch {
    /// It will not be.
    For(&'static str),
    /// It broke off.
    Now(io::Error),
}

/// Brings `database`, which was just reached, to where another one was.
async fn bring(database: &mut Database, mut restore: Restore) -> Result<Restore, Hitch> {
    let mut payload = Vec::new();
    loop {
        let mut head = [0; HEAD_BYTES];
        database.read_exact(&mut head).await.map_err(Hitch::Now)?;
        let Some(Head { length, number }) = Head::parse(&head).filter(|head| head.length <= LOGIN_BYTES_MAX) else {
            return Err(Hitch::For("it says too much"));
        };
        payload.resize(length, 0);
        database.read_exact(&mut payload).await.map_err(Hitch::Now)?;
        match restore.heard(number, &payload) {
            Said::Say(words) => database.write_all(&words).await.map_err(Hitch::Now)?,
            Said::Hear => {}
            Said::Done => return Ok(restore),
            Said::Failed(why) => return Err(Hitch::For(why)),
        }
    }
}
