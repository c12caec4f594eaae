//! Ruleset to nft text; pure.
//!
//! Text and not JSON, because nft 1.0.6 (Debian 12) refuses a set's flag `dynamic` in JSON.

use std::fmt::Write;
use std::net::IpAddr;

use crate::plan::{
    Action, Chain, Family, Limit, Policy, Reason, Rule, Ruleset, SSH_BURST, SSH_RATE_PER_MINUTE, SSH_SOURCE_TIMEOUT_S,
    SSH_SOURCES_MAX, Source, TABLE, Traffic,
};

/// Longest comment of a rule that nft takes, in bytes (`NFTNL_UDATA_COMMENT_MAXLEN`).
const COMMENT_LENGTH_MAX: usize = 128;

impl Ruleset {
    /// The ruleset for `nft -f -`, as one transaction: it creates the table where it is missing and replaces all its
    /// rules, and leaves counters and sets as they are. The same ruleset always gives the same text.
    pub fn render(&self) -> String {
        let mut text = format!("# Firewall of {}, written by Triad: changes by hand do not last.\n", self.server);
        // Naming the table first makes sure that there is something to flush.
        let _ = writeln!(text, "table inet {TABLE}\nflush table inet {TABLE}\ntable inet {TABLE} {{");
        for reason in Reason::ALL {
            let _ = writeln!(text, "\tcounter {} {{ }}", reason.as_str());
        }
        for family in [Family::V4, Family::V6] {
            text += &source_set(family);
        }
        for chain in &self.chains {
            text += &render_chain(chain);
        }
        text + "}\n"
    }
}

fn source_set(family: Family) -> String {
    let kind = match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    };
    format!(
        "\tset {} {{ type {kind}; size {SSH_SOURCES_MAX}; flags dynamic,timeout; timeout {SSH_SOURCE_TIMEOUT_S}s; }}\n",
        source_set_name(family)
    )
}

fn source_set_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ssh_rate4",
        Family::V6 => "ssh_rate6",
    }
}

fn render_chain(chain: &Chain) -> String {
    let mut text = format!("\n\t# {}\n\tchain {} {{\n", chain.why, chain.name);
    if let Some(policy) = chain.policy {
        let policy = match policy {
            Policy::Accept => "accept",
            Policy::Drop => "drop",
        };
        let _ = writeln!(text, "\t\ttype filter hook {} priority filter; policy {policy};", chain.name);
    }
    for rule in &chain.rules {
        let _ = writeln!(text, "\t\t{}", render_rule(rule));
    }
    text + "\t}\n"
}

fn render_rule(rule: &Rule) -> String {
    let parts = [source(&rule.from), rule.to.map(destination), traffic(rule.traffic), rule.limit.map(limit)];
    let mut words: Vec<String> = parts.into_iter().flatten().collect();
    words.push(action(rule.action));
    words.push(comment(rule));
    words.join(" ")
}

fn source(from: &Source) -> Option<String> {
    match from {
        Source::World => None,
        Source::Network(network) => Some(format!("{} saddr {network}", protocol_of(network.addr()))),
        Source::Server(_, address) => Some(format!("{} saddr {address}", protocol_of(*address))),
    }
}

fn destination(to: IpAddr) -> String {
    format!("{} daddr {to}", protocol_of(to))
}

fn protocol_of(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

fn traffic(traffic: Traffic) -> Option<String> {
    let text = match traffic {
        Traffic::Any => return None,
        Traffic::Port(protocol, port) => return Some(format!("{} dport {port}", protocol.as_str())),
        Traffic::Loopback => "iifname \"lo\"",
        Traffic::Known => "ct state established,related",
        Traffic::Invalid => "ct state invalid",
        Traffic::Midstream => "tcp flags & (syn | rst) == 0x0",
        // ICMP and ICMPv6 by number: nft finds their names in /etc/protocols, which a minimal Debian lacks.
        Traffic::Icmp => "meta l4proto { 1, 58 }",
        Traffic::Ping(Family::V4) => "icmp type echo-request",
        Traffic::Ping(Family::V6) => "icmpv6 type echo-request",
        Traffic::FragmentationNeeded => "icmp type destination-unreachable icmp code frag-needed",
        Traffic::PathErrors(Family::V4) => "icmp type { time-exceeded, parameter-problem }",
        Traffic::PathErrors(Family::V6) => {
            "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }"
        }
        Traffic::NeighbourDiscovery => {
            "ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, \
             nd-neighbor-advert }"
        }
        Traffic::MulticastListener => {
            "icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report }"
        }
        Traffic::Dhcpv6Reply => "ip6 daddr fe80::/10 udp sport 547 udp dport 546",
    };
    Some(text.to_owned())
}

fn limit(limit: Limit) -> String {
    match limit {
        Limit::WithinPerSecond { rate, burst } => format!("limit rate {rate}/second burst {burst} packets"),
        Limit::WithinPerMinute { rate, burst } => format!("limit rate {rate}/minute burst {burst} packets"),
        Limit::OverPerSource(family) => {
            let source = match family {
                Family::V4 => "ip saddr",
                Family::V6 => "ip6 saddr & ffff:ffff:ffff:ffff::",
            };
            let set = source_set_name(family);
            format!(
                "update @{set} {{ {source} limit rate over {SSH_RATE_PER_MINUTE}/minute burst {SSH_BURST} packets }}"
            )
        }
    }
}

fn action(action: Action) -> String {
    match action {
        Action::Accept => "accept".to_owned(),
        Action::Drop(reason) => format!("counter name {} drop", reason.as_str()),
        Action::Reset => "reject with tcp reset".to_owned(),
        Action::Log => format!("log prefix \"{TABLE} drop: \""),
        Action::Jump(chain) => format!("jump {chain}"),
    }
}

/// The why stays with the rule in the kernel, so that `nft list table inet triad` shows it. nft's strings have no
/// escapes and a greatest length.
fn comment(rule: &Rule) -> String {
    let mut why = match &rule.from {
        Source::Server(name, _) => format!("{name}: {}", rule.why),
        Source::World | Source::Network(_) => rule.why.clone(),
    };
    why.retain(|c| c != '"' && !c.is_control());
    while why.len() > COMMENT_LENGTH_MAX {
        why.pop();
    }
    format!("comment \"{why}\"")
}
