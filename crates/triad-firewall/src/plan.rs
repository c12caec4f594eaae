//! Design to ruleset; pure.

use std::net::IpAddr;

use triad_model::{Design, Firewall, Flow, IpNet, Origin, Protocol, Server, ServerName, flows};

/// Our table, of family `inet`: one rule serves IPv4 and IPv6.
pub const TABLE: &str = "triad";

/// What one server admits. Chains in the order they are rendered; rules in the order the kernel tries them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// The server.
    pub server: ServerName,
    /// Its addresses, public before private.
    pub addresses: Vec<IpAddr>,
    /// Its chains.
    pub chains: Vec<Chain>,
}

/// Rules under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name. A chain with a policy sits at the netfilter hook of that name.
    pub name: &'static str,
    /// What happens to a packet that no rule decides; `None` for a chain that others jump to.
    pub policy: Option<Policy>,
    /// What it is for, and why it decides as it does.
    pub why: &'static str,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A chain's last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Let it pass.
    Accept,
    /// Drop it.
    Drop,
}

/// A packet that matches `traffic`, `from`, `to` and `limit` gets `action`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What kind of packet.
    pub traffic: Traffic,
    /// Its source.
    pub from: Source,
    /// Its destination, one of the server's addresses; `None` for any of them.
    pub to: Option<IpAddr>,
    /// How often it matches.
    pub limit: Option<Limit>,
    /// What happens.
    pub action: Action,
    /// Why, as a clause.
    pub why: String,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Kinds of packets that the rules tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// All.
    Any,
    /// What arrives over the loopback interface.
    Loopback,
    /// What belongs to a connection that is known, or is related to one.
    Known,
    /// What connection tracking cannot place.
    Invalid,
    /// TCP packets that neither open a connection nor end one.
    Midstream,
    /// ICMP and ICMPv6.
    Icmp,
    /// Echo requests.
    Ping(Family),
    /// ICMPv4 destination unreachable, code 4: path MTU discovery (RFC 1191).
    FragmentationNeeded,
    /// Time exceeded and parameter problem; for IPv6 also packet too big and destination unreachable
    /// (RFC 4890 section 4.4.1).
    PathErrors(Family),
    /// ICMPv6 types 133 to 136 with hop limit 255, which no router leaves at 255 (RFC 4861 section 6.1).
    NeighbourDiscovery,
    /// ICMPv6 multicast listener messages (RFC 2710, RFC 3810).
    MulticastListener,
    /// A DHCPv6 server's or relay's answers to our client.
    Dhcpv6Reply,
    /// What opens a connection to a port.
    Port(Protocol, u16),
}

/// Where a packet comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Anybody.
    World,
    /// An address of a network.
    Network(IpNet),
    /// Another server of the design, from its private address.
    Server(ServerName, IpAddr),
}

/// Token buckets, as nftables counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Matches while all packets together stay within the rate.
    WithinPerSecond {
        /// Packets a second.
        rate: u32,
        /// Packets at once after a quiet time.
        burst: u32,
    },
    /// As above, per minute.
    WithinPerMinute {
        /// Packets a minute.
        rate: u32,
        /// Packets at once after a quiet time.
        burst: u32,
    },
    /// Matches the packets of a source that are over [`SSH_RATE_PER_MINUTE`]. An IPv6 source is a /64, because one
    /// host has that many addresses.
    OverPerSource(Family),
}

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lets it in.
    Accept,
    /// Drops it and counts it.
    Drop(Reason),
    /// Drops it and tells the sender that there is no such connection (RFC 9293 section 3.5.2).
    Reset,
    /// Writes a line to the kernel's log and goes on with the next rule.
    Log,
    /// Goes through a chain, and on with the next rule if that one does not decide.
    Jump(&'static str),
}

/// Why packets are dropped; each reason has a named counter in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// They belong to no connection and open none.
    Invalid,
    /// More pings than we care to answer.
    IcmpRate,
    /// More SSH connections from one source than a person opens.
    SshRate,
    /// No rule admits them.
    Default,
    /// They were to be routed through this server.
    Forward,
}

