//! What clients may do: requests a second, of one and of all together, and connections at once of one. A client is an
//! IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets (RFC 6177).
//!
//! All workers share the table of clients, since a client's connections go to any of them; it is cut into shards whose
//! locks are held for a look-up. Its size is bounded: when a shard is full, who has nothing to its debit goes, then
//! anybody without connections. Clients that the other front servers should know of are noted in short lists. What those
//! say is a client's connections there counts here as well, for as long as they say it. What they passed on of all clients
//! is believed up to all but an equal part of the site's rate: that one stays with each front server, whatever others say.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use triad_model::{
    HELD_VALID_MS, Held, IpNet, Limits, Noticed, ServerName, USAGE_CLIENTS_MAX, UsageNews, Used, client_network,
};

use crate::rate::{Rate, SharedRate, Spent};

const SHARDS: usize = 16;
/// Clients known at one time in a shard.
const CLIENTS_PER_SHARD_MAX: usize = 4_096;
/// Clients of a shard that are noticed, for one reason, until somebody asks.
const NOTICED_PER_SHARD_MAX: usize = 64;
/// Part of what the rate gives in a second from which on it is noticed that a client used it: an eighth of what it gives
/// between two questions of the agent.
const NOTICEABLE_PART: u32 = 32;
/// Part of the connections that a client may have from which on it is noticed that it has them.
const NOTICEABLE_CONNECTIONS_PART: u32 = 8;
/// Time within which refusals are counted together.
const REFUSALS_TIME_NS: u64 = 60_000_000_000;

/// The limits of a site and who has used how much of them.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: Limits,
    /// Servers that these limits are shared by.
    fronts: u32,
    /// Of one client.
    rate: Option<Rate>,
    /// Of all.
    site: Option<SharedRate>,
    began: Instant,
    shards: [Mutex<Shard>; SHARDS],
    /// What each other front server said last; there are as many as the design has.
    elsewhere: Mutex<Vec<Elsewhere>>,
}

/// Clients' connections at another front server.
#[derive(Debug)]
struct Elsewhere {
    server: ServerName,
    until_ns: u64,
    connections: HashMap<u64, u32>,
}

#[derive(Debug, Default)]
struct Shard {
    clients: HashMap<u64, Client>,
    /// Who has used noticeably much.
    heavy: Vec<u64>,
    /// Who has noticeably many connections.
    holders: Vec<u64>,
    /// Who was refused too often.
    offenders: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Client {
    /// When it has nothing to its debit, in nanoseconds since the limiter began.
    even_at_ns: u64,
    connections: u32,
    /// Requests that passed since it was noticed.
    used: u32,
    is_heavy: bool,
    is_holder: bool,
    refusals: u32,
    /// When the first of them was.
    refused_since_ns: u64,
}

/// Whose allowance is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooMany {
    OfClient(Spent),
    OfSite(Spent),
}

/// A connection that counts as long as this lives.
#[derive(Debug)]
pub(crate) struct Admitted(Option<(Arc<Limiter>, u64)>);

impl Limiter {
    /// Nobody has used anything yet; the limits are those of `fronts` servers together.
    pub fn new(limits: Limits, fronts: u32) -> Self {
        Self {
            rate: limits.requests_per_s.map(|per_s| Rate::new(per_s, limits.burst)),
            site: limits.site_requests_per_s.map(|per_s| SharedRate::new(per_s, limits.site_burst, fronts)),
            fronts,
            limits,
            began: Instant::now(),
            shards: Default::default(),
            elsewhere: Mutex::default(),
        }
    }

    /// Whether it works by these `limits` of `fronts` servers.
    pub fn is_by(&self, limits: &Limits, fronts: u32) -> bool {
        self.limits == *limits && self.fronts == fronts
    }

    /// Counts a request of `address`. What its client is refused is not counted for the site.
    pub fn request(&self, address: IpAddr, now: Instant) -> Result<(), TooMany> {
        if self.rate.is_none() && self.site.is_none() || self.is_exempt(address) {
            return Ok(());
        }
        let now_ns = self.since_ns(now);
        if let Some(rate) = self.rate {
            let mut shard = self.shard(key(address));
            let client = shard.client(key(address), now_ns);
            match rate.take(client.even_at_ns, now_ns) {
                Ok(even_at_ns) => {
                    client.even_at_ns = even_at_ns;
                    shard.note_use(key(address), self.limits.requests_per_s.unwrap_or(0) / NOTICEABLE_PART);
                }
                Err(spent) => {
                    shard.note_refusal(key(address), now_ns, self.limits.ban_after);
                    return Err(TooMany::OfClient(spent));
                }
            }
        }
        self.site.as_ref().map_or(Ok(()), |site| site.take(now_ns)).map_err(TooMany::OfSite)
    }

