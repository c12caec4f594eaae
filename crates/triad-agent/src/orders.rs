//! What was said to the front servers, as this one's agent keeps it: a file among its state, so that it holds through
//! restarts and reboots; and what of it cannot hold under the design.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::bail;
use triad_model::{
    Ban, BanRequest, Design, IpNet, Maintenance, Orders, Said, ServerName, USAGE_CLIENTS_MAX, is_client,
};

use crate::files::{read_if_there, replace};

/// The file's name.
const FILE: &str = "orders.json";
/// A word is not from further in the future: its server's clock must be wrong, and no later word would win over it.
const AHEAD_MAX_MS: u64 = 24 * 3600 * 1000;

/// Orders that are in force, and a number that tells them from others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub orders: Orders,
    pub number: u64,
}

impl Known {
    /// Of `orders`.
    pub fn new(orders: Orders) -> Self {
        // FNV-1a: the same at every agent, whatever it was built with.
        let bytes = serde_json::to_vec(&orders).unwrap_or_default();
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self { number: bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold), orders }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// What is known from before, at the agent of `server`. A file that is there and cannot be read may have said that users
/// are turned away, so they are, until any other word is heard.
pub(crate) fn read(state: &Path, server: &ServerName) -> Orders {
    let path = state.join(FILE);
    let unreadable = |error: &dyn std::fmt::Display| {
        tracing::error!(path = %path.display(), %error, "what was said cannot be read; users are turned away");
        let what = Some(Maintenance::default());
        Orders { maintenance: Some(Said { at_ms: 0, by: server.clone(), what }), ..Orders::default() }
    };
    match read_if_there(&path) {
        Err(error) => unreadable(&error),
        Ok(None) => Orders::default(),
        Ok(Some(text)) => serde_json::from_slice(&text).unwrap_or_else(|error| unreadable(&error)),
    }
}

/// Keeps `orders` in one step: after a loss of power they are there whole, or as they were before.
pub(crate) fn write(state: &Path, orders: &Orders) -> io::Result<()> {
    replace(&state.join(FILE), &serde_json::to_vec(orders)?, None)
}

/// Whether `words` can be taken over at `now_ms`.
pub(crate) fn check(words: &Orders, now_ms: u64) -> anyhow::Result<()> {
    if words.last_ms() > now_ms.saturating_add(AHEAD_MAX_MS) {
        bail!("it was said more than a day from now: set the clocks of the servers");
    }
    if let Some(order) = words.closed() {
        Maintenance::new(order.message.clone())?;
    }
    Ok(())
}

/// The bans that an edge of `design` heeds at `now_ms`.
pub(crate) fn bans_in_force(orders: &Orders, design: &Design, now_ms: u64) -> Vec<Ban> {
    orders.banned(now_ms).filter(|ban| protected(design, ban.network).is_none()).collect()
}

/// The words that ban `offenders`, who are not banned yet, as the design says, at the agent of `by`.
pub(crate) fn ban_offenders(
    known: &Orders,
    design: &Design,
    offenders: &[IpNet],
    by: &ServerName,
    now_ms: u64,
) -> Option<Orders> {
    let limits = design.limits.as_ref().filter(|limits| limits.ban_after.is_some())?;
    let (mut known, mut words) = (known.clone(), Orders::default());
    for network in offenders.iter().take(USAGE_CLIENTS_MAX).filter(|network| is_client(**network)) {
        let is_banned = known.banned(now_ms).any(|ban| ban.network.contains(network));
        if is_banned || protected(design, *network).is_some() {
            continue;
        }
        let ban = BanRequest { network: *network, for_s: limits.ban_s.into(), reason: None };
        // If the table is full, operators' words stay.
        let Ok(said) = known.say_ban(ban, true, by, now_ms) else { continue };
        known.merge(said.clone());
        words.merge(said);
    }
    (!words.bans.is_empty()).then_some(words)
}

/// Why clients of `network` cannot be banned, if they cannot.
pub(crate) fn protected(design: &Design, network: IpNet) -> Option<String> {
    let overlaps = |other: &&IpNet| other.contains(&network) || network.contains(*other);
    let addresses =
        |server: &triad_model::Server| -> Vec<IpAddr> { server.public.iter().copied().chain(server.private).collect() };
    let own = design.servers.iter().find(|server| addresses(server).iter().any(|address| network.contains(address)));
    if let Some(server) = own {
        return Some(format!("{network} has an address of {} in it, a server of the design", server.name));
    }
    if let Some(exempt) = design.limits.iter().flat_map(|limits| &limits.exempt).find(overlaps) {
        return Some(format!("{network} and {exempt} overlap, which limits.exempt names; change the file first"));
    }
    let forwarders = design.balancer.iter().flat_map(|balancer| &balancer.proxy_protocol_from);
    let forwarder = { forwarders }.find(overlaps)?;
    Some(format!(
        "{network} and {forwarder} overlap, which balancer.proxy_protocol_from names: ban the clients behind it"
    ))
}

#[cfg(test)]
mod tests {
    use triad_model::{BanRequest, Limits, Maintenance, Orders, Server, ServerName};

