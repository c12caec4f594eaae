//! The decision.

use std::fmt;

use triad_model::ServerName;

use crate::primary;
use crate::replica;
use crate::view::{Database, Record, View};

/// What a server does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Hold,
    /// Receive from the primary of the record.
    Follow,
    /// A step on the way to a new primary.
    Promote(Promotion),
    /// Stop at once: another server is the primary.
    Demote,
    /// A step on the way to a smaller in-sync set.
    Degrade(Degrading),
    /// A step on the way to a larger one.
    Restore(Restoring),
    /// Start as a replica, without what was never acknowledged.
    Rejoin,
    /// Put the data aside and take the primary's.
    Reseed,
}

/// Steps to a new primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// Stop receiving, for this version of the record.
    Stop(u64),
    /// Apply what was received.
    Drain,
    /// Write this record, which must be the next one: it names this server.
    Claim(Record),
    /// Take writes: bar everybody who is not in the in-sync set, and wait for a replica if there is one in it.
    Open,
    /// Write this record, which must be the next one, and receive again.
    Release(Record),
}

/// Steps to a smaller in-sync set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Degrading {
    /// Cut this replica off, and do not let it in again.
    Bar(ServerName),
    /// Write this record, which must be the next one; then nobody is invited any more.
    Shrink(Record),
    /// Commit without waiting for anybody.
    StopWaiting,
}

/// Steps to a larger one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restoring {
    /// Let this replica in, which does not acknowledge.
    Admit(ServerName),
    /// Commit only what this replica acknowledges, which it is to do under this version of the record.
    WaitFor(ServerName, u64),
    /// Write this record, which must be the next one.
    Grow(Record),
}

/// A decision, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What is done.
    pub decision: Decision,
    /// A sentence without its full stop, for status and events.
    pub why: String,
}

impl Decided {
    pub(crate) fn new(decision: Decision, why: impl fmt::Display) -> Self {
        Self { decision, why: why.to_string() }
    }
}

/// What the server whose `view` this is does next.
pub fn decide(view: &View<'_>) -> Decided {
    let Some(record) = view.record else {
        let why = match view.database {
            Database::Stopped => "the record cannot be read, and nothing starts without it",
            Database::Primary { .. } => "the record cannot be read; what is acknowledged is safe without it",
            Database::Replica { .. } => "the record cannot be read, and nobody takes over without it",
        };
        return Decided::new(Decision::Hold, why);
    };
    match record.primary == *view.me {
        true => primary::decide(view, record),
        false => replica::decide(view, record),
    }
}
