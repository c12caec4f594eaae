//! What an agent does to a running server that goes by the cluster's record: look, stop receiving, follow, take writes,
//! let replicas in or not. Each call can be repeated, and says nothing of who should do what.

use std::net::IpAddr;
use std::time::Duration;

use mysql_async::Row;
use tokio::time::{Instant, sleep};
use triad_model::Secret;

use crate::observe::{Receiver, Replication, password_hashes, replication};
use crate::plan::{DatabasePlan, Member, REPLICATION_USER};
use crate::sql::{Sql, literal, text};
use crate::steps::{change_master, follows, sequence};
use crate::{DatabaseError, Passwords};

/// Time that a connection of a replica has to go, once it is ended.
const CUT_LIMIT: Duration = Duration::from_secs(2);
/// Time between two looks at something that takes milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How a running server stands. Positions are sequence numbers of the one replication domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `@@read_only`.
    pub read_only: bool,
    /// The end of its binary log.
    pub logged: u64,
    /// The end of what it has applied.
    pub applied: u64,
    /// The end of what it has received.
    pub received: u64,
    /// Whether its commits wait for a replica.
    pub waits: bool,
    /// Whether it acknowledges what it receives.
    pub acknowledges: bool,
    /// `SHOW SLAVE STATUS`, if it was told to replicate.
    pub replication: Option<Replication>,
}

impl Standing {
    /// Whether its receiving thread is told to run.
    pub fn is_receiving(&self) -> bool {
        self.replication.as_ref().is_some_and(|replication| replication.receiver != Receiver::Stopped)
    }

    /// Whether that has a connection.
    pub fn is_connected(&self) -> bool {
        self.replication.as_ref().is_some_and(|replication| replication.receiver == Receiver::Running)
    }

    /// Whether its applying thread stopped because of what passes by itself. Only while it receives: where both threads
    /// rest, starting one throws away what was received (MDEV-4698).
    pub fn may_apply_again(&self) -> bool {
        let stopped = self.replication.as_ref().filter(|replication| !replication.applier && self.is_receiving());
        stopped.is_some_and(|replication| passes(replication.applier_error.0))
    }

    /// Whether it only has to start its receiving thread to receive from `primary`: all that it received before stays.
    pub fn may_receive_again(&self, primary: &Member) -> bool {
        self.replication.as_ref().is_some_and(|replication| replication.applier && follows(replication, primary))
    }

    /// Why its history is no part of its primary's, in MariaDB's words.
    pub fn divergence(&self) -> Option<&str> {
        let replication = self.replication.as_ref()?;
        let fatal = |(number, _): &&(u32, String)| *number == FATAL_READING_BINLOG;
        let receiver = Some(&replication.receiver_error).filter(fatal).filter(|_| !self.is_receiving());
        let applier = Some(&replication.applier_error);
        let applier = applier.filter(|(number, _)| *number != 0 && !replication.applier && !passes(*number));
        receiver.or(applier).map(|(_, text)| text.as_str())
    }
}

/// Whether an applier's error says nothing of its data: a full disk (1021, 1114), locks (1205, 1213), a shutdown (1053,
/// 1317).
fn passes(error: u32) -> bool {
    matches!(error, 1021 | 1053 | 1114 | 1205 | 1213 | 1317)
}

/// ER_MASTER_FATAL_ERROR_READING_BINLOG: what the replica has, or asks for, is not in the primary's binary log.
const FATAL_READING_BINLOG: u32 = 1236;

/// Speaks to one server, on one connection that is opened again after an error. Nothing it does is written to the
/// binary log: that would wait for an acknowledgement.
pub struct Control {
    plan: DatabasePlan,
    passwords: Passwords,
    session: Option<Sql>,
    /// Whether it may have been told to replicate.
    may_replicate: bool,
}

impl Control {
    /// For the server of `plan`; it need not run yet.
    pub fn new(plan: DatabasePlan, passwords: Passwords) -> Self {
        Self { plan, passwords, session: None, may_replicate: true }
    }

