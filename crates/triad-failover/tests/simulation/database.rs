//! MariaDB as far as a failover knows it: a log, how much of it is applied, and who may acknowledge (notes on 10.11:
//! `AFTER_SYNC`, MDEV-4698 for relay logs, MDEV-21117 for what a crashed primary takes back).

use std::collections::BTreeMap;

use triad_failover::{Database, Invitation};
use triad_model::ServerName;

/// A database on its disk, and in memory if it runs.
#[derive(Clone, Debug)]
pub struct Node {
    /// Transactions, by what they write. Of a primary its binary log, of a replica what it received.
    pub log: Vec<u32>,
    /// How many of them are applied: of a primary, acknowledged.
    pub applied: usize,
    pub role: Role,
    /// A paused process answers nobody, and is what it was when it goes on.
    pub paused: bool,
}

/// What runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    Stopped,
    Primary { epoch: u64, waits: bool, closed: bool, barred: BTreeMap<ServerName, u64>, invited: Option<Invitation> },
    Replica(Replica),
}

/// What a replica knows while it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replica {
    pub epoch: u64,
    /// Whom it receives from.
    pub source: Option<ServerName>,
    pub obeys: u64,
    pub acknowledges: bool,
    /// What it must have to be whole, once it knows.
    pub must_have: Option<usize>,
    pub whole: bool,
    pub diverged: bool,
}

impl Node {
    /// An empty one that does not run.
    pub fn new() -> Self {
        Self { log: Vec::new(), applied: 0, role: Role::Stopped, paused: false }
    }

    /// It dies. A replica's relay log dies with it, since its threads purge it when they start again.
    pub fn kill(&mut self) {
        if matches!(self.role, Role::Replica(_)) {
            self.log.truncate(self.applied);
        }
        self.role = Role::Stopped;
        self.paused = false;
    }

    /// Starts as a replica: what was never acknowledged is taken back. Returns how much that was.
    pub fn rejoin(&mut self) -> usize {
        let before = self.log.len();
        self.log.truncate(self.applied);
        self.role = Role::Replica(Replica::default());
        before - self.log.len()
    }

    /// Takes writes, and lets nobody of `barred` in. Of a replica, what it has not applied is lost with its relay log.
    pub fn open(&mut self, epoch: u64, waits: bool, barred: BTreeMap<ServerName, u64>) {
        if matches!(self.role, Role::Replica(_)) {
            self.log.truncate(self.applied);
        }
        self.role = Role::Primary { epoch, waits, closed: false, barred, invited: None };
    }

    /// What its agent says of it.
    pub fn said(&self, stopped_for: Option<u64>, stuck: bool) -> Database {
        match &self.role {
            _ if self.paused => Database::Stopped,
            Role::Stopped => Database::Stopped,
            Role::Primary { epoch, waits, closed, barred, invited } => Database::Primary {
                epoch: *epoch,
                written: self.log.len() as u64,
                waits: *waits,
                closed: *closed,
                barred: barred.clone(),
                invited: invited.clone(),
            },
            Role::Replica(replica) => Database::Replica {
                epoch: replica.epoch,
                receiving: replica.source.is_some(),
                connected: replica.source.is_some() && !stuck,
                stopped_for,
                obeys: replica.obeys,
                acknowledges: replica.acknowledges,
                whole: replica.whole,
                diverged: replica.diverged,
                received: self.log.len() as u64,
                applied: self.applied as u64,
            },
        }
    }
}
