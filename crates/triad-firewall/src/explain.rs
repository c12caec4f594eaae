//! Ruleset to words; pure.

use std::fmt::Write;
use std::net::IpAddr;

use crate::plan::{
    Action, Chain, Family, Limit, Policy, Rule, Ruleset, SSH_BURST, SSH_RATE_PER_MINUTE, Source, TABLE, Traffic,
};

const HEADINGS: [&str; 5] = ["ACTION", "TRAFFIC", "FROM", "TO", "WHY"];

impl Ruleset {
    /// Each rule with its why, in columns that are as wide throughout as the widest cell needs.
    pub fn explain(&self) -> String {
        let rows: Vec<[String; 5]> = self.chains.iter().flat_map(|chain| &chain.rules).map(row).collect();
        let widths = widths(&rows);
        let mut rows = rows.into_iter();
        let mut text = format!("{} ({}): nftables table inet {TABLE}\n", self.server, list(&self.addresses));
        for chain in &self.chains {
            let _ = writeln!(text, "\n{}: {}", chain.name, chain.why);
            if !chain.rules.is_empty() {
                text += &line(&HEADINGS.map(str::to_owned), widths);
            }
            for row in rows.by_ref().take(chain.rules.len()) {
                text += &line(&row, widths);
            }
            let _ = writeln!(text, "  {}", last_word(chain));
        }
        text
    }
}

fn row(rule: &Rule) -> [String; 5] {
    [action(rule.action), traffic(rule), source(&rule.from), destination(rule.to), rule.why.clone()]
}

fn widths(rows: &[[String; 5]]) -> [usize; 5] {
    let mut widths = HEADINGS.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

fn line(cells: &[String; 5], widths: [usize; 5]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(line, "  {cell:width$}");
    }
    format!("{}\n", line.trim_end())
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

fn last_word(chain: &Chain) -> &'static str {
    match chain.policy {
        Some(Policy::Accept) => "The rest is accepted.",
        Some(Policy::Drop) => "The rest is dropped.",
        None => "The rest goes on where it came from.",
    }
}

fn action(action: Action) -> String {
    match action {
        Action::Accept => "accept".to_owned(),
        Action::Drop(_) => "drop".to_owned(),
        Action::Reset => "reset".to_owned(),
        Action::Log => "log".to_owned(),
        Action::Jump(chain) => format!("see {chain}"),
    }
}

fn traffic(rule: &Rule) -> String {
    let kind = match rule.traffic {
        Traffic::Any => "anything else".to_owned(),
        Traffic::Loopback => "loopback".to_owned(),
        Traffic::Known => "known connections".to_owned(),
        Traffic::Invalid => "invalid packets".to_owned(),
        Traffic::Midstream => "TCP of no connection".to_owned(),
        Traffic::Icmp => "ICMP, ICMPv6".to_owned(),
        Traffic::Ping(Family::V4) => "ping".to_owned(),
        Traffic::Ping(Family::V6) => "ping IPv6".to_owned(),
        Traffic::FragmentationNeeded => "fragmentation needed".to_owned(),
        Traffic::PathErrors(Family::V4) => "path errors".to_owned(),
        Traffic::PathErrors(Family::V6) => "path errors IPv6".to_owned(),
        Traffic::NeighbourDiscovery => "neighbour discovery".to_owned(),
        Traffic::MulticastListener => "multicast listeners".to_owned(),
        Traffic::Dhcpv6Reply => "DHCPv6 answers".to_owned(),
        Traffic::Port(protocol, port) => format!("{} {port}", protocol.as_str()),
    };
    match rule.limit {
        None => kind,
        Some(Limit::WithinPerSecond { rate, burst }) => format!("{kind}, up to {rate}/s, {burst} at once"),
        Some(Limit::WithinPerMinute { rate, burst }) => format!("{kind}, up to {rate}/min, {burst} at once"),
        Some(Limit::OverPerSource(_)) => {
            format!("{kind}, over {SSH_RATE_PER_MINUTE}/min, {SSH_BURST} at once, per source")
        }
    }
}

fn source(from: &Source) -> String {
    match from {
        Source::World => "anybody".to_owned(),
        Source::Network(network) => network.to_string(),
        Source::Server(name, address) => format!("{name} {address}"),
    }
}

fn destination(to: Option<IpAddr>) -> String {
    to.map_or_else(|| "any of ours".to_owned(), |address| address.to_string())
}
