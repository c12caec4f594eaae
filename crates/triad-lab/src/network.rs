//! The networks of a lab, as text for `ip -batch`.
//!
//! Each member has an interface `public`, if it has public addresses, and `private`, if it has a private one; each is
//! one end of a cable (a veth pair) whose other end is plugged into the holder's bridge of the same name. Addresses
//! are single (/32, /128) with routes that call everything on-link, so a design's real addresses work unchanged,
//! whatever networks they are from.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use triad_model::{Design, ServerName};

use crate::lab::client;
use crate::protocol::LinkState;

/// The client's address: TEST-NET-1 (RFC 5737).
pub(crate) const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The client's address in a design with IPv6: from the documentation prefix (RFC 3849).
pub(crate) const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x10);

/// Settings under `/proc/sys/net` in the holder's namespace: its bridges only pass frames on.
pub(crate) const HOLDER_SETTINGS: &[(&str, &str)] = &[("ipv6/conf/default/disable_ipv6", "1")];

/// Settings under `/proc/sys/net` in a member's namespace, made before it has interfaces.
pub(crate) const MEMBER_SETTINGS: &[(&str, &str)] = &[
    // Everything is on-link, so a packet's way back says nothing about where it may come from.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    // The networks are apart: an address is only answered for where it is.
    ("ipv4/conf/all/arp_ignore", "1"),
    ("ipv4/conf/all/arp_announce", "2"),
    // Addresses can be used at once: nobody else can have them. Both, because the larger counts.
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
];

/// Addresses of a server or the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub public: Vec<IpAddr>,
    pub private: Option<IpAddr>,
}

impl Addresses {
    /// Those of `member`, which is the client or a server of `design`.
    pub fn of(design: &Design, member: &ServerName) -> Self {
        match design.server(member) {
            Some(server) => Self { public: server.public.clone(), private: server.private },
            None => Self { public: client_addresses(design), private: None },
        }
    }

    /// The member's networks.
    fn networks(&self) -> impl Iterator<Item = &'static str> {
        let public = (!self.public.is_empty()).then_some("public");
        let private = self.private.map(|_| "private");
        public.into_iter().chain(private)
    }
}

fn client_addresses(design: &Design) -> Vec<IpAddr> {
    let v6 = design.servers.iter().flat_map(|server| &server.public).any(IpAddr::is_ipv6);
    std::iter::once(IpAddr::V4(CLIENT_V4)).chain(v6.then_some(IpAddr::V6(CLIENT_V6))).collect()
}

/// Why `design` cannot be a lab, if it cannot.
pub(crate) fn conflict(design: &Design) -> Option<String> {
    let name = client();
    if design.server(&name).is_some() {
        return Some(format!(
            "a server is called {name}, which is what a lab calls the users' side; rename the server"
        ));
    }
    let ours = client_addresses(design);
    let server = design.servers.iter().find(|server| server.public.iter().any(|address| ours.contains(address)))?;
    Some(format!("{} has the address of a lab's client; {CLIENT_V4} and {CLIENT_V6} must be free", server.name))
}

/// For the holder: its bridges. They forward at once and learn no multicast groups.
pub(crate) fn bridges() -> String {
    ["public", "private"].iter().fold(String::from("link set dev lo up\n"), |mut text, network| {
        line(
            &mut text,
            format_args!("link add name {network} type bridge forward_delay 0 stp_state 0 mcast_snooping 0"),
        );
        line(&mut text, format_args!("link set dev {network} up"));
        text
    })
}

/// For the holder: the cables of its member number `index` to the init with process number `pid`.
pub(crate) fn cables(index: usize, addresses: &Addresses, pid: i32, link: LinkState) -> String {
    let state = link.as_str();
    addresses.networks().fold(String::new(), |mut text, network| {
        let plug = plug(network, index);
        let card = hardware_address(network, index);
        line(&mut text, format_args!("link add name {plug} type veth peer name {network} address {card} netns {pid}"));
        line(&mut text, format_args!("link set dev {plug} master {network} {state}"));
        text
    })
}

