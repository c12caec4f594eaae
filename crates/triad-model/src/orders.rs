//! What was said to the front servers while they run, as they pass it on to each other: of each subject the last word.
//!
//! Invariants: merging is commutative, associative and idempotent, so it does not matter in which order, how often and by
//! which way a word arrives; a word that was replaced never comes back, not even from a server that was away; there are
//! never more than [`BANS_MAX`] words of bans.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::{Maintenance, ServerName};

/// Networks that words are kept of at one time.
pub const BANS_MAX: usize = 4096;
/// Time for which a client is banned unless something else is said, in seconds.
pub const BAN_S: u64 = 3600;
/// Longest time, in seconds: a year.
pub const BAN_S_MAX: u64 = 365 * 24 * 3600;
/// Longest reason, in bytes.
pub const BAN_REASON_BYTES_MAX: usize = 200;

/// Something that was said. The greater time wins; of the same time the greater name of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said<T> {
    /// When, in milliseconds since 1970, but always later than what was known there to be said before.
    pub at_ms: u64,
    /// To whose agent.
    pub by: ServerName,
    /// What.
    pub what: T,
}

/// What was said of a network's clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanWord {
    /// The ban's end, in milliseconds since 1970; `None`: they are not banned any more.
    pub until_ms: Option<u64>,
    /// Until when the word is kept, so that it still wins over the one that it replaced.
    pub keep_until_ms: u64,
    /// Why, in an operator's words.
    pub reason: Option<String>,
    /// An edge said it, for what the client did.
    pub automatic: bool,
}

/// The last words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Whether users are turned away; `None`: nothing was ever said.
    pub maintenance: Option<Said<Option<Maintenance>>>,
    /// Who is banned.
    pub bans: BTreeMap<IpNet, Said<BanWord>>,
}

/// A ban that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanRequest {
    /// Whom.
    pub network: IpNet,
    /// For how long, in seconds.
    pub for_s: u64,
    /// Why.
    pub reason: Option<String>,
}

/// A ban in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Whom.
    pub network: IpNet,
    /// Its end, in milliseconds since 1970.
    pub until_ms: u64,
    /// When it was said, in milliseconds since 1970.
    pub since_ms: u64,
    /// To whose agent.
    pub by: ServerName,
    /// Why.
    pub reason: Option<String>,
    /// For what the client did, without an operator.
    pub automatic: bool,
}

/// Why a ban cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBan {
    /// It ends at once, or never.
    #[error("a ban is for 1 second to 365 days")]
    Time,
    /// Its reason cannot be printed.
    #[error("a reason is 1 to {BAN_REASON_BYTES_MAX} bytes of text on one line")]
    Reason,
    /// The table is full.
    #[error("{BANS_MAX} networks are banned or were until now; ban larger networks, or wait until some of them end")]
    Full,
    /// There is nothing to end.
    #[error("{0} is not banned; `triad bans` shows who is")]
    NotBanned(IpNet),
}

/// The client that `address` belongs to: the address itself, or the 64 bits of network that one customer has of IPv6.
pub fn client_network(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Net::from(address).into(),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() >> 64 << 64);
            Ipv6Net::new(network, 64).unwrap_or_else(|_| network.into()).into()
        }
    }
}

impl BanRequest {
    /// Whether it can be said.
    pub fn check(&self) -> Result<(), InvalidBan> {
        if !(1..=BAN_S_MAX).contains(&self.for_s) {
            return Err(InvalidBan::Time);
        }
        let fits = |text: &str| {
            !text.trim().is_empty() && text.len() <= BAN_REASON_BYTES_MAX && !text.contains(char::is_control)
        };
        if self.reason.as_deref().is_none_or(fits) { Ok(()) } else { Err(InvalidBan::Reason) }
    }
}

impl<T> Said<T> {
    fn is_after(&self, other: &Self) -> bool {
        (self.at_ms, &self.by) > (other.at_ms, &other.by)
    }
}

impl Orders {
    /// Takes over what was said later than what is known here.
    pub fn merge(&mut self, other: Self) {
        if let Some(word) = other.maintenance
            && self.maintenance.as_ref().is_none_or(|known| word.is_after(known))
        {
            self.maintenance = Some(word);
        }
        for (network, word) in other.bans {
            let known = self.bans.get(&network);
            if known.is_none_or(|known| word.is_after(known)) {
                self.bans.insert(network, word);
            }
        }
        self.shrink();
    }

    /// Forgets what nobody can hold against another word any more at `now_ms`.
    pub fn purge(&mut self, now_ms: u64) {
        self.bans.retain(|_, word| word.what.keep_until_ms > now_ms);
    }