impl Reason {
    /// All of them, in the order of their counters.
    pub const ALL: [Reason; 5] = [Self::Invalid, Self::IcmpRate, Self::SshRate, Self::Default, Self::Forward];

    /// Name of its counter.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Invalid => "invalid",
            Reason::IcmpRate => "icmp_rate",
            Reason::SshRate => "ssh_rate",
            Reason::Default => "default",
            Reason::Forward => "forward",
        }
    }
}

/// New SSH connections a minute from one source.
pub const SSH_RATE_PER_MINUTE: u32 = 10;
/// New SSH connections at once from one source.
pub const SSH_BURST: u32 = 20;
/// Sources the SSH limit remembers, per address family. When the set is full, new sources are not limited.
pub const SSH_SOURCES_MAX: u32 = 65_535;
/// Time after which a silent source is forgotten, in seconds: an empty bucket is full again by then.
pub const SSH_SOURCE_TIMEOUT_S: u32 = 60 * SSH_BURST / SSH_RATE_PER_MINUTE;
const PING: Limit = Limit::WithinPerSecond { rate: 20, burst: 40 };
const LOG: Limit = Limit::WithinPerMinute { rate: 5, burst: 5 };

const CONTROL: &str = "control";
const LINK_LOCAL: &str = "fe80::/10";

impl Ruleset {
    /// The ruleset of `server`; `None` where the design has no `[firewall]`, or no such server.
    pub fn of(design: &Design, server: &ServerName) -> Option<Self> {
        let firewall = design.firewall.as_ref()?;
        let server = design.server(server)?;
        Some(Self {
            server: server.name.clone(),
            addresses: server.public.iter().copied().chain(server.private).collect(),
            chains: vec![input(design, firewall, server), control(), forward(), output()],
        })
    }
}

fn input(design: &Design, firewall: &Firewall, server: &Server) -> Chain {
    let mut rules = vec![
        Rule::new(Traffic::Icmp, Action::Jump(CONTROL), "before known connections, or one endless ping is not limited"),
        Rule::new(Traffic::Known, Action::Accept, "answers to what this server opened, and the rest of what it let in"),
    ];
    // Otherwise a peer whose connection ended here while the network was cut waits for it, in the worst case for a
    // quarter of an hour; a primary's MariaDB then takes no replica.
    let forgotten = Rule::new(Traffic::Midstream, Action::Reset, "its connection has ended here: it is to know");
    rules.extend(peers(design, server).map(|(peer, theirs)| forgotten.clone().from(Source::Server(peer, theirs))));
    rules.extend([
        Rule::new(Traffic::Invalid, Action::Drop(Reason::Invalid), "belongs to no connection and opens none"),
        Rule::new(Traffic::Loopback, Action::Accept, "processes on this server talk to each other"),
        Rule::new(Traffic::Dhcpv6Reply, Action::Accept, "this server may get its IPv6 address by DHCPv6")
            .from(Source::Network(link_local())),
    ]);
    for flow in flows(design).into_iter().filter(|flow| flow.to == server.name) {
        rules.extend(admission(design, firewall, server, &flow));
    }
    rules.push(Rule::new(Traffic::Any, Action::Log, "a few of what is dropped, to find mistakes by").limited(LOG));
    rules.push(Rule::new(Traffic::Any, Action::Drop(Reason::Default), "the design does not need it"));
    let why = "What arrives for this server. Only what the design needs is admitted.";
    Chain { name: "input", policy: Some(Policy::Drop), why, rules }
}

/// The private addresses of the other servers.
fn peers<'a>(design: &'a Design, server: &'a Server) -> impl Iterator<Item = (ServerName, IpAddr)> + 'a {
    let others = design.servers.iter().filter(|other| other.name != server.name && server.private.is_some());
    others.filter_map(|other| Some((other.name.clone(), other.private?)))
}

