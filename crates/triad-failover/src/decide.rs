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
    /// A step on the way to another primary that somebody wishes for.
    Yield(Yielding),
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
    /// Have this replica acknowledge, under this version of the record, though nobody waits for it yet.
    Invite(ServerName, u64),
    /// Commit only what the invited replica acknowledges.
    WaitFor(ServerName),
    /// Write this record, which must be the next one.
    Grow(Record),
}

/// Steps to another primary, while this one lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yielding {
    /// Refuse writes from now on, once those that are being committed are.
    Close,
    /// Write this record, which must be the next one: it names the successor, who has everything.
    Hand(Record),
    /// Take writes again.
    Reopen,
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
