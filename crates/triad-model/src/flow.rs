use serde::{Deserialize, Serialize};

use crate::{
    AGENT, DATABASE, DNS, Design, ETCD, ETCD_PEER, HEARTBEAT, HOP, HTTP, HTTPS, IpNet, METRICS, Role, ServerName,
};

/// Who opens connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Anybody.
    World,
    /// Addresses in a network that the file names.
    Network(IpNet),
    /// Another server of the design, from its private address.
    Server(ServerName),
}

/// Transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As nftables writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// Traffic a design needs: the firewall admits exactly these and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    /// The server that accepts.
    pub to: ServerName,
    /// Port it listens on.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Who opens the connection.
    pub from: Origin,
    /// Why the design needs it, as a clause: "users read the site over HTTPS".
    pub why: String,
}

/// Everything that must get through, for all servers, sorted by the accepting server, then port.
///
/// Loopback and answers to what a server itself opened are not flows: every firewall admits those.
pub fn flows(design: &Design) -> Vec<Flow> {
    let mut flows = Vec::new();
    let mut admit = |to: &ServerName, protocol, port, from: Origin, why: &str| {
        flows.push(Flow { to: to.clone(), port, protocol, from, why: why.to_owned() });
    };
    let server = |name: &ServerName| Origin::Server(name.clone());

    for to in design.fronts() {
        let why = if design.tls.is_some() { "plain HTTP is redirected to HTTPS" } else { "users read the site" };
        admit(to, Protocol::Tcp, HTTP, Origin::World, why);
        if design.tls.is_some() {
            admit(to, Protocol::Tcp, HTTPS, Origin::World, "users read the site over HTTPS");
        }
    }
    for to in design.carriers(Role::Dns) {
        admit(to, Protocol::Udp, DNS, Origin::World, "resolvers ask for the domain's addresses");
        admit(to, Protocol::Tcp, DNS, Origin::World, "resolvers ask again over TCP when an answer is long");
    }
    for from in &design.servers {
        for to in design.next_hops(&from.name) {
            admit(to, Protocol::Tcp, HOP, server(&from.name), "its edge passes requests on to this server's edge");
        }
    }
    for to in design.carriers(Role::Database) {
        for from in design.carriers(Role::App).into_iter().filter(|from| *from != to) {
            admit(to, Protocol::Tcp, DATABASE, server(from), "its application reads and writes the database");
        }
        for from in design.carriers(Role::Database).into_iter().filter(|from| *from != to) {
            admit(to, Protocol::Tcp, DATABASE, server(from), "its database replicates from or to this one");
        }
    }
    votes(design, &mut admit);
    for to in &design.servers {
        for from in design.servers.iter().filter(|from| from.name != to.name) {
            admit(&to.name, Protocol::Tcp, AGENT, server(&from.name), "its agent asks for this server's state");
            admit(&to.name, Protocol::Udp, HEARTBEAT, server(&from.name), "its agent says that its server lives");
            if design.monitor.is_some() {
                admit(&to.name, Protocol::Tcp, METRICS, server(&from.name), "metrics may be collected from here");
            }
        }
        for network in design.monitor.iter().flat_map(|monitor| &monitor.metrics_from) {
            admit(&to.name, Protocol::Tcp, METRICS, Origin::Network(*network), "monitor.metrics_from lists it");
        }
        if let Some(firewall) = &design.firewall {
            for network in &firewall.ssh_from {
                admit(
                    &to.name,
                    Protocol::Tcp,
                    firewall.ssh_port,
                    Origin::Network(*network),
                    "firewall.ssh_from lists it",
                );
            }
        }
    }
    flows.sort();
    flows.dedup_by(|later, first| {
        let same = (&later.to, later.port, later.protocol, &later.from)
            == (&first.to, first.port, first.protocol, &first.from);
        if same && later.why != first.why {
            first.why = format!("{}; {}", first.why, later.why);
        }
        same
    });
    flows
}

/// What servers need to agree.
fn votes(design: &Design, admit: &mut impl FnMut(&ServerName, Protocol, u16, Origin, &str)) {
    let server = |name: &ServerName| Origin::Server(name.clone());
    let voters = design.voters();
    for to in &voters {
        for from in design.servers.iter().filter(|from| from.name != **to && from.private.is_some()) {
            admit(to, Protocol::Tcp, ETCD, server(&from.name), "its agent asks which database is the primary");
        }
        for from in voters.iter().filter(|from| *from != to) {
            admit(to, Protocol::Tcp, ETCD_PEER, server(from), "its etcd votes with this server's");
        }
    }
}