    /// How it stands.
    pub async fn standing(&mut self) -> Result<Standing, DatabaseError> {
        const SETTINGS: &str = "SELECT @@read_only, @@gtid_binlog_pos, @@gtid_slave_pos, \
             @@rpl_semi_sync_master_enabled, @@rpl_semi_sync_slave_enabled";
        let settings = self.rows("show its settings", SETTINGS).await?;
        // Asked many times a second: a primary is spared what it has no answer to.
        let status = match self.may_replicate {
            true => self.rows("show its replication", "SHOW SLAVE STATUS").await?,
            false => Vec::new(),
        };
        Ok(standing(settings.first(), status.first()))
    }

    /// Stops receiving: after that, nothing is acknowledged any more.
    pub async fn stop_receiving(&mut self) -> Result<(), DatabaseError> {
        // In this order it does not ask the primary, who may be gone, to end its side.
        self.run("stop receiving", &[ACKNOWLEDGE_NOTHING, "STOP SLAVE IO_THREAD"]).await
    }

    /// Receives again from where it did before. What it has received and not applied yet stays: the applier runs.
    pub async fn receive_again(&mut self, acknowledges: bool) -> Result<(), DatabaseError> {
        self.run("receive again", &[&set_acknowledges(acknowledges), "START SLAVE IO_THREAD", "START SLAVE"]).await
    }

    /// Applies again, from where it stopped: the receiver keeps what it received.
    pub async fn apply_again(&mut self) -> Result<(), DatabaseError> {
        self.run("apply again", &["START SLAVE SQL_THREAD"]).await
    }

    /// Acknowledges from now on, or no longer. It takes effect where receiving begins, so that begins anew.
    pub async fn set_acknowledges(&mut self, acknowledges: bool, receiving: bool) -> Result<(), DatabaseError> {
        let set = set_acknowledges(acknowledges);
        let what = if acknowledges { "acknowledge" } else { "acknowledge no more" };
        if !receiving {
            return self.run(what, &[&set]).await;
        }
        self.run(what, &[ACKNOWLEDGE_NOTHING, "STOP SLAVE IO_THREAD", &set, "START SLAVE IO_THREAD"]).await
    }

