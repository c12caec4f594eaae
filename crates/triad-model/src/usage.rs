//! What clients used of their allowance at one front server, as it tells the others.

use serde::{Deserialize, Serialize};

use crate::{IpNet, ServerName};

/// Clients named at one time, those that used the most first.
pub const USAGE_CLIENTS_MAX: usize = 256;
/// Requests that are believed of one client at one time: more than any edge answers in a quarter of a second.
pub const USAGE_REQUESTS_MAX: u32 = 100_000;

/// A client, and how many requests of it were passed on since it was last named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    pub client: IpNet,
    /// How many, never more than [`USAGE_REQUESTS_MAX`].
    pub requests: u32,
}

/// What an edge noticed since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noticed {
    /// Up to [`USAGE_CLIENTS_MAX`].
    pub used: Vec<Used>,
    /// Clients that were refused so often that they are to be banned, up to [`USAGE_CLIENTS_MAX`].
    pub offenders: Vec<IpNet>,
}

/// What one front server's agent tells the others'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageNews {
    /// The server.
    pub from: ServerName,
    /// When its agent started, in milliseconds since 1970.
    pub started_ms: u64,
    /// Which of that agent's news this is; each is greater than those before.
    pub number: u64,
    /// Up to [`USAGE_CLIENTS_MAX`].
    pub used: Vec<Used>,
}

impl Noticed {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.used.is_empty() && self.offenders.is_empty()
    }
}

/// `used` as far as it can be: nobody says more than the bounds.
pub fn believable(mut used: Vec<Used>) -> Vec<Used> {
    used.truncate(USAGE_CLIENTS_MAX);
    used.iter_mut().for_each(|one| one.requests = one.requests.min(USAGE_REQUESTS_MAX));
    used
}
