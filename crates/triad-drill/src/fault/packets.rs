//! Faults of the network, as shell scripts for a server's namespace.

use triad_model::ServerName;

use crate::scenario::{Fault, Netem, PortFault};

/// What a narrow network sends at once, in bytes, and the longest that something waits in front of it.
const BURST_BYTES: u32 = 16_384;
const QUEUE_MS: u32 = 200;

/// What begins and ends a fault of the network on `server`, as shell scripts. Rules stand in tables of their own, so
/// the firewall's is not touched. A packet passes only if every table lets it.
pub(crate) fn scripts(fault: &Fault, server: &ServerName, from: &[std::net::IpAddr]) -> (String, String) {
    match fault {
        Fault::CutFrom { from: place, one_way, .. } => {
            let mut rules: Vec<String> =
                from.iter().map(|address| rule("input", &format!("{} saddr {address}", family(address)))).collect();
            if !one_way {
                rules
                    .extend(from.iter().map(|address| rule("output", &format!("{} daddr {address}", family(address)))));
            }
            table(&format!("drill_cut_{}", place.word.replace('-', "_")), &rules)
        }
        Fault::CutNetwork { network, .. } => {
            let name = network.as_str();
            let rules = [("input", "iifname"), ("output", "oifname")]
                .map(|(chain, interface)| rule(chain, &format!("{interface} {name}")));
            table(&format!("drill_{name}_network"), &rules)
        }
        Fault::Port { port, how, .. } => table(&format!("drill_port_{port}"), &port_rules(*port, *how)),
        Fault::Slow { netem: Netem::DelayMs(ms), .. } => queue(&format!("netem delay {ms}ms")),
        Fault::Slow { netem: Netem::RateKbit(kbit), .. } => {
            queue(&format!("tbf rate {kbit}kbit burst {BURST_BYTES} latency {QUEUE_MS}ms"))
        }
        // Many kernels come without netem's module; packet filters can lose packets as well.
        Fault::Slow { netem: Netem::LossPercent(percent), .. } => {
            let rules = ["input", "output"].map(|chain| rule(chain, &format!("numgen random mod 100 < {percent}")));
            table("drill_loss", &rules)
        }
        other => unreachable!("{other:?} on {server} is no fault of the network"),
    }
}

fn port_rules(port: u16, how: PortFault) -> Vec<String> {
    let reject =
        |matches: String| format!("add rule inet TABLE input tcp dport {port} {matches} counter reject with tcp reset");
    match how {
        PortFault::Drop => ["tcp", "udp"].map(|protocol| rule("input", &format!("{protocol} dport {port}"))).to_vec(),
        // One throw for each attempt: a refused client does not send its SYN again.
        PortFault::RefusePercent(percent) => {
            vec![reject(format!("tcp flags & (syn | ack) == syn numgen random mod 100 < {percent}"))]
        }
        // By a hash of where they come from, so that a connection is one of those that are reset or is not, for good.
        // PSH goes with data: they are accepted first.
        PortFault::ResetPercent(percent) => ["ip", "ip6"]
            .map(|family| {
                reject(format!("tcp flags & psh == psh jhash {family} saddr . tcp sport mod 100 < {percent}"))
            })
            .to_vec(),
    }
}

/// A queueing discipline on both networks of a server; `tc` says if the kernel lacks it.
fn queue(discipline: &str) -> (String, String) {
    let each = |command: &str| {
        format!("for network in public private; do [ ! -e /sys/class/net/$network ] || {command} || exit 1; done")
    };
    (each(&format!("tc qdisc replace dev $network root {discipline}")), each("tc qdisc del dev $network root"))
}

fn family(address: &std::net::IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

fn rule(chain: &str, matches: &str) -> String {
    format!("add rule inet TABLE {chain} {matches} counter drop")
}

fn table(name: &str, rules: &[String]) -> (String, String) {
    let chain = |chain: &str| format!("add chain inet TABLE {chain} {{ type filter hook {chain} priority -300; }}");
    let mut lines = vec!["add table inet TABLE".to_owned(), chain("input"), chain("output")];
    lines.extend_from_slice(rules);
    let text = lines.join("\n").replace("TABLE", name);
    (format!("nft -f - <<'RULES'\n{text}\nRULES\n"), format!("nft delete table inet {name}"))
}
