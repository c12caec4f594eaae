//! Two real servers that go by a record: each step that an agent takes, and what it does to writes.

mod running;
mod support;

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use running::{PATIENCE, Running, database_account, free_port, until};
use support::{design, name, plan};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use triad_database::{
    Control, Member, Passwords, Recovery, Standing, backup_stream, forget_seed_position, prepare, prepare_folders,
    recovery_args, seed, seed_position,
};

/// Both listen here, so that connections come from where they are listened to.
const ADDRESS: &str = "127.0.0.1";
/// Long for a write, short for a test: one that waits for an acknowledgement is not done by then.
const MOMENT: Duration = Duration::from_millis(300);

struct Node {
    running: Running,
    control: Control,
    member: Member,
}

impl Node {
    fn new(running: Running, member: Member, passwords: &Passwords) -> Self {
        let control = Control::new(running.plan.clone(), passwords.clone());
        Self { running, control, member }
    }

    async fn start(&mut self, recovery: Recovery) {
        self.running.start(&recovery_args(recovery));
        let tries = Instant::now();
        while let Err(error) = self.control.standing().await {
            assert!(tries.elapsed() < PATIENCE, "no answer: {error}\n{}", self.running.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn standing(&mut self) -> Standing {
        self.control.standing().await.expect("it answers")
    }

    async fn until(&mut self, what: &str, good: impl Fn(&Standing) -> bool) {
        until(what, async || good(&self.standing().await)).await;
    }

    /// Writes `text`; done when it is acknowledged.
    async fn write(&self, text: &'static str) -> JoinHandle<()> {
        let mut root = self.running.root().await;
        tokio::spawn(async move { root.exec_drop("INSERT INTO d.t VALUES (?)", (text,)).await.expect(text) })
    }

    async fn texts(&self) -> Vec<String> {
        let mut root = self.running.root().await;
        root.query("SELECT text FROM d.t ORDER BY text").await.expect("a table")
    }
}

/// The first takes writes, the second has a copy of it and acknowledges.
async fn pair() -> (Node, Node, TempDir) {
    let root = tempfile::tempdir().expect("temporary directory");
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("open to the service's account");
    let design = design(&[ADDRESS, ADDRESS, ADDRESS], "srv1", &["srv2"]);
    assert!(design.fails_over());
    let passwords = Passwords::generate().expect("random bytes");
    let node = |server: &str, address: SocketAddr| {
        let mut plan = plan(&design, server, &root.path().join(server), database_account());
        plan.listen = Some(address);
        Node::new(Running::new(plan), Member { name: name(server), address }, &passwords)
    };
    let (mut first, mut second) = (node("srv1", free_port(ADDRESS)), node("srv2", free_port(ADDRESS)));
    prepare(&first.running.plan).await.expect("prepared");
    first.start(Recovery::Commit).await;
    first.control.keep_accounts(std::slice::from_ref(&second.member)).await.expect("accounts");
    first.control.open(false, &[&second.member]).await.expect("open");
    let mut client = first.running.root().await;
    client.query_drop("CREATE DATABASE d; CREATE TABLE d.t (text VARCHAR(99) PRIMARY KEY)").await.expect("a table");

    prepare_folders(&second.running.plan).expect("prepared");
    let mut backup = backup_stream(&first.running.plan).expect("backup starts");
    seed(&second.running.plan, backup.stdout(), |_| ()).await.expect("seeded");
    backup.finish().await.expect("backup succeeds");
    second.start(Recovery::TakeBack).await;
    let position = seed_position(&second.running.plan).expect("readable").expect("a position");
    second.control.follow_from(&position, 1, &first.member, true).await.expect("follows");
    forget_seed_position(&second.running.plan).expect("forgotten");
    second.until("a connection", Standing::is_connected).await;
    first.control.wait().await.expect("waits");
    (first, second, root)
}

async fn done(write: JoinHandle<()>) {
    tokio::time::timeout(PATIENCE, write).await.expect("in time").expect("written");
}

async fn is_waiting(write: &mut JoinHandle<()>) -> bool {
    tokio::time::timeout(MOMENT, write).await.is_err()
}

#[tokio::test]
async fn the_replica_takes_over_and_the_old_primary_follows_without_what_was_never_acknowledged() {
    let (mut first, mut second, _root) = pair().await;
    done(first.write("acknowledged").await).await;
    // Its acknowledgement would be lost with the connection: for the client this one is as good as acknowledged.
    second.control.set_acknowledges(false, true).await.expect("acknowledges no more");
    second.until("a connection", Standing::is_connected).await;
    let mut received = first.write("received").await;
    assert!(is_waiting(&mut received).await);
    received.abort();
    let end = first.standing().await.logged;
    second.until("it", |standing| standing.received == end).await;
    second.control.stop_receiving().await.expect("stops");
    let mut lost = first.write("never acknowledged").await;
    assert!(is_waiting(&mut lost).await);
    first.running.kill();
    lost.abort();

    assert!(second.control.drain(Duration::from_secs(5)).await.expect("applies"));
    let standing = second.standing().await;
    assert!(!standing.is_receiving() && standing.applied == standing.received && standing.read_only, "{standing:?}");
    second.control.keep_accounts(std::slice::from_ref(&first.member)).await.expect("accounts");
    second.control.open(false, &[]).await.expect("open");
    done(second.write("afterwards").await).await;

    first.start(Recovery::TakeBack).await;
    assert_eq!(first.texts().await, ["acknowledged"]);
    first.control.follow(2, &second.member, false).await.expect("follows");
    tokio::time::sleep(MOMENT).await;
    assert!(!first.standing().await.is_connected(), "it is barred");
    second.control.admit(first.member.address.ip()).await.expect("let in");
    let end = second.standing().await.logged;
    first.until("everything", |standing| standing.is_connected() && standing.applied == end).await;
    assert_eq!(first.texts().await, ["acknowledged", "afterwards", "received"]);
    first.control.set_acknowledges(true, true).await.expect("acknowledges");
    first.until("a connection", Standing::is_connected).await;
    second.control.wait().await.expect("waits");
    done(second.write("acknowledged by the old primary").await).await;
    assert_eq!(first.standing().await.divergence(), None);
}

#[tokio::test]
async fn a_primary_that_restarts_as_one_keeps_what_its_replica_may_have() {
    let (mut first, mut second, _root) = pair().await;
    second.control.stop_receiving().await.expect("stops");
    let mut waiting = first.write("in the log").await;
    assert!(is_waiting(&mut waiting).await);
    first.running.kill();
    waiting.abort();
    first.start(Recovery::Commit).await;
    assert_eq!(first.texts().await, ["in the log"]);
    first.control.open(true, &[&second.member]).await.expect("open");
    second.control.receive_again(true).await.expect("receives");
    done(first.write("afterwards").await).await;
    second.until("everything", |standing| standing.applied == standing.received).await;
    assert_eq!(second.texts().await, ["afterwards", "in the log"]);
}

#[tokio::test]
async fn a_replica_that_is_barred_acknowledges_nothing_and_writes_wait_until_nobody_is_waited_for() {
    let (mut first, mut second, _root) = pair().await;
    let mark = first.control.bar(second.member.address.ip()).await.expect("barred");
    assert_eq!(mark, first.standing().await.logged);
    let mut write = first.write("while nobody acknowledges").await;
    assert!(is_waiting(&mut write).await);
    assert_eq!(second.standing().await.received, mark);
    first.control.stop_waiting().await.expect("waits no more");
    done(write).await;

    second.control.set_acknowledges(false, true).await.expect("does not acknowledge");
    first.control.admit(second.member.address.ip()).await.expect("let in");
    let end = first.standing().await.logged;
    second.until("everything", |standing| standing.is_connected() && standing.applied == end).await;
    first.control.wait().await.expect("waits");
    let mut write = first.write("received without being acknowledged").await;
    assert!(is_waiting(&mut write).await);
    second.control.set_acknowledges(true, true).await.expect("acknowledges");
    // It has that write, and so is not sent it again: only the next one is acknowledged.
    second.until("a connection", Standing::is_connected).await;
    assert!(is_waiting(&mut write).await && first.control.waiting().await.expect("an answer") == 1);
    first.control.nudge().await.expect("a nudge");
    done(write).await;
}

#[tokio::test]
async fn writes_are_refused_for_a_moment_and_what_differs_is_seen() {
    let (mut first, mut second, _root) = pair().await;
    first.control.close().await.expect("closes");
    let mut app = first.running.root().await;
    app.query_drop("SET SESSION sql_log_bin = 1; CREATE USER app@localhost; GRANT INSERT ON d.* TO app@localhost")
        .await
        .expect("root may write");
    assert!(first.standing().await.read_only);
    first.control.reopen().await.expect("opens");
    done(first.write("again").await).await;

    // Somebody writes to the replica as root: from then on it is no copy.
    let mut root = second.running.root().await;
    root.query_drop("INSERT INTO d.t VALUES ('of its own')").await.expect("root may write");
    // It is not acknowledged: who differs does not receive.
    let theirs = first.write("theirs").await;
    second.until("its divergence", |standing| standing.divergence().is_some()).await;
    theirs.abort();
}
