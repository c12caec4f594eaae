//! Real servers: a primary and a replica on loopback addresses, from nothing to replication and through accidents.
//!
//! The tests log in by the Unix socket as root, so they run as root: a real one, or a user namespace's.

mod running;
mod support;

use std::fs::{self, Permissions};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use running::{PATIENCE, Running, database_account, free_port, until};
use support::{design, plan};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use triad_database::{DatabasePlan, Duty, Passwords, Reconciler, backup_stream, needs_seed, prepare, seed};
use triad_model::{DatabaseReport, State};

const PRIMARY: &str = "127.0.0.2";
/// The address connections to `127.0.0.0/8` come from unless they are bound, so that the replica's account fits it.
const REPLICA: &str = "127.0.0.1";

/// One server's database.
struct Node {
    running: Running,
    reconciler: Reconciler,
}

impl Node {
    fn new(plan: DatabasePlan, passwords: &Passwords) -> Self {
        Self { reconciler: Reconciler::new(plan.clone(), passwords.clone()), running: Running::new(plan) }
    }

    async fn until(&mut self, what: &str, good: impl Fn(&DatabaseReport) -> bool) -> DatabaseReport {
        let start = Instant::now();
        loop {
            let report = self.reconciler.step().await;
            if good(&report) {
                return report;
            }
            assert!(start.elapsed() < PATIENCE, "{} never got {what}: {report:#?}\n{}", self.plan.server, self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Deref for Node {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

/// A primary and its replica.
struct Pair {
    passwords: Passwords,
    primary: Node,
    replica: Node,
    _root: TempDir,
}

impl Pair {
    /// Both healthy, the replica seeded from the primary.
    async fn start() -> Self {
        let mut pair = Self::new();
        prepare(&pair.primary.plan).await.expect("primary prepared");
        pair.primary.start(&[]);
        pair.primary.until("writable", |report| report.state == State::Degraded).await;
        prepare(&pair.replica.plan).await.expect("replica prepared");
        pair.seed().await;
        pair.replica.start(&[]);
        pair.settle().await;
        pair
    }

    fn new() -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("open to the service's account");
        let design = design(&[PRIMARY, REPLICA], "srv1", &["srv2"]);
        let account = database_account();
        let mut primary = plan(&design, "srv1", &root.path().join("1"), account);
        let mut replica = plan(&design, "srv2", &root.path().join("2"), account);
        let (address, own) = (free_port(PRIMARY), free_port(REPLICA));
        primary.listen = Some(address);
        replica.listen = Some(own);
        if let Duty::Replica { primary } = &mut replica.duty {
            primary.address = address;
        }
        let passwords = Passwords::generate().expect("random bytes");
        let (primary, replica) = (Node::new(primary, &passwords), Node::new(replica, &passwords));
        Self { passwords, primary, replica, _root: root }
    }

    async fn seed(&mut self) {
        assert!(needs_seed(&self.replica.plan).expect("readable"), "the replica is empty");
        let mut backup = backup_stream(&self.primary.plan).expect("backup starts");
        let mut told = 0;
        seed(&self.replica.plan, backup.stdout(), |bytes| told = bytes).await.expect("seeded");
        backup.finish().await.expect("backup succeeds");
        assert!(told > 1_000_000, "a database is more than {told} bytes");
        assert!(!needs_seed(&self.replica.plan).expect("readable"));
    }

    /// What an operator does with a replica that went astray.
    async fn replace_replica(&mut self) {
        self.replica.kill();
        fs::remove_dir_all(self.replica.plan.data_directory()).expect("moved away");
        self.seed().await;
        self.replica.start(&[]);
    }

    /// Replication runs, and commits wait for it.
    async fn settle(&mut self) {
        self.replica.until("replicating", |report| report.state == State::Healthy).await;
        self.primary.until("acknowledged", |report| report.state == State::Healthy && report.semi_sync).await;
    }

    async fn app(&self, node: &Node) -> Conn {
        let address = node.plan.listen.expect("it listens");
        let options = OptsBuilder::default()
            .ip_or_hostname(address.ip().to_string())
            .tcp_port(address.port())
            .prefer_socket(false)
            .user(Some(&node.plan.user))
            .pass(Some(self.passwords.app.expose_secret()))
            .db_name(Some(&node.plan.schema));
        Conn::new(options).await.expect("the application logs in")
    }

    async fn replica_has(&self, rows: u64) {
        let mut app = self.app(&self.replica).await;
        until("rows on the replica", async || count(&mut app).await == rows).await;
    }
}

async fn count(app: &mut Conn) -> u64 {
    app.query_first("SELECT COUNT(*) FROM entries").await.ok().flatten().unwrap_or_default()
}

async fn create_table(app: &mut Conn) {
    app.query_drop("CREATE TABLE entries (id BIGINT PRIMARY KEY AUTO_INCREMENT, text TEXT)").await.expect("table");
}

async fn write(app: &mut Conn, rows: u64) {
    for row in 0..rows {
        app.exec_drop("INSERT INTO entries (text) VALUES (?)", (format!("row {row}"),)).await.expect("written");
    }
}

fn counter(report: &DatabaseReport, name: &str) -> u64 {
    report.counters.iter().find(|(counter, _)| counter == name).map(|(_, value)| *value).expect(name)
}

#[tokio::test]
async fn writes_reach_the_replica_and_privileges_end_where_they_should() {
    let mut pair = Pair::start().await;
    let before = pair.primary.reconciler.step().await;
    let mut app = pair.app(&pair.primary).await;
    create_table(&mut app).await;
    write(&mut app, 20).await;
    pair.replica_has(20).await;

    let after = pair.primary.reconciler.step().await;
    assert_eq!(after.detail, "primary; 1 replica acknowledges");
    let acknowledged = |report| counter(report, "rpl_semi_sync_master_yes_tx");
    assert_eq!(acknowledged(&after) - acknowledged(&before), 21, "each commit was acknowledged");
    let told = pair.replica.until("level", |report| report.lag_s == Some(0)).await;
    assert_eq!(told.detail, "replicating from srv1, 0 s behind");
    assert_eq!(told.gtid, after.gtid);

    let mut reader = pair.app(&pair.replica).await;
    refused(&mut reader, "INSERT INTO entries (text) VALUES ('lost')", "read-only").await;
    for statement in [
        "SELECT * FROM mysql.user",
        "SET GLOBAL read_only = 0",
        "CREATE DATABASE another",
        "CREATE USER stranger",
        "GRANT SELECT ON *.* TO guestbook",
        "SELECT 1 INTO OUTFILE '/tmp/out'",
    ] {
        refused(&mut app, statement, "denied").await;
    }
    refused(&mut app, "CREATE TABLE bare (id INT) ENGINE = Aria", "NO_ENGINE_SUBSTITUTION").await;
    // `guest_book` in a GRANT would also match this, were the underscore not escaped.
    pair.primary.root().await.query_drop("CREATE DATABASE guestXbook").await.expect("created");
    refused(&mut app, "CREATE TABLE guestXbook.entries (id INT)", "denied").await;
}

async fn refused(app: &mut Conn, statement: &str, why: &str) {
    let error = app.query_drop(statement).await.expect_err(statement).to_string();
    assert!(error.contains(why), "{statement}: {error}");
}

#[tokio::test]
async fn a_killed_replica_delays_writes_once_and_catches_up() {
    let mut pair = Pair::start().await;
    let mut app = pair.app(&pair.primary).await;
    create_table(&mut app).await;
    write(&mut app, 1).await;

    pair.replica.kill();
    write(&mut app, 20).await;
    let told = pair.primary.until("alone", |report| report.state == State::Degraded).await;
    assert_eq!(told.detail, "primary; 0 of 1 replica attached");
    let told = pair.replica.reconciler.step().await;
    assert_eq!(told.state, State::Down, "{told:?}");

    pair.replica.start(&[]);
    pair.settle().await;
    pair.replica_has(21).await;
}

#[tokio::test]
async fn a_replica_killed_while_it_applies_ddl_follows_again_or_refuses() {
    let mut pair = Pair::start().await;
    let mut app = pair.app(&pair.primary).await;
    create_table(&mut app).await;
    for round in 0..5 {
        app.query_drop(format!("ALTER TABLE entries ADD COLUMN round_{round} INT")).await.expect("altered");
        write(&mut app, 1).await;
        pair.replica.kill();
        pair.replica.start(&[]);
        // Depending on the moment, MariaDB's recovery logs the statement under the replica's own name: then, and only
        // then, it must refuse to go on.
        let settled =
            |report: &DatabaseReport| report.state == State::Healthy || report.detail.contains("seeded again");
        let told = pair.replica.until("to a decision", settled).await;
        if told.state == State::Down {
            assert!(told.detail.contains("by itself"), "{}", told.detail);
            pair.replace_replica().await;
        }
        pair.settle().await;
    }
    pair.replica_has(5).await;
    assert_eq!(checksum(&pair.primary).await, checksum(&pair.replica).await);
}

#[tokio::test]
async fn a_killed_primary_comes_back_with_all_rows_and_its_replica_follows() {
    let mut pair = Pair::start().await;
    let mut app = pair.app(&pair.primary).await;
    create_table(&mut app).await;
    write(&mut app, 20).await;

    pair.primary.kill();
    let told = pair.replica.until("a silent primary", |report| report.state == State::Degraded).await;
    assert!(told.detail.starts_with("primary srv1 does not answer: "), "{}", told.detail);

    pair.primary.start(&[]);
    pair.settle().await;
    let mut app = pair.app(&pair.primary).await;
    assert_eq!(count(&mut app).await, 20);
    write(&mut app, 1).await;
    pair.replica_has(21).await;
}

#[tokio::test]
async fn a_replica_that_lost_its_data_is_seeded_again_under_load() {
    let mut pair = Pair::start().await;
    let mut app = pair.app(&pair.primary).await;
    create_table(&mut app).await;
    write(&mut app, 20).await;
    pair.replica.kill();
    fs::remove_dir_all(pair.replica.plan.data_directory()).expect("data lost");

    // A broken transfer leaves nothing behind that would be taken for data.
    let mut backup = backup_stream(&pair.primary.plan).expect("backup starts");
    let broken = seed(&pair.replica.plan, backup.stdout().take(5_000_000), |_| ()).await;
    assert!(broken.is_err(), "half a stream is not a copy");
    drop(backup);

    let written = {
        let seeded = pair.seed();
        tokio::pin!(seeded);
        let mut written = 20;
        loop {
            tokio::select! {
                () = &mut seeded => break written,
                () = write(&mut app, 1) => written += 1,
            }
        }
    };
    assert!(written > 20, "writes went on during the copy");
    // The last one may have been committed although it was not waited for.
    let rows = count(&mut pair.app(&pair.primary).await).await;
    assert!(rows >= written);
    pair.replica.start(&[]);
    pair.settle().await;
    pair.replica_has(rows).await;
    assert_eq!(checksum(&pair.primary).await, checksum(&pair.replica).await);
}

async fn checksum(node: &Node) -> String {
    let row: Option<(String, String)> =
        node.root().await.query_first("CHECKSUM TABLE guest_book.entries").await.expect("sum");
    row.expect("a row").1
}

#[tokio::test]
async fn data_of_its_own_keeps_a_replica_from_replicating() {
    let mut pair = Pair::new();
    let own = DatabasePlan { duty: Duty::Primary { replicas: Vec::new() }, ..pair.replica.plan.clone() };
    prepare(&own).await.expect("data of its own");
    pair.replica.start(&[]);
    let told = pair.replica.until("refused", |report| report.state == State::Down).await;
    assert!(told.detail.contains("holds data that is no copy of srv1's"), "{}", told.detail);
}

#[tokio::test]
async fn an_interrupted_installation_is_begun_again_and_a_finished_one_kept() {
    let mut pair = Pair::new();
    let half = pair.primary.plan.layout.data.join("mysql.new");
    fs::create_dir_all(half.join("mysql")).expect("half a directory");
    prepare(&pair.primary.plan).await.expect("prepared");
    assert!(!half.exists());
    pair.primary.start(&[]);
    pair.primary.until("writable", |report| report.state == State::Degraded).await;

    // Its own mariadbd holds the port, and the data is there: nothing to do.
    prepare(&pair.primary.plan).await.expect("prepared while it runs");
    pair.primary.until("still there", |report| report.state == State::Degraded).await;
}
