//! The TCP relay that applications use as their database: it knows where the primary is, they need not. `lead` says
//! where it leads, and `cut_off` whether that can be reached from here; `conversation` passes on what both sides say, and
//! carries a connection over to another database where nobody notices.

mod conversation;
pub(crate) mod cut_off;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::either::Either;
use triad_model::{RelayReport, ServerName};

use crate::counters::Ongoing;
use crate::lead::{Lead, Purpose, Tie};
use crate::plan::RelayTarget;
use conversation::Conversation;

/// Connections open for each purpose at one time; more are closed at once.
const CONNECTIONS_MAX: u64 = 1024;
/// Those of them that may be held.
const HELD_MAX: u64 = 512;
/// Time a connection has to find a database that takes it, where it is held.
const HOLD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two tries to connect while it is. A route that changes is followed at once.
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// Time to reach the database.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The relay.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// Where connections lead. It may change at any time.
    pub lead: watch::Sender<Lead>,
    /// Servers that live, and to which the way is cut.
    pub cut_off: watch::Sender<Vec<ServerName>>,
    writing: Arc<Counts>,
    reading: Arc<Counts>,
    /// Which of several replicas is next.
    turn: AtomicUsize,
}

/// What is counted of connections of one purpose.
#[derive(Debug, Default)]
struct Counts {
    open: AtomicU64,
    held: AtomicU64,
    held_total: AtomicU64,
    cut: AtomicU64,
    carried: AtomicU64,
    failures: AtomicU64,
}

/// How a connection that was passed on ended.
enum End {
    Itself,
    Cut,
}

type Database = Either<TcpStream, UnixStream>;

impl Relay {
    pub fn report(&self, purpose: Purpose) -> RelayReport {
        let Counts { open, held, held_total, cut, carried, failures } = &**self.counts(purpose);
        RelayReport {
            open: open.load(Relaxed),
            held: held.load(Relaxed),
            held_total: held_total.load(Relaxed),
            cut: cut.load(Relaxed),
            carried: carried.load(Relaxed),
            failures: failures.load(Relaxed),
        }
    }

    fn counts(&self, purpose: Purpose) -> &Arc<Counts> {
        match purpose {
            Purpose::Write => &self.writing,
            Purpose::Read => &self.reading,
        }
    }
}

/// Connects `client` to where the relay leads, and passes on what both say until both have ended, or another database is
/// to be asked and the connection cannot be carried there. Fails only before the first byte: how a connection ends later
/// is between the application and its database.
pub(crate) async fn relay(relay: Arc<Relay>, purpose: Purpose, client: TcpStream) {
    let counts = relay.counts(purpose).clone();
    let outcome = pass_on(&relay, &counts, purpose, client).await;
    match outcome {
        Ok(End::Itself) => {}
        Ok(End::Cut) => _ = counts.cut.fetch_add(1, Relaxed),
        Err(error) => {
            counts.failures.fetch_add(1, Relaxed);
            tracing::warn!(%error, ?purpose, "database relay could not pass a connection on");
        }
    }
}

async fn pass_on(relay: &Relay, counts: &Arc<Counts>, purpose: Purpose, client: TcpStream) -> io::Result<End> {
    if counts.open.load(Relaxed) >= CONNECTIONS_MAX {
        return Err(io::Error::other(format!("{CONNECTIONS_MAX} are open")));
    }
    let _open = Ongoing::new(counts.clone(), |counts| &counts.open);
    let mut lead = relay.lead.subscribe();
    let deadline = Instant::now() + HOLD_TIMEOUT;
    let reached = timeout_at(deadline, reach(relay, counts, purpose, &client, &mut lead)).await;
    let reached = reached.unwrap_or_else(|_| Err(io::Error::other("no database took it in time")))?;
    match reached {
        Some((database, tie)) => {
            keep_fresh(&client)?;
            Ok(Conversation::new(relay, counts, client, database, lead, tie).pass_on().await)
        }
        None => Ok(End::Itself),
    }
}