    use super::{AHEAD_MAX_MS, FILE, Known, ban_offenders, bans_in_force, check, protected, read, write};

    fn name(text: &str) -> ServerName {
        ServerName::new(text).expect("a name")
    }

    fn said() -> Orders {
        let mut orders = Orders::default();
        let message = Maintenance::new(Some("until nine".to_owned())).expect("a message");
        orders.merge(orders.say_maintenance(Some(message), &name("srv1"), 1_000));
        let network = "192.0.2.0/24".parse().expect("a network");
        let ban = BanRequest { network, for_s: 60, reason: Some("scraping".to_owned()) };
        orders.merge(orders.say_ban(ban, false, &name("srv1"), 1_000).expect("a ban"));
        orders
    }

    #[test]
    fn what_was_said_is_there_after_a_restart() {
        let state = tempfile::tempdir().expect("a folder");
        assert_eq!(read(state.path(), &name("srv1")), Orders::default());
        for orders in [said(), Orders::default()] {
            write(state.path(), &orders).expect("written");
            let again = read(state.path(), &name("srv1"));
            assert_eq!(Known::new(again.clone()).number, Known::new(orders.clone()).number);
            assert_eq!(again, orders);
        }
        assert_ne!(Known::new(said()).number, Known::default().number);
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_users_away_until_another_server_says_otherwise() {
        let state = tempfile::tempdir().expect("a folder");
        std::fs::write(state.path().join(FILE), "{\"maintenance\"").expect("a file");
        let mut orders = read(state.path(), &name("srv1"));
        assert_eq!(orders.closed(), Some(&Maintenance::default()));
        orders.merge(Orders::default().say_maintenance(None, &name("lb2"), 5));
        assert_eq!(orders.closed(), None);
    }

    #[test]
    fn a_word_from_far_in_the_future_is_not_taken() {
        let orders = Orders::default().say_maintenance(None, &name("srv1"), AHEAD_MAX_MS + 1);
        assert!(check(&orders, 0).is_err() && check(&orders, 1).is_ok());
    }

    #[test]
    fn nobody_is_banned_by_accident() {
        let mut design = crate::report::tests::design();
        let public = vec!["203.0.113.11".parse().expect("an address")];
        design.servers = vec![Server { name: name("srv1"), public, private: None }];
        let exempt = vec!["198.51.100.0/24".parse().expect("a network")];
        design.limits = Some(Limits { exempt, ..Limits::default() });
        let why = |network: &str| protected(&design, network.parse().expect("a network")).unwrap_or_default();
        assert_eq!(why("203.0.113.0/24"), "203.0.113.0/24 has an address of srv1 in it, a server of the design");
        for network in ["198.51.100.7/32", "198.51.0.0/16"] {
            assert!(why(network).contains("limits.exempt"), "{network}");
        }
        assert_eq!(why("192.0.2.0/24"), "");
        assert_eq!(bans_in_force(&said(), &design, 1_000).len(), 1);
        design.limits = Some(Limits { exempt: vec!["192.0.2.7/32".parse().expect("a network")], ..Limits::default() });
        assert!(bans_in_force(&said(), &design, 1_000).is_empty(), "the file has the last word");
    }

    #[test]
    fn offenders_are_banned_once_where_the_design_says_so() {
        let mut design = crate::report::tests::design();
        let ban = |design: &_, known: &Orders, offenders: &[&str]| {
            let offenders: Vec<_> = offenders.iter().map(|network| network.parse().expect("a network")).collect();
            ban_offenders(known, design, &offenders, &name("srv1"), 2_000)
        };
        let offenders = ["192.0.2.7/32", "203.0.113.7/32", "203.0.113.7/32", "0.0.0.0/0", "2001:db8::/64"];
        assert_eq!(ban(&design, &Orders::default(), &offenders), None);
        design.limits = Some(Limits { ban_after: Some(9), ban_s: 60, ..Limits::default() });
        let words = ban(&design, &said(), &offenders).expect("words");
        let banned: Vec<_> = words.banned(2_000).map(|ban| (ban.network.to_string(), ban.automatic)).collect();
        let expected = [("203.0.113.7/32", true), ("2001:db8::/64", true)];
        assert_eq!(banned, expected.map(|(network, automatic)| (network.to_owned(), automatic)), "192.0.2.0/24 is");
        let mut known = said();
        known.merge(words);
        assert_eq!(ban(&design, &known, &offenders), None);
    }
}
