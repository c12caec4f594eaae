//! What a server knows when it decides.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use triad_model::ServerName;

/// How far a database's history goes: the sequence number of its last transaction. There is one replication domain, and
/// strict mode keeps numbers in order, so along one history a larger one holds all smaller ones.
pub type Position = u64;

/// What all agree on, changed by compare-and-swap only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Grows with every change.
    pub version: u64,
    /// Grows with every new primary.
    pub epoch: u64,
    /// Who takes writes.
    pub primary: ServerName,
    /// Who has every acknowledged write, together: the primary, and replicas that may acknowledge.
    pub in_sync: BTreeSet<ServerName>,
}

impl Record {
    /// The next version, the same but for what `change` makes of it.
    pub(crate) fn next(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = Self { version: self.version + 1, ..self.clone() };
        change(&mut next);
        next
    }
}

/// How a server's database is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Database {
    /// It does not run, or does not answer.
    Stopped,
    /// It takes writes.
    Primary {
        /// Since which epoch.
        epoch: u64,
        /// The end of its binary log.
        written: Position,
        /// Whether a commit waits for a replica.
        waits: bool,
        /// Whether it refuses writes, because another one is to take them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        closed: bool,
        /// Replicas that it does not let in, each with the end of what it may have acknowledged.
        barred: BTreeMap<ServerName, Position>,
        /// While it is alone by the record: the replica that may acknowledge all the same, on the way back.
        invited: Option<Invitation>,
    },
    /// It follows a primary, or did.
    Replica {
        /// The primary of this epoch.
        epoch: u64,
        /// Whether it was told to receive.
        receiving: bool,
        /// Whether it does: it has a connection to the primary.
        connected: bool,
        /// The version of the record for which it has stopped.
        stopped_for: Option<u64>,
        /// The version of the record whose in-sync set it goes by.
        obeys: u64,
        /// Whether what it receives counts as acknowledged.
        acknowledges: bool,
        /// Whether it has all that it ever acknowledged: it has not restarted, or has caught up since.
        whole: bool,
        /// Whether its history is no part of the primary's.
        diverged: bool,
        /// The end of what it has received.
        received: Position,
        /// The end of what it has applied.
        applied: Position,
    },
}

/// A primary that is alone by the record has this replica acknowledge, as long as the record has this version, and then
/// waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The replica.
    pub replica: ServerName,
    /// The version.
    pub version: u64,
    /// The end of what was committed without it.
    pub mark: Position,
}

/// What a server says of itself to the others, with each heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Whom it takes for dead.
    pub suspects: BTreeSet<ServerName>,
    /// Its database; `None` if it has none, as a witness.
    pub database: Option<Database>,
    /// It is the primary, and takes no writes for a moment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds: bool,
}

/// What is known of another server.
#[derive(Clone, Debug)]
pub struct Member {
    /// It has not been heard for longer than a heartbeat may take.
    pub silent: bool,
    /// It is heard, and its database follows this server's but has not received for longer than that may take: its disk
    /// is full, or its connection hangs.
    pub stalled: bool,
    /// What it said last; nothing if it was never heard.
    pub said: Said,
}

impl Member {
    /// Its database, as it said last, if it is heard.
    pub fn database(&self) -> Option<&Database> {
        self.said.database.as_ref().filter(|_| !self.silent)
    }
}

impl Database {
    /// Whether it takes writes, as the primary of `epoch`.
    pub fn is_primary_of(&self, epoch: u64) -> bool {
        matches!(self, Database::Primary { epoch: of, .. } if *of == epoch)
    }
}

/// What a server knows.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The server.
    pub me: &'a ServerName,
    /// The record as it was read last; `None` if it cannot be read.
    pub record: Option<&'a Record>,
    /// The version that this server itself wrote; `None` if it has sent another write since, whatever came of that.
    pub made: Option<u64>,
    /// The server's own database.
    pub database: &'a Database,
    /// To whom it is to hand over, while it is the primary.
    pub yields_to: Option<&'a ServerName>,
    /// All other servers with a voice: those with a database, and witnesses.
    pub others: &'a BTreeMap<ServerName, Member>,
}

impl View<'_> {
    /// The servers that this one takes for dead: silent ones, and those whose database is by their own word.
    pub fn suspects(&self) -> BTreeSet<ServerName> {
        let dead = |member: &Member| member.silent || member.said.database == Some(Database::Stopped);
        self.others.iter().filter(|(_, member)| dead(member)).map(|(name, _)| name.clone()).collect()
    }

    /// Whether this server and another one take `server` for dead; that may be the word of `server` itself.
    pub(crate) fn is_dead(&self, server: &ServerName) -> bool {
        let Some(member) = self.others.get(server) else { return false };
        let says_so = !member.silent && member.said.database == Some(Database::Stopped);
        let heard = self.others.iter().filter(|(name, other)| *name != server && !other.silent);
        says_so || (member.silent && heard.into_iter().any(|(_, other)| other.said.suspects.contains(server)))
    }

    /// Whether `server` lives and does not receive.
    pub(crate) fn is_stalled(&self, server: &ServerName) -> bool {
        self.others.get(server).is_some_and(|member| member.stalled)
    }

    /// What `server`'s database said last, if it is heard.
    pub(crate) fn heard(&self, server: &ServerName) -> Option<&Database> {
        self.others.get(server)?.database()
    }
}