    /// Counts a connection of `address`; `None` if it has as many as it may, here and elsewhere.
    pub fn connect(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Admitted> {
        let Some(max) = self.limits.connections.filter(|_| !self.is_exempt(address)) else {
            return Some(Admitted(None));
        };
        let now_ns = self.since_ns(now);
        let elsewhere = self.elsewhere(key(address), now_ns);
        let mut shard = self.shard(key(address));
        let client = shard.client(key(address), now_ns);
        if client.connections.saturating_add(elsewhere) >= max {
            return None;
        }
        client.connections += 1;
        shard.note_connections(key(address), noticeable_connections(max));
        Some(Admitted(Some((self.clone(), key(address)))))
    }

    /// Counts a request of `address` that was refused for what it was.
    pub fn malformed(&self, address: IpAddr, now: Instant) {
        if self.limits.ban_after.is_some() && !self.is_exempt(address) {
            let now_ns = self.since_ns(now);
            let mut shard = self.shard(key(address));
            shard.client(key(address), now_ns);
            shard.note_refusal(key(address), now_ns, self.limits.ban_after);
        }
    }

    /// Who used noticeably much, and who was refused too often, since this was asked last; and who has many connections.
    pub fn noticed(&self) -> Noticed {
        let mut noticed = Noticed { site: self.site.as_ref().map_or(0, SharedRate::tell), ..Noticed::default() };
        let noticeable = noticeable_connections(self.limits.connections.unwrap_or(u32::MAX));
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let Shard { clients, heavy, holders, offenders } = &mut *shard;
            for key in heavy.drain(..) {
                let Some(client) = clients.get_mut(&key) else { continue };
                client.is_heavy = false;
                noticed.used.push(Used { client: network(key), requests: std::mem::take(&mut client.used) });
            }
            holders.retain(|key| {
                let Some(client) = clients.get_mut(key) else { return false };
                client.is_holder = client.connections >= noticeable;
                noticed
                    .held
                    .extend(client.is_holder.then(|| Held { client: network(*key), connections: client.connections }));
                client.is_holder
            });
            noticed.offenders.extend(offenders.drain(..).map(network));
        }
        noticed.used.sort_by_key(|used| std::cmp::Reverse(used.requests));
        noticed.used.truncate(USAGE_CLIENTS_MAX);
        noticed.held.sort_by_key(|held| std::cmp::Reverse(held.connections));
        noticed.held.truncate(USAGE_CLIENTS_MAX);
        noticed.offenders.truncate(USAGE_CLIENTS_MAX);
        noticed
    }

    /// Heeds what another front server says: clients' connections there, all of them, and what they used.
    pub fn hear(&self, news: &UsageNews, now: Instant) {
        self.debit(&news.used, now);
        if let Some(site) = &self.site {
            site.hear(self.since_ns(now), news.site);
        }
        if self.limits.connections.is_none() {
            return;
        }
        let connections = news.held.iter().take(USAGE_CLIENTS_MAX);
        let said = Elsewhere {
            server: news.from.clone(),
            until_ns: self.since_ns(now) + HELD_VALID_MS * 1_000_000,
            connections: connections.map(|held| (key(held.client.addr()), held.connections)).collect(),
        };
        let mut elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        elsewhere.retain(|other| other.server != said.server);
        elsewhere.push(said);
    }