    /// Applies what it has received; returns whether it has within `limit`.
    pub async fn drain(&mut self, limit: Duration) -> Result<bool, DatabaseError> {
        let end = Instant::now() + limit;
        loop {
            let Standing { received, applied, .. } = self.standing().await?;
            if applied >= received {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Becomes a replica of `primary`, the one of `epoch`, refuses writes, and receives. What it received from another one
    /// and has not applied is thrown away: drain it before.
    pub async fn follow(&mut self, epoch: u64, primary: &Member, acknowledges: bool) -> Result<(), DatabaseError> {
        let what = format!("replicate from {}", primary.name);
        let rows = self.rows(&what, "SELECT @@gtid_binlog_pos, @@gtid_slave_pos").await?;
        let (logged, applied) = rows.first().map(|row| (text(row, 0), text(row, 1))).unwrap_or_default();
        let adopt = format!("SET GLOBAL gtid_slave_pos = {}", literal(&logged));
        // What it wrote as a primary, and DDL that it logged when it was killed, are in its own log only.
        let adopt = (sequence(&logged) > sequence(&applied)).then_some(adopt);
        let change = change_master(primary, &self.passwords.replication);
        let set = set_acknowledges(acknowledges);
        let id = format!("SET GLOBAL server_id = {}", server_id_in(epoch, self.plan.server_id));
        let mut statements = vec!["SET GLOBAL read_only = 1", ACKNOWLEDGE_NOTHING, "STOP SLAVE"];
        statements.extend(["SET GLOBAL rpl_semi_sync_master_enabled = 0", &id]);
        statements.extend(adopt.as_deref());
        statements.extend([change.as_str(), &set, "START SLAVE"]);
        self.may_replicate = true;
        self.run(&what, &statements).await
    }

    /// Follows `primary` from the position that seeding left.
    pub async fn follow_from(
        &mut self,
        position: &str,
        epoch: u64,
        primary: &Member,
        acknowledges: bool,
    ) -> Result<(), DatabaseError> {
        let adopt = format!("SET GLOBAL gtid_slave_pos = {}", literal(position));
        self.run("take up its position", &["STOP SLAVE", &adopt]).await?;
        self.follow(epoch, primary, acknowledges).await
    }

    /// Makes an account for each of `others`, locked: nobody replicates from here yet.
    pub async fn keep_accounts(&mut self, others: &[Member]) -> Result<(), DatabaseError> {
        let mut sql = self.take().await?;
        let (_, hash) = password_hashes(&mut sql, &self.passwords).await?;
        self.session = Some(sql);
        let statements: Vec<String> = others.iter().flat_map(|other| account(other.address.ip(), &hash)).collect();
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        self.run("keep accounts for replicas", &statements).await
    }

    /// Takes writes, with commits that wait for a replica if `waits`, and lets in those of `replicas`; all others are as
    /// [`Control::keep_accounts`] left them. What it replicated from is forgotten.
    pub async fn open(&mut self, waits: bool, replicas: &[&Member]) -> Result<(), DatabaseError> {
        let unlock: Vec<String> = replicas.iter().map(|replica| lock(replica.address.ip(), false)).collect();
        let wait = format!("SET GLOBAL rpl_semi_sync_master_enabled = {}", u8::from(waits));
        let mut statements = vec![ACKNOWLEDGE_NOTHING, "STOP SLAVE"];
        statements.extend(unlock.iter().map(String::as_str));
        // The last takes a flush of the disk, and users wait for the one before.
        statements.extend([&wait, "SET GLOBAL read_only = 0", "RESET SLAVE ALL"]);
        self.run("take writes", &statements).await?;
        self.may_replicate = false;
        Ok(())
    }

    /// Refuses writes; those that are being committed are finished first.
    pub async fn close(&mut self) -> Result<(), DatabaseError> {
        self.run("refuse writes", &["SET GLOBAL read_only = 1"]).await
    }

    /// Transactions that are open now. MariaDB takes stock of them ten times a second.
    pub async fn transactions(&mut self) -> Result<u64, DatabaseError> {
        const COUNT: &str = "SELECT COUNT(*) FROM information_schema.INNODB_TRX";
        let rows = self.rows("count transactions", COUNT).await?;
        Ok(rows.first().and_then(|row| text(row, 0).parse().ok()).unwrap_or_default())
    }

    /// Takes writes again.
    pub async fn reopen(&mut self) -> Result<(), DatabaseError> {
        self.run("take writes again", &["SET GLOBAL read_only = 0"]).await
    }

    /// Cuts the replica at `address` off and does not let it in again. Returns the end of what it may have acknowledged.
    pub async fn bar(&mut self, address: IpAddr) -> Result<u64, DatabaseError> {
        self.run("bar a replica", &[&lock(address, true)]).await?;
        let end = Instant::now() + CUT_LIMIT;
        while self.cut(address).await? {
            if Instant::now() >= end {
                return Err(DatabaseError::Slow {
                    what: "end a replica's connection".to_owned(),
                    limit_ms: CUT_LIMIT.as_millis() as u64,
                });
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(self.standing().await?.logged)
    }

    /// Ends the connections of the replica at `address`; whether one still works. One that is ended and has not gone is
    /// not sent anything any more.
    async fn cut(&mut self, address: IpAddr) -> Result<bool, DatabaseError> {
        let statement = format!(
            "SELECT id FROM information_schema.processlist WHERE user = {} AND host LIKE {} AND command <> 'Killed'",
            literal(REPLICATION_USER),
            literal(&format!("{address}:%"))
        );
        let rows = self.rows("list a replica's connections", &statement).await?;
        for row in &rows {
            // It may have gone by itself.
            if let Err(error) = self.run("end a connection", &[&format!("KILL {}", text(row, 0))]).await {
                tracing::debug!(%error, "a replica's connection");
            }
        }
        Ok(!rows.is_empty())
    }

    /// Lets the replica at `address` in.
    pub async fn admit(&mut self, address: IpAddr) -> Result<(), DatabaseError> {
        self.run("let a replica in", &[&lock(address, false)]).await
    }

    /// Commits only what a replica acknowledges from now on. Returns the end of what was committed without.
    pub async fn wait(&mut self) -> Result<u64, DatabaseError> {
        self.run("wait for acknowledgements", &["SET GLOBAL rpl_semi_sync_master_enabled = 1"]).await?;
        Ok(self.standing().await?.logged)
    }

    /// Commits that wait for an acknowledgement now.
    pub async fn waiting(&mut self) -> Result<u64, DatabaseError> {
        const STATUS: &str = "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_wait_sessions'";
        let rows = self.rows("show who waits", STATUS).await?;
        Ok(rows.first().and_then(|row| text(row, 1).parse().ok()).unwrap_or_default())
    }

    /// Logs a statement that does nothing. A replica that received a transaction, and whose acknowledgement was lost with
    /// its connection, is not sent it again and never acknowledges it; an acknowledgement of what follows is one of all
    /// before.
    pub async fn nudge(&mut self) -> Result<(), DatabaseError> {
        let statements =
            ["SET SESSION sql_log_bin = 1", "DROP TABLE IF EXISTS mysql.triad_nudge", "SET SESSION sql_log_bin = 0"];
        self.run("have its replicas acknowledge", &statements).await
    }

    /// Commits without waiting.
    pub async fn stop_waiting(&mut self) -> Result<(), DatabaseError> {
        self.run("stop waiting for acknowledgements", &["SET GLOBAL rpl_semi_sync_master_enabled = 0"]).await
    }

    async fn run(&mut self, what: &str, statements: &[&str]) -> Result<(), DatabaseError> {
        let mut sql = self.take().await?;
        for statement in statements {
            sql.run(what, statement).await?;
        }
        self.session = Some(sql);
        Ok(())
    }

    async fn rows(&mut self, what: &str, statement: &str) -> Result<Vec<Row>, DatabaseError> {
        let mut sql = self.take().await?;
        let rows = sql.rows(what, statement).await?;
        self.session = Some(sql);
        Ok(rows)
    }

    /// The connection, taken out: an error or a dropped future leaves no half-used one behind.
    async fn take(&mut self) -> Result<Sql, DatabaseError> {
        if let Some(sql) = self.session.take() {
            return Ok(sql);
        }
        // It may have been started anew.
        self.may_replicate = true;
        let mut sql = Sql::connect(&self.plan.socket()).await?;
        sql.run("keep to itself what is done here", "SET SESSION sql_log_bin = 0").await?;
        Ok(sql)
    }
}

/// Another `server_id` in each epoch: a replica skips transactions that bear its own, and what a primary had only logged
/// when it died, and took back, comes from its successor under the one it had then.
fn server_id_in(epoch: u64, own: u32) -> u64 {
    (epoch % (1 << 24)) * SERVER_IDS_IN_EPOCH + u64::from(own)
}

/// More than there are servers in a design.
const SERVER_IDS_IN_EPOCH: u64 = 128;

const ACKNOWLEDGE_NOTHING: &str = "SET GLOBAL rpl_semi_sync_slave_enabled = 0";

fn set_acknowledges(acknowledges: bool) -> String {
    format!("SET GLOBAL rpl_semi_sync_slave_enabled = {}", u8::from(acknowledges))
}

fn standing(settings: Option<&Row>, status: Option<&Row>) -> Standing {
    let column = |index: usize| settings.map(|row| text(row, index)).unwrap_or_default();
    let logged = sequence(&column(1));
    // What a replica applies it logs, and what it logged as a primary it need not apply.
    let applied = sequence(&column(2)).max(logged);
    let received = status.map_or(0, |row| sequence(&text(row, "Gtid_IO_Pos"))).max(applied);
    Standing {
        read_only: column(0) == "1",
        logged,
        applied,
        received,
        waits: column(3) == "1",
        acknowledges: column(4) == "1",
        replication: status.map(replication),
    }
}

fn user(address: IpAddr) -> String {
    format!("{}@{}", literal(REPLICATION_USER), literal(&address.to_string()))
}

fn lock(address: IpAddr, locked: bool) -> String {
    format!("ALTER USER IF EXISTS {} ACCOUNT {}", user(address), if locked { "LOCK" } else { "UNLOCK" })
}

/// The account of a replica, which each server keeps for itself: who may replicate is for the primary of the time.
fn account(address: IpAddr, hash: &Secret) -> [String; 4] {
    let name = user(address);
    let hash = literal(hash.expose_secret());
    [
        format!("CREATE USER IF NOT EXISTS {name} IDENTIFIED BY PASSWORD {hash} ACCOUNT LOCK"),
        format!("ALTER USER {name} IDENTIFIED BY PASSWORD {hash}"),
        format!("GRANT REPLICATION SLAVE ON *.* TO {name}"),
        lock(address, true),
    ]
}