    /// The time of the last word.
    pub fn last_ms(&self) -> u64 {
        let maintenance = self.maintenance.as_ref().map_or(0, |word| word.at_ms);
        self.bans.values().map(|word| word.at_ms).fold(maintenance, u64::max)
    }

    /// Whether users are turned away.
    pub fn closed(&self) -> Option<&Maintenance> {
        self.maintenance.as_ref()?.what.as_ref()
    }

    /// The bans that are in force at `now_ms`.
    pub fn banned(&self, now_ms: u64) -> impl Iterator<Item = Ban> {
        self.bans.iter().filter_map(move |(network, Said { at_ms, by, what })| {
            let until_ms = what.until_ms.filter(|until_ms| *until_ms > now_ms)?;
            let BanWord { reason, automatic, .. } = what.clone();
            Some(Ban { network: *network, until_ms, since_ms: *at_ms, by: by.clone(), reason, automatic })
        })
    }

    /// The word, said at `now_ms` to the agent of `by`, that users are turned away or let in.
    pub fn say_maintenance(&self, order: Option<Maintenance>, by: &ServerName, now_ms: u64) -> Self {
        Self { maintenance: Some(self.say(order, by, now_ms)), bans: BTreeMap::new() }
    }

    /// The word that clients are banned.
    pub fn say_ban(&self, ban: BanRequest, automatic: bool, by: &ServerName, now_ms: u64) -> Result<Self, InvalidBan> {
        ban.check()?;
        let known = self.bans.get(&ban.network);
        if known.is_none() && self.bans.len() >= BANS_MAX {
            return Err(InvalidBan::Full);
        }
        let until_ms = now_ms.saturating_add(ban.for_s * 1000);
        let keep_until_ms = known.map_or(until_ms, |known| known.what.keep_until_ms.max(until_ms));
        let word = BanWord { until_ms: Some(until_ms), keep_until_ms, reason: ban.reason, automatic };
        Ok(self.say_of(ban.network, word, by, now_ms))
    }

    /// The word that they are not any more.
    pub fn say_unban(&self, network: IpNet, by: &ServerName, now_ms: u64) -> Result<Self, InvalidBan> {
        let known = self.bans.get(&network).filter(|known| known.what.until_ms.is_some_and(|until| until > now_ms));
        let Some(known) = known else { return Err(InvalidBan::NotBanned(network)) };
        let keep_until_ms = known.what.keep_until_ms;
        let word = BanWord { until_ms: None, keep_until_ms, reason: None, automatic: false };
        Ok(self.say_of(network, word, by, now_ms))
    }

    fn say_of(&self, network: IpNet, word: BanWord, by: &ServerName, now_ms: u64) -> Self {
        Self { maintenance: None, bans: [(network, self.say(word, by, now_ms))].into() }
    }

    fn say<T>(&self, what: T, by: &ServerName, now_ms: u64) -> Said<T> {
        Said { at_ms: now_ms.max(self.last_ms().saturating_add(1)), by: by.clone(), what }
    }