    /// A client's connections at other front servers.
    fn elsewhere(&self, key: u64, now_ns: u64) -> u32 {
        let elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        let counts =
            elsewhere.iter().filter(|said| said.until_ns > now_ns).filter_map(|said| said.connections.get(&key));
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Puts to clients' debit what they used at other edges.
    fn debit(&self, used: &[Used], now: Instant) {
        let Some(rate) = self.rate else { return };
        let now_ns = self.since_ns(now);
        for Used { client, requests } in used.iter().take(USAGE_CLIENTS_MAX) {
            let address = client.addr();
            if !self.is_exempt(address) {
                let mut shard = self.shard(key(address));
                let client = shard.client(key(address), now_ns);
                client.even_at_ns = rate.debit(client.even_at_ns, now_ns, *requests);
            }
        }
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        self.limits.exempt.iter().any(|network: &IpNet| network.contains(&address))
    }

    /// Overflows in five hundred years.
    fn since_ns(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_nanos() as u64
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        // The low bits of an IPv4 address, those of the network of an IPv6 one: both differ between neighbours.
        let shard = &self.shards[(key ^ key >> 16) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Some((limiter, key)) = self.0.take() else { return };
        if let Some(client) = limiter.shard(key).clients.get_mut(&key) {
            client.connections = client.connections.saturating_sub(1);
        }
    }
}

/// Connections from which on a client that may have `max` is noticed.
fn noticeable_connections(max: u32) -> u32 {
    (max / NOTICEABLE_CONNECTIONS_PART).max(1)
}

/// A client's number: an IPv4 address, or the upper half of an IPv6 one, whose lowest networks are not in use.
fn key(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

/// The client with this number.
fn network(key: u64) -> IpNet {
    match u32::try_from(key) {
        Ok(bits) => client_network(Ipv4Addr::from_bits(bits).into()),
        Err(_) => client_network(Ipv6Addr::from_bits(u128::from(key) << 64).into()),
    }
}

impl Shard {
    fn client(&mut self, key: u64, now_ns: u64) -> &mut Client {
        if self.clients.len() >= CLIENTS_PER_SHARD_MAX && !self.clients.contains_key(&key) {
            self.make_room(now_ns);
        }
        self.clients.entry(key).or_default()
    }

    /// Looking through all of them is worth it for room for many.
    fn make_room(&mut self, now_ns: u64) {
        self.clients.retain(|_, client| client.connections > 0 || client.even_at_ns > now_ns);
        let mut surplus = self.clients.len().saturating_sub(CLIENTS_PER_SHARD_MAX / 8 * 7);
        self.clients.retain(|_, client| {
            let goes = surplus > 0 && client.connections == 0;
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// A request of the client passed.
    fn note_use(&mut self, key: u64, noticeable: u32) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        client.used = client.used.saturating_add(1);
        if client.used >= noticeable && !client.is_heavy && self.heavy.len() < NOTICED_PER_SHARD_MAX {
            client.is_heavy = true;
            self.heavy.push(key);
        }
    }

    /// The client has one connection more.
    fn note_connections(&mut self, key: u64, noticeable: u32) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        if client.connections >= noticeable && !client.is_holder && self.holders.len() < NOTICED_PER_SHARD_MAX {
            client.is_holder = true;
            self.holders.push(key);
        }
    }

    /// A request of the client was refused.
    fn note_refusal(&mut self, key: u64, now_ns: u64, ban_after: Option<u32>) {
        let (Some(max), Some(client)) = (ban_after, self.clients.get_mut(&key)) else { return };
        if client.refusals == 0 || now_ns.saturating_sub(client.refused_since_ns) > REFUSALS_TIME_NS {
            (client.refusals, client.refused_since_ns) = (0, now_ns);
        }
        client.refusals += 1;
        if client.refusals >= max && self.offenders.len() < NOTICED_PER_SHARD_MAX {
            client.refusals = 0;
            self.offenders.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;
    use triad_model::{HELD_VALID_MS, Limits, Noticed, ServerName, USAGE_CLIENTS_MAX, UsageNews};

    use super::{CLIENTS_PER_SHARD_MAX, Limiter, NOTICED_PER_SHARD_MAX, SHARDS, TooMany};

    fn limiter(requests_per_s: u32, burst: u32, connections: u32) -> Arc<Limiter> {
        let limits = Limits {
            requests_per_s: Some(requests_per_s),
            burst,
            connections: Some(connections),
            exempt: vec!["198.51.100.0/24".parse().expect("a network")],
            ..Limits::default()
        };
        Arc::new(Limiter::new(limits, 2))
    }

    /// Seconds after which a client that was refused may ask again.
    fn wait(outcome: Result<(), TooMany>) -> Option<u32> {
        match outcome {
            Err(TooMany::OfClient(spent) | TooMany::OfSite(spent)) => Some(spent.retry_after_s()),
            Ok(()) => None,
        }
    }

    fn client(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        let limiter = limiter(10, 5, 1);
        let at = |ms| limiter.began + Duration::from_millis(ms);
        for _ in 0..5 {
            assert_eq!(limiter.request(client(1), at(0)), Ok(()));
        }
        assert_eq!(wait(limiter.request(client(1), at(0))), Some(1));
        assert_eq!(limiter.request(client(2), at(0)), Ok(()), "another client");
        assert_eq!(limiter.request(client(1), at(100)), Ok(()), "a tenth of a second brings one request back");
        assert_eq!(wait(limiter.request(client(1), at(100))), Some(1));
        assert_eq!(
            (0..9).filter(|_| limiter.request(client(1), at(60_000)).is_ok()).count(),
            5,
            "no more than a burst"
        );
    }

    #[test]
    fn connections_count_while_they_are_open() {
        let limiter = limiter(1, 1, 2);
        let connect = |address| limiter.connect(address, limiter.began);
        let (first, second) = (connect(client(1)), connect(client(1)));
        assert!(first.is_some() && second.is_some() && connect(client(1)).is_none());
        drop(first);
        assert!(connect(client(1)).is_some());
        let exempt = Ipv4Addr::new(198, 51, 100, 9).into();
        assert!((0..9).map(|_| connect(exempt)).all(|admitted| admitted.is_some()));
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let limiter = limiter(1, 1, 1);
        let address = |network, host| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host));
        assert_eq!(limiter.request(address(1, 1), limiter.began), Ok(()));
        assert!(limiter.request(address(1, 2), limiter.began).is_err());
        assert_eq!(limiter.request(address(2, 1), limiter.began), Ok(()));
        let mapped = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into();
        assert_eq!(limiter.request(mapped, limiter.began), Ok(()));
        assert!(limiter.request(client(1), limiter.began).is_err(), "the same, however it is written");
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_forgets_nobody_who_is_connected() {
        let limiter = limiter(1, 1, 1);
        let _open = limiter.connect(client(1), limiter.began).expect("admitted");
        for number in 0..4 * (SHARDS * CLIENTS_PER_SHARD_MAX) as u32 {
            let _ = limiter.request(Ipv4Addr::from_bits(0x0a00_0000 + number).into(), limiter.began);
        }
        let known: usize = limiter.shards.iter().map(|shard| shard.lock().expect("free").clients.len()).sum();
        assert!(known <= SHARDS * CLIENTS_PER_SHARD_MAX, "{known}");
        assert!(limiter.connect(client(1), limiter.began).is_none());
    }

    #[test]
    fn the_site_has_an_allowance_that_refused_clients_do_not_use() {
        let limits = Limits { requests_per_s: Some(1), burst: 2, ..Limits::default() };
        let limits = Limits { site_requests_per_s: Some(1), site_burst: 3, ..limits };
        let limiter = Limiter::new(limits, 1);
        let pass = |number| limiter.request(client(number), limiter.began);
        assert!(pass(1).is_ok() && pass(1).is_ok());
        assert!((0..9).all(|_| matches!(pass(1), Err(TooMany::OfClient(_)))));
        assert!(pass(2).is_ok());
        assert!(matches!(pass(3), Err(TooMany::OfSite(_))));
    }

    #[test]
    fn who_uses_much_is_noticed_once_and_who_uses_little_only_when_it_adds_up() {
        let limiter = limiter(320, 1_000, 1);
        let ask = |last, times| (0..times).for_each(|_| assert!(limiter.request(client(last), limiter.began).is_ok()));
        let noticed = || -> Vec<(String, u32)> {
            limiter.noticed().used.iter().map(|used| (used.client.to_string(), used.requests)).collect()
        };
        [(1, 9), (2, 10), (3, 30)].into_iter().for_each(|(last, times)| ask(last, times));
        assert_eq!(noticed(), [("192.0.2.3/32".to_owned(), 30), ("192.0.2.2/32".to_owned(), 10)]);
        ask(1, 1);
        assert_eq!(noticed(), [("192.0.2.1/32".to_owned(), 10)]);
        assert!(noticed().is_empty());
    }

    #[test]
    fn a_flood_of_heavy_clients_is_named_up_to_the_bound() {
        let limiter = limiter(1, 1, 1);
        for number in 0..4 * (SHARDS * NOTICED_PER_SHARD_MAX) as u32 {
            let _ = limiter.request(Ipv4Addr::from_bits(0x0a00_0000 + number).into(), limiter.began);
        }
        assert_eq!(limiter.noticed().used.len(), USAGE_CLIENTS_MAX);
        let ipv6 = "2001:db8:0:1::9".parse().expect("an address");
        let _ = limiter.request(ipv6, limiter.began);
        let named: Vec<_> = limiter.noticed().used.iter().map(|used| used.client.to_string()).collect();
        assert_eq!(named, ["2001:db8:0:1::/64"]);
    }

    #[test]
    fn refusals_within_a_minute_make_an_offender() {
        let limits = Limits { requests_per_s: Some(1), burst: 1, ban_after: Some(3), ..Limits::default() };
        let limiter = Limiter::new(limits, 1);
        let at = |s| limiter.began + Duration::from_secs(s);
        let offenders = || limiter.noticed().offenders.len();
        assert_eq!((0..3).filter(|_| limiter.request(client(1), at(0)).is_ok()).count(), 1);
        assert_eq!(offenders(), 0, "one passed, two were refused");
        limiter.malformed(client(1), at(59));
        assert_eq!((offenders(), offenders()), (1, 0));
        [0, 50, 100, 150].into_iter().for_each(|s| limiter.malformed(client(2), at(s)));
        assert_eq!(offenders(), 0, "not within a minute");
    }

    /// What a front server says that noticed this.
    fn news(noticed: Noticed) -> UsageNews {
        let from = ServerName::new("lb2").expect("a name");
        let Noticed { used, held, site, .. } = noticed;
        UsageNews { from, started_ms: 1, number: 1, used, held, site }
    }

    #[test]
    fn connections_at_another_front_count_as_long_as_they_are_told() {
        let [here, there] = [limiter(1, 1, 8), limiter(1, 1, 8)];
        let connect = |edge: &Arc<Limiter>, count: usize, ms| {
            let at = edge.began + Duration::from_millis(ms);
            (0..count).map_while(|_| edge.connect(client(1), at)).collect::<Vec<_>>()
        };
        let tell = |ms| here.hear(&news(there.noticed()), here.began + Duration::from_millis(ms));

        let mut open = connect(&there, 5, 0);
        tell(0);
        let own = connect(&here, 8, 0);
        assert_eq!(own.len(), 3, "8, less 5 elsewhere");
        open.truncate(2);
        tell(100);
        assert_eq!(connect(&here, 8, 100).len(), 3, "three were closed there");
        assert!(connect(&here, 8, 100 + HELD_VALID_MS - 1).len() < 5);
        assert_eq!(connect(&here, 8, 100 + HELD_VALID_MS).len(), 5, "nothing is told of it any more");
        drop(open);
        assert!(there.noticed().held.is_empty());
    }

    #[test]
    fn only_who_has_an_eighth_of_the_connections_is_told_of() {
        let limiter = limiter(1, 1, 80);
        let open =
            |last, count| (0..count).filter_map(|_| limiter.connect(client(last), limiter.began)).collect::<Vec<_>>();
        let (_few, _many) = (open(1, 9), open(2, 10));
        let held: Vec<_> =
            limiter.noticed().held.iter().map(|held| (held.client.to_string(), held.connections)).collect();
        assert_eq!(held, [("192.0.2.2/32".to_owned(), 10)]);
        assert_eq!(limiter.noticed().held.len(), 1, "as long as it has them");
    }

    /// Requests of one client that pass in ten seconds at two edges, of which each hears what the other saw.
    fn pass_at_two(share: bool) -> usize {
        let edges = [limiter(20, 10, 1), limiter(20, 10, 1)];
        let mut passed = 0;
        for ms in 0..10_000u64 {
            let at = |edge: &Limiter| edge.began + Duration::from_millis(ms);
            passed += edges.iter().filter(|edge| edge.request(client(1), at(edge)).is_ok()).count();
            if share && ms % 250 == 0 {
                let [first, second] = [edges[0].noticed(), edges[1].noticed()];
                edges[0].debit(&second.used, at(&edges[0]));
                edges[1].debit(&first.used, at(&edges[1]));
            }
        }
        passed
    }

    #[test]
    fn two_edges_that_tell_each_other_pass_what_one_would() {
        let one = 10 + 20 * 10;
        assert!(pass_at_two(false) >= 2 * one - 10, "alone each passes the whole rate: {}", pass_at_two(false));
        // Both pass a burst before they hear of each other; that is paid back.
        let passed = pass_at_two(true);
        assert!((one - 20..=one + 20).contains(&passed), "{passed} for {one}");
    }

    const SITE_PER_S: u32 = 100;
    const SITE_BURST: u32 = 20;
    const SECONDS: u64 = 20;

    /// Of a site's rate that as many edges share: how many requests a second of each edge's `demand_per_s` pass, after the
    /// first second. Four times a second each tells the others, if anything, what `says` makes of the truth.
    fn site_passes<const N: usize>(demand_per_s: [u64; N], says: Option<fn(usize, u32) -> u32>) -> [u64; N] {
        let limits = Limits { site_requests_per_s: Some(SITE_PER_S), site_burst: SITE_BURST, ..Limits::default() };
        let edges = [(); N].map(|()| Limiter::new(limits.clone(), N as u32));
        let (mut due, mut passed) = ([0; N], [0; N]);
        for ms in 0..SECONDS * 1_000 {
            for (index, edge) in edges.iter().enumerate() {
                due[index] += demand_per_s[index];
                while due[index] >= 1_000 {
                    due[index] -= 1_000;
                    let passes = edge.request(client(1), edge.began + Duration::from_millis(ms)).is_ok();
                    passed[index] += u64::from(passes && ms >= 1_000);
                }
            }
            let Some(says) = says.filter(|_| ms % 250 == 0) else { continue };
            let all = edges.each_ref().map(|edge| edge.noticed());
            for (from, noticed) in all.iter().enumerate() {
                let said = news(Noticed { site: says(from, noticed.site), ..noticed.clone() });
                let others = edges.iter().enumerate().filter(|(to, _)| *to != from);
                others.for_each(|(_, edge)| edge.hear(&said, edge.began + Duration::from_millis(ms)));
            }
        }
        passed.map(|count| count / (SECONDS - 1))
    }

    #[test]
    fn all_edges_together_pass_what_the_site_may_and_who_needs_less_leaves_it_to_the_others() {
        let truth: Option<fn(usize, u32) -> u32> = Some(|_, count| count);
        let whole = u64::from(SITE_PER_S);
        let near = |it: u64, due: u64| it.abs_diff(due) <= whole / 10;
        assert_eq!(site_passes([300, 300], None), [whole; 2], "alone each passes the whole rate");
        for demand in [[300, 300], [900, 100]] {
            let passed = site_passes(demand, truth);
            assert!(near(passed[0] + passed[1], whole) && near(passed[0], whole / 2), "{demand:?}: {passed:?}");
        }
        let passed = site_passes([300, 20], truth);
        assert!(near(passed[0], whole - 20) && near(passed[1], 20), "{passed:?}");
        assert_eq!(site_passes([300, 0, 0], truth)[0], whole);
        let passed = site_passes([300, 10, 300], truth);
        assert!(near(passed.iter().sum(), whole) && near(passed[1], 10), "{passed:?}");
    }

    #[test]
    fn one_that_lies_leaves_every_other_its_part() {
        let passed = site_passes([300, 300, 300], Some(|from, count| if from == 0 { u32::MAX } else { count }));
        let part = u64::from(SITE_PER_S) / 3;
        assert!(passed[1] >= part && passed[2] >= part, "{passed:?}");
    }

    proptest! {
        /// However requests come, in any time no more pass than a burst and what the rate gives in it.
        #[test]
        fn no_more_pass_than_burst_and_rate(
            gaps_ms in prop::collection::vec(0u64..200, 1..200), rate in 1u32..50, burst in 1u32..20,
        ) {
            let limiter = limiter(rate, burst, 1);
            let (mut at_ms, mut passed) = (0, Vec::new());
            for gap_ms in gaps_ms {
                at_ms += gap_ms;
                if limiter.request(client(1), limiter.began + Duration::from_millis(at_ms)).is_ok() {
                    passed.push(at_ms);
                }
            }
            for (index, from_ms) in passed.iter().enumerate() {
                for (count, to_ms) in passed[index..].iter().enumerate() {
                    let due = f64::from(burst) + (to_ms - from_ms) as f64 / 1_000.0 * f64::from(rate);
                    prop_assert!((count + 1) as f64 <= due + 1.0, "{} in {} ms", count + 1, to_ms - from_ms);
                }
            }
        }
    }
}
