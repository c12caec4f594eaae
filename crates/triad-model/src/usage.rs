//! What clients used of their allowance at one front server, and hold open there, as it tells the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{IpNet, ServerName, client_network};

/// Clients named at one time, those that used the most first.
pub const USAGE_CLIENTS_MAX: usize = 256;
/// Requests that are believed of one client at one time: more than any edge answers in a quarter of a second.
pub const USAGE_REQUESTS_MAX: u32 = 100_000;
/// Requests of all clients that are believed of one front server at one time.
pub const SITE_REQUESTS_MAX: u32 = 1_000_000;
/// Connections that are believed of one client: as many as an edge may have of all.
pub const HELD_CONNECTIONS_MAX: u32 = 65_536;
/// Time for which a client's connections at another front server count after they were last told of, in milliseconds.
pub const HELD_VALID_MS: u64 = 1_500;

/// A client, and how many requests of it were passed on since it was last named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    pub client: IpNet,
    /// How many, never more than [`USAGE_REQUESTS_MAX`].
    pub requests: u32,
}

/// A client, and how many connections it has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    pub client: IpNet,
    /// How many, never more than [`HELD_CONNECTIONS_MAX`].
    pub connections: u32,
}

/// What an edge noticed since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noticed {
    /// Up to [`USAGE_CLIENTS_MAX`].
    pub used: Vec<Used>,
    /// All that have many connections open now, up to [`USAGE_CLIENTS_MAX`].
    pub held: Vec<Held>,
    /// Requests of all clients that were passed on, where those are limited.
    #[serde(default)]
    pub site: u32,
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
    /// Up to [`USAGE_CLIENTS_MAX`]; others have few connections there.
    #[serde(default)]
    pub held: Vec<Held>,
    /// Requests of all clients that were passed on since the news before, never more than [`SITE_REQUESTS_MAX`]; 0 where
    /// those are not limited.
    #[serde(default)]
    pub site: u32,
}

impl UsageNews {
    /// What tells nothing of `from`.
    pub fn nothing(from: ServerName) -> Self {
        Self { from, started_ms: 0, number: 0, used: Vec::new(), held: Vec::new(), site: 0 }
    }

    /// Whether it tells nothing.
    pub fn is_empty(&self) -> bool {
        self.used.is_empty() && self.held.is_empty() && self.site == 0
    }

    /// What of it can be: it is about single clients, and nobody says more than the bounds.
    #[must_use]
    pub fn believable(mut self) -> Self {
        self.used.retain(|one| is_client(one.client));
        self.used.truncate(USAGE_CLIENTS_MAX);
        self.used.iter_mut().for_each(|one| one.requests = one.requests.min(USAGE_REQUESTS_MAX));
        self.held.retain(|one| is_client(one.client));
        self.held.truncate(USAGE_CLIENTS_MAX);
        self.held.iter_mut().for_each(|one| one.connections = one.connections.min(HELD_CONNECTIONS_MAX));
        self.site = self.site.min(SITE_REQUESTS_MAX);
        self
    }
}

impl Noticed {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.used.is_empty() && self.held.is_empty() && self.offenders.is_empty() && self.site == 0
    }
}

/// Whether `network` is one client's.
pub fn is_client(network: IpNet) -> bool {
    client_network(network.addr()) == network
}

/// Which news of each server was heard last, so that what is repeated, or comes after what is newer, counts for nothing.
#[derive(Clone, Debug, Default)]
pub struct Heard(BTreeMap<ServerName, (u64, u64)>);

impl Heard {
    /// Whether `news` is news; only the first time it is.
    pub fn is_new(&mut self, news: &UsageNews) -> bool {
        let this = (news.started_ms, news.number);
        let last = self.0.entry(news.from.clone()).or_default();
        let is_new = this > *last;
        if is_new {
            *last = this;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        HELD_CONNECTIONS_MAX, Heard, Held, SITE_REQUESTS_MAX, USAGE_CLIENTS_MAX, USAGE_REQUESTS_MAX, UsageNews, Used,
    };
    use crate::ServerName;

    fn news(from: u8, started_ms: u64, number: u64) -> UsageNews {
        let from = ServerName::new(format!("lb{from}")).expect("a name");
        UsageNews { started_ms, number, ..UsageNews::nothing(from) }
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let claimed = |client: &str| client.parse().expect("a network");
        let clients =
            [vec![claimed("0.0.0.0/0"), claimed("2001:db8::/32")], vec![claimed("192.0.2.7/32"); 1000]].concat();
        let used = clients.iter().map(|client| Used { client: *client, requests: u32::MAX }).collect();
        let held = clients.iter().map(|client| Held { client: *client, connections: u32::MAX }).collect();
        let UsageNews { used, held, site, .. } = UsageNews { used, held, site: u32::MAX, ..news(1, 1, 1) }.believable();
        let client = claimed("192.0.2.7/32");
        assert_eq!(used, [Used { client, requests: USAGE_REQUESTS_MAX }; USAGE_CLIENTS_MAX]);
        assert_eq!(held, [Held { client, connections: HELD_CONNECTIONS_MAX }; USAGE_CLIENTS_MAX]);
        assert_eq!(site, SITE_REQUESTS_MAX);
    }

    #[test]
    fn a_new_life_of_a_sender_is_heard_from_its_beginning() {
        let mut heard = Heard::default();
        assert!(heard.is_new(&news(1, 100, 7)) && heard.is_new(&news(1, 200, 1)));
        assert!(!heard.is_new(&news(1, 100, 8)), "of a life before");
    }

    proptest! {
        /// Whatever is lost, repeated or late: nothing is heard twice, and what comes in order is heard.
        #[test]
        fn nothing_is_heard_twice(come in prop::collection::vec((1..3u8, 1..3u64, 1..9u64), 0..60)) {
            let mut heard = Heard::default();
            let mut before = std::collections::BTreeSet::<(u8, u64, u64)>::new();
            for (from, started_ms, number) in come {
                let is_new = heard.is_new(&news(from, started_ms, number));
                let newest = before.iter().filter(|(other, ..)| *other == from).map(|(_, life, number)| (*life, *number)).max();
                prop_assert_eq!(is_new, newest.is_none_or(|newest| (started_ms, number) > newest));
                before.insert((from, started_ms, number));
            }
        }
    }
}