    /// Edges' words go first, of them those that end first.
    fn shrink(&mut self) {
        let surplus = self.bans.len().saturating_sub(BANS_MAX);
        if surplus == 0 {
            return;
        }
        let rank =
            |(network, word): (&IpNet, &Said<BanWord>)| (!word.what.automatic, word.what.keep_until_ms, *network);
        let mut ranks: Vec<_> = self.bans.iter().map(rank).collect();
        ranks.sort();
        for (_, _, network) in &ranks[..surplus] {
            self.bans.remove(network);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BAN_S_MAX, BANS_MAX, BanRequest, InvalidBan, Orders, client_network};
    use crate::{Maintenance, ServerName};

    fn name(text: &str) -> ServerName {
        ServerName::new(text).expect("a name")
    }

    fn ban(network: &str, for_s: u64) -> BanRequest {
        BanRequest { network: network.parse().expect("a network"), for_s, reason: None }
    }

    fn banned(orders: &Orders, now_ms: u64) -> Vec<String> {
        orders.banned(now_ms).map(|ban| ban.network.to_string()).collect()
    }

    #[test]
    fn a_ban_ends_by_itself_and_by_a_word() {
        let mut orders = Orders::default();
        for network in ["192.0.2.7/32", "2001:db8::/64"] {
            orders.merge(orders.say_ban(ban(network, 10), false, &name("lb1"), 1_000).expect("a ban"));
        }
        assert_eq!(banned(&orders, 10_999), ["192.0.2.7/32", "2001:db8::/64"]);
        assert!(banned(&orders, 11_000).is_empty());
        let network = "192.0.2.7/32".parse().expect("a network");
        orders.merge(orders.say_unban(network, &name("lb1"), 2_000).expect("it is banned"));
        assert_eq!(banned(&orders, 2_000), ["2001:db8::/64"]);
        assert_eq!(orders.say_unban(network, &name("lb1"), 2_000), Err(InvalidBan::NotBanned(network)));
        orders.purge(11_000);
        assert!(orders.bans.is_empty());
    }

    #[test]
    fn a_word_is_later_than_all_that_were_known_whatever_the_clock_says() {
        let mut orders = Orders::default();
        orders.merge(orders.say_maintenance(Some(Maintenance::default()), &name("lb1"), 9_000));
        orders.merge(orders.say_maintenance(None, &name("lb1"), 5_000));
        assert_eq!(orders.closed(), None);
    }

    #[test]
    fn a_server_that_was_away_does_not_bring_back_what_was_replaced() {
        let long = Orders::default().say_ban(ban("192.0.2.7/32", 100), false, &name("lb1"), 0).expect("a ban");
        let mut here = long.clone();
        here.merge(here.say_ban(ban("192.0.2.7/32", 1), false, &name("lb1"), 10).expect("a shorter one"));
        here.purge(50_000);
        here.merge(long);
        assert!(banned(&here, 50_000).is_empty(), "the shorter one has ended, the longer one was taken back");
    }

    #[test]
    fn what_cannot_be_said() {
        let say = |ban| Orders::default().say_ban(ban, false, &name("lb1"), 0);
        for for_s in [0, BAN_S_MAX + 1] {
            assert_eq!(say(ban("192.0.2.7/32", for_s)), Err(InvalidBan::Time));
        }
        for reason in ["", " ", "two\nlines", &"a".repeat(201)] {
            let reason = Some(reason.to_owned());
            assert_eq!(say(BanRequest { reason, ..ban("192.0.2.7/32", 1) }), Err(InvalidBan::Reason));
        }
    }

    #[test]
    fn the_table_is_bounded_and_keeps_operators_words() {
        let mut orders = Orders::default();
        for number in 0..=BANS_MAX as u32 {
            let network = client_network(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into());
            let request = BanRequest { network, for_s: 60, reason: None };
            let automatic = number % 2 == 0;
            let said = Orders::default().say_ban(request.clone(), automatic, &name("lb1"), 0).expect("a ban");
            if number == BANS_MAX as u32 {
                assert_eq!(orders.say_ban(request, true, &name("lb1"), 0), Err(InvalidBan::Full));
            }
            orders.merge(said);
        }
        assert_eq!(orders.bans.len(), BANS_MAX);
        assert_eq!(orders.banned(0).filter(|ban| !ban.automatic).count(), BANS_MAX / 2);
    }

    #[test]
    fn one_client_is_an_address_or_64_bits() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ] {
            assert_eq!(client_network(address.parse().expect("an address")).to_string(), network);
        }
    }

    /// Words of several servers about few networks, as they come.
    fn words() -> impl Strategy<Value = Vec<Orders>> {
        let word = (0..4u8, 0..3u8, 0..50u64, 1..9u64, any::<bool>()).prop_map(|(subject, by, at_ms, for_s, on)| {
            let (by, known) = (name(["lb1", "lb2", "lb3"][by as usize]), Orders::default());
            let network = format!("192.0.2.{subject}/32");
            let said = known.say_ban(ban(&network, for_s), false, &by, at_ms).expect("a ban");
            match (subject, on) {
                (0, _) => known.say_maintenance(on.then(Maintenance::default), &by, at_ms),
                (_, true) => said,
                (_, false) => said.say_unban(network.parse().expect("a network"), &by, at_ms).expect("banned"),
            }
        });
        // The same server never says two things at the same time.
        prop::collection::vec(word, 0..30).prop_map(|mut words| {
            let mut seen = std::collections::BTreeSet::new();
            words.retain(|word| {
                let (at_ms, by) = match (&word.maintenance, word.bans.values().next()) {
                    (Some(said), _) => (said.at_ms, said.by.clone()),
                    (None, Some(said)) => (said.at_ms, said.by.clone()),
                    (None, None) => return false,
                };
                seen.insert((at_ms, by))
            });
            words
        })
    }

    proptest! {
        /// Whatever order words come in, and however often: everybody knows the same in the end.
        #[test]
        fn all_agree_who_heard_all(words in words(), order in any::<prop::sample::Index>(), again in any::<bool>()) {
            let merged = |words: &mut dyn Iterator<Item = &Orders>| {
                words.fold(Orders::default(), |mut all, word| { all.merge(word.clone()); all })
            };
            let forward = merged(&mut words.iter());
            let turn = if words.is_empty() { 0 } else { order.index(words.len()) };
            let (first, second) = words.split_at(turn);
            let mut turned = merged(&mut second.iter().rev());
            turned.merge(merged(&mut first.iter()));
            if again {
                turned.merge(merged(&mut words.iter()));
            }
            prop_assert_eq!(turned, forward);
        }
    }
}
