//! Who the primary is: what agents tell people of it.

use serde::{Deserialize, Serialize};

use crate::ServerName;

/// What a server knows of who is the primary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverReport {
    /// Grows with every new primary; 0 while nothing is known.
    pub epoch: u64,
    /// Grows with every change of the record.
    pub version: u64,
    /// By the record.
    pub primary: Option<ServerName>,
    /// Those that have every acknowledged write, together.
    pub in_sync: Vec<ServerName>,
    /// Whether a majority vouched for that within the last second.
    pub confirmed: bool,
    /// What this server does, and why.
    pub why: String,
    /// The end of what its database has: written, if it is the primary, else received.
    pub position: Option<u64>,
    /// Transactions of the primary that its database has yet to apply.
    pub behind: Option<u64>,
    /// The last time this server took over.
    pub last: Option<FailoverTimes>,
}

/// A failover as the server saw it that took over, in milliseconds since the primary looked dead to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverTimes {
    /// The epoch that ended.
    pub from_epoch: u64,
    /// Two servers agreed.
    pub agreed_ms: u64,
    /// Nobody could acknowledge any more.
    pub fenced_ms: u64,
    /// What was received was applied.
    pub drained_ms: u64,
    /// The record named this server.
    pub claimed_ms: u64,
    /// It took writes.
    pub opened_ms: u64,
}

/// Another server is to become the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchoverRequest {
    /// Which; `None`: one that has everything.
    pub to: Option<ServerName>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// It has become the primary, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switchover {
    /// Who was the primary.
    pub from: ServerName,
    /// Who is it now.
    pub to: ServerName,
    /// How long writes were held, in milliseconds; `None` if nothing was done.
    pub held_ms: Option<u64>,
}