/// For the holder: pulls or plugs a member's cables at the bridge's end, so that the member keeps its addresses and
/// routes and sees no carrier.
pub(crate) fn link(index: usize, addresses: &Addresses, link: LinkState) -> String {
    each_plug(index, addresses, |plug| format!("link set dev {plug} {}", link.as_str()))
}

/// For the holder: throws a member's cables away.
pub(crate) fn no_cables(index: usize, addresses: &Addresses) -> String {
    each_plug(index, addresses, |plug| format!("link delete dev {plug}"))
}

/// For a member: addresses and routes of its interfaces.
pub(crate) fn interfaces(design: &Design, member: &ServerName) -> String {
    let addresses = Addresses::of(design, member);
    let mut text = String::from("link set dev lo up\n");
    for network in addresses.networks() {
        line(&mut text, format_args!("link set dev {network} up"));
    }
    public_interface(&mut text, &addresses.public);
    if let Some(own) = addresses.private {
        add_address(&mut text, own, "private");
        for peer in design.servers.iter().filter(|server| server.name != *member).filter_map(|server| server.private) {
            if peer.is_ipv4() == own.is_ipv4() {
                line(&mut text, format_args!("route add {} dev private src {own}", single(peer)));
            }
        }
    }
    text
}

fn public_interface(text: &mut String, public: &[IpAddr]) {
    for address in public {
        add_address(text, *address, "public");
    }
    for (everything, is_family) in [("0.0.0.0/0", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("::/0", IpAddr::is_ipv6)] {
        if let Some(first) = public.iter().find(|address| is_family(address)) {
            line(text, format_args!("route add {everything} dev public src {first}"));
        }
    }
}

fn add_address(text: &mut String, address: IpAddr, network: &str) {
    let no_detection = if address.is_ipv6() { " nodad" } else { "" };
    line(text, format_args!("address add {} dev {network}{no_detection}", single(address)));
}

fn single(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

fn each_plug(index: usize, addresses: &Addresses, command: impl Fn(&str) -> String) -> String {
    addresses.networks().fold(String::new(), |mut text, network| {
        line(&mut text, format_args!("{}", command(&plug(network, index))));
        text
    })
}

/// The bridge's end of a cable. Interface names have at most 15 bytes, so a member's number stands for its name.
fn plug(network: &str, index: usize) -> String {
    format!("{network}-{index}")
}

/// A server that is started again has the network card it had: with another one, its neighbours would send to the
/// old for up to a minute (RFC 4861 section 7.3; the kernel does the same for ARP). Locally administered.
fn hardware_address(network: &str, index: usize) -> String {
    let network = u8::from(network == "private");
    let [high, low] = u16::try_from(index).unwrap_or(u16::MAX).to_be_bytes();
    format!("02:54:72:{network:02x}:{high:02x}:{low:02x}")
}

fn line(text: &mut String, command: std::fmt::Arguments<'_>) {
    writeln!(text, "{command}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use triad_model::Design;

    use super::{Addresses, bridges, cables, conflict, interfaces, link, no_cables};
    use crate::directory::members;
    use crate::protocol::LinkState;

    fn every_script(design: &Design) -> String {
        let mut text = format!("# conflict: {:?}\n# holder\n{}", conflict(design), bridges());
        for (index, member) in members(design).iter().enumerate() {
            let addresses = Addresses::of(design, member);
            let own = interfaces(design, member);
            let plugged = cables(index, &addresses, 1000 + index as i32, LinkState::Up);
            write!(text, "# {member}: cables\n{plugged}# {member}: inside\n{own}").expect("a string");
        }
        let first = Addresses::of(design, &members(design)[0]);
        write!(text, "# first: pulled\n{}", link(0, &first, LinkState::Down)).expect("a string");
        write!(text, "# first: removed\n{}", no_cables(0, &first)).expect("a string");
        text
    }

    #[test]
    fn golden_scripts() {
        let cases = triad_golden::cases("tests/golden/network", triad_golden::LINE);
        assert!(cases.len() >= 4, "{} goldens found", cases.len());
        for case in cases {
            case.compare(&every_script(&serde_json::from_str(&case.input).expect("a design")));
        }
    }

    #[test]
    fn interface_names_fit_the_kernel() {
        assert!(super::plug("private", 9_999_999).len() <= 15);
    }
}
