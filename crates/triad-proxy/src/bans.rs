//! Who is banned: looked up at every new connection, and of open ones when there is a new list.
//!
//! A look-up costs one hash for each prefix length that is in use, of which lists of single clients have one or two.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use triad_model::{BANS_MAX, Ban, IpNet};

/// The list in force.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    table: ArcSwap<Table>,
    /// How many lists there were.
    version: AtomicU64,
}

/// Ends of bans, in milliseconds since 1970, under their networks; a map for each prefix length of a family.
#[derive(Debug, Default)]
struct Table(Vec<Prefix>);

#[derive(Debug)]
struct Prefix {
    is_ipv4: bool,
    length: u8,
    until_ms: HashMap<IpAddr, u64>,
}

/// The last list that a connection's client was looked up in and is not on. The first is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cleared(u64);

impl Bans {
    /// Whoever is in `bans`, up to [`BANS_MAX`], is banned from now on, and nobody else.
    pub fn set(&self, bans: &[Ban]) {
        self.table.store(Table::of(bans).into());
        self.version.fetch_add(1, Release);
    }

    /// How many networks are on the list.
    pub fn len(&self) -> u64 {
        self.table.load().0.iter().map(|prefix| prefix.until_ms.len() as u64).sum()
    }

    /// Whether `address` is banned. It is looked up only if it was not `cleared` by the list in force already.
    pub fn has(&self, address: IpAddr, cleared: &mut Cleared) -> bool {
        let version = self.version.load(Acquire);
        if cleared.0 == version {
            return false;
        }
        let is_banned = self.table.load().has(address);
        if !is_banned {
            cleared.0 = version;
        }
        is_banned
    }
}

impl Table {
    fn of(bans: &[Ban]) -> Self {
        let mut table = Self::default();
        for Ban { network, until_ms, .. } in bans.iter().take(BANS_MAX) {
            let (is_ipv4, length) = (matches!(network, IpNet::V4(_)), network.prefix_len());
            let position = table.0.iter().position(|prefix| (prefix.is_ipv4, prefix.length) == (is_ipv4, length));
            let position = position.unwrap_or_else(|| {
                table.0.push(Prefix { is_ipv4, length, until_ms: HashMap::new() });
                table.0.len() - 1
            });
            table.0[position].until_ms.insert(network.network(), *until_ms);
        }
        table
    }

    fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().filter(|prefix| prefix.is_ipv4 == address.is_ipv4()).any(|prefix| {
            let network = IpNet::new(address, prefix.length).map(|network| network.network());
            let until_ms = network.ok().and_then(|network| prefix.until_ms.get(&network));
            // The clock is looked at only for those who are on the list.
            until_ms.is_some_and(|until_ms| *until_ms > now_ms())
        })
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use triad_model::{Ban, ServerName};

    use super::{Bans, Cleared, now_ms};

    fn ban(network: &str, until_ms: u64) -> Ban {
        let by = ServerName::new("lb1").expect("a name");
        let network = network.parse().expect("a network");
        Ban { network, until_ms, since_ms: 0, by, reason: None, automatic: false }
    }

    #[test]
    fn addresses_and_networks_are_found_until_their_end() {
        let bans = Bans::default();
        let later = now_ms() + 3_600_000;
        let is_banned = |address: &str| bans.has(address.parse().expect("an address"), &mut Cleared::default());
        assert!(!is_banned("192.0.2.7"));
        let list = ["192.0.2.7/32", "198.51.100.0/24", "2001:db8:0:1::/64"].map(|network| ban(network, later));
        bans.set(&[list.as_slice(), &[ban("203.0.113.1/32", now_ms())]].concat());
        for address in ["192.0.2.7", "::ffff:192.0.2.7", "198.51.100.255", "2001:db8:0:1:ffff::1"] {
            assert!(is_banned(address), "{address}");
        }
        for address in ["192.0.2.8", "198.51.101.0", "2001:db8:0:2::1", "203.0.113.1"] {
            assert!(!is_banned(address), "{address}");
        }
        let mut cleared = Cleared::default();
        let client = "192.0.2.7".parse().expect("an address");
        assert!(bans.has(client, &mut cleared) && bans.has(client, &mut cleared), "however often it asks");
        bans.set(&[]);
        assert!(!bans.has(client, &mut cleared));
        bans.set(&list);
        assert!(bans.has(client, &mut cleared), "another list");
    }
}