/// A database that takes the connection; where connections are held, it waits for one. `None`: the client is gone.
async fn reach(
    relay: &Relay,
    counts: &Arc<Counts>,
    purpose: Purpose,
    client: &TcpStream,
    lead: &mut watch::Receiver<Lead>,
) -> io::Result<Option<(Database, Tie)>> {
    let turn = relay.turn.fetch_add(1, Relaxed);
    let mut held = None;
    loop {
        let (choices, holds) = {
            let lead = lead.borrow_and_update();
            (lead.choices(purpose, turn), lead.holds())
        };
        // A connection under way to where nobody is led any more is dropped.
        let reached = tokio::select! {
            biased;
            _ = lead.changed() => continue,
            reached = first_of(choices) => reached,
        };
        match reached {
            Ok(reached) => return Ok(Some(reached)),
            Err(error) if !holds => return Err(error),
            Err(_) if held.is_none() => held = Some(hold(counts)?),
            Err(_) => {}
        }
        tokio::select! {
            _ = lead.changed() => {}
            () = sleep(RETRY_EVERY) => {}
            () = gone(client) => return Ok(None),
        }
    }
}

/// Counts a connection as held, if there is room for one more.
fn hold(counts: &Arc<Counts>) -> io::Result<impl Drop + use<>> {
    if counts.held.load(Relaxed) >= HELD_MAX {
        return Err(io::Error::other(format!("no database takes it, and {HELD_MAX} wait already")));
    }
    counts.held_total.fetch_add(1, Relaxed);
    Ok(Ongoing::new(counts.clone(), |counts: &Arc<Counts>| &counts.held))
}

/// Ready when the client has gone without a word. Clients of MariaDB wait for its greeting; one that speaks first is not
/// watched.
async fn gone(client: &TcpStream) {
    if let Ok(1..) = client.peek(&mut [0]).await {
        std::future::pending().await
    }
}

async fn first_of(choices: Vec<Tie>) -> io::Result<(Database, Tie)> {
    let mut why = io::Error::other("no database is there to take it");
    for tie in choices {
        match timeout(CONNECT_TIMEOUT, connect(&tie.target)).await.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(database) => return Ok((database, tie)),
            Err(error) => why = error,
        }
    }
    Err(why)
}

async fn connect(target: &RelayTarget) -> io::Result<Database> {
    Ok(match target {
        RelayTarget::Tcp(address) => {
            let database = TcpStream::connect(address).await?;
            keep_fresh(&database)?;
            Either::Left(database)
        }
        RelayTarget::Unix(path) => Either::Right(UnixStream::connect(path).await?),
    })
}

/// No delay for small statements; a probe that notices a peer that died silently, because idle is normal here.
fn keep_fresh(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_keepalive(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::{Counts, HELD_MAX, HOLD_TIMEOUT, Relay, hold, relay};
    use crate::lead::Purpose;

    #[test]
    fn so_many_are_held_and_no_more() {
        let counts = Arc::new(Counts::default());
        let mut held: Vec<_> = (0..HELD_MAX).map(|_| hold(&counts).expect("room")).collect();
        assert!(hold(&counts).is_err());
        held.pop();
        held.push(hold(&counts).expect("room again"));
        assert_eq!((counts.held.load(Relaxed), counts.held_total.load(Relaxed)), (HELD_MAX, HELD_MAX + 1));
        drop(held);
        assert_eq!(counts.held.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_is_let_go_in_time() {
        let held = Arc::new(Relay::default());
        held.lead.send_modify(|lead| *lead = crate::lead::tests::lead(true));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let _client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("a connection");
        let (accepted, _) = listener.accept().await.expect("accepted");
        let began = Instant::now();
        relay(held.clone(), Purpose::Write, accepted).await;
        assert_eq!(began.elapsed(), HOLD_TIMEOUT);
        let report = held.report(Purpose::Write);
        assert_eq!((report.open, report.held, report.held_total, report.failures), (0, 0, 1, 1));
    }
}