/// ICMP is not optional: without these messages IPv6 does not work at all, and large packets get lost on both.
fn control() -> Chain {
    let accept = |traffic, why| Rule::new(traffic, Action::Accept, why);
    let drop = |traffic, why| Rule::new(traffic, Action::Drop(Reason::IcmpRate), why);
    let rules = vec![
        accept(Traffic::Ping(Family::V4), "ping shows that the server is there").limited(PING),
        drop(Traffic::Ping(Family::V4), "more pings than anybody needs"),
        accept(Traffic::Ping(Family::V6), "ping shows that the server is there").limited(PING),
        drop(Traffic::Ping(Family::V6), "more pings than anybody needs"),
        accept(Traffic::FragmentationNeeded, "path MTU discovery; without it large answers never arrive"),
        accept(Traffic::PathErrors(Family::V4), "routers say why a packet did not arrive"),
        accept(Traffic::PathErrors(Family::V6), "path MTU discovery, and routers say why a packet did not arrive"),
        accept(Traffic::NeighbourDiscovery, "IPv6's ARP; only from this link, where the hop limit is still 255"),
        accept(Traffic::MulticastListener, "switches learn who listens; neighbour discovery needs multicast")
            .from(Source::Network(link_local())),
    ];
    let why = "ICMP and ICMPv6. What is not decided here goes on as any other packet.";
    Chain { name: CONTROL, policy: None, why, rules }
}

fn forward() -> Chain {
    let rules =
        vec![Rule::new(Traffic::Any, Action::Drop(Reason::Forward), "nobody may use it as a way into the private net")];
    Chain {
        name: "forward",
        policy: Some(Policy::Drop),
        why: "What passes through. This server does not route.",
        rules,
    }
}

fn output() -> Chain {
    let why = "What this server sends. Package updates, time, mail and webhooks go where we cannot know beforehand.";
    Chain { name: "output", policy: Some(Policy::Accept), why, rules: Vec::new() }
}

/// The rules that admit one flow: one for each address of ours that it may arrive at.
fn admission(design: &Design, firewall: &Firewall, server: &Server, flow: &Flow) -> Vec<Rule> {
    let accept = Rule::new(Traffic::Port(flow.protocol, flow.port), Action::Accept, &flow.why);
    match &flow.from {
        Origin::World if server.public.is_empty() => vec![accept],
        Origin::World => server.public.iter().map(|address| accept.clone().to(*address)).collect(),
        Origin::Network(network) => {
            let accept = accept.from(Source::Network(*network));
            let is_ssh = (flow.protocol, flow.port) == (Protocol::Tcp, firewall.ssh_port);
            if is_ssh { vec![over_ssh_rate(&accept, *network), accept] } else { vec![accept] }
        }
        Origin::Server(peer) => {
            let theirs = design.server(peer).and_then(|peer| peer.private);
            // A connection has one address family: between an IPv4 and an IPv6 address there is nothing to admit.
            theirs
                .zip(server.private)
                .filter(|(theirs, ours)| theirs.is_ipv4() == ours.is_ipv4())
                .map(|(theirs, ours)| accept.from(Source::Server(peer.clone(), theirs)).to(ours))
                .into_iter()
                .collect()
        }
    }
}

/// Comes before the rule that admits: drops a source that opens connections too fast.
fn over_ssh_rate(accept: &Rule, network: IpNet) -> Rule {
    let family = if network.addr().is_ipv4() { Family::V4 } else { Family::V6 };
    Rule {
        limit: Some(Limit::OverPerSource(family)),
        action: Action::Drop(Reason::SshRate),
        why: "one source opens more connections than a person does".to_owned(),
        ..accept.clone()
    }
}

fn link_local() -> IpNet {
    LINK_LOCAL.parse().expect("a constant that is a network")
}

impl Rule {
    fn new(traffic: Traffic, action: Action, why: &str) -> Self {
        Self { traffic, from: Source::World, to: None, limit: None, action, why: why.to_owned() }
    }

    fn from(self, from: Source) -> Self {
        Self { from, ..self }
    }

    fn to(self, address: IpAddr) -> Self {
        Self { to: Some(address), ..self }
    }

    fn limited(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }
}
