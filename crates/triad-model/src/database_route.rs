use serde::{Deserialize, Serialize};

use crate::ServerName;

/// Where the database takes what, as its servers have agreed: what an edge's relay goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseRoute {
    /// Grows whenever there is another primary. What an older one says is of no account.
    pub epoch: u64,
    /// Who takes writes. `None`: nobody does at this moment, new connections are held. Those that are open with the
    /// primary of the same epoch may stay; those of an older epoch are cut.
    pub primary: Option<ServerName>,
    /// Replicas that answer and whose lag is under the bound.
    #[serde(default)]
    pub readable: Vec<ServerName>,
}
