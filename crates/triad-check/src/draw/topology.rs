//! What is joined to what: servers in rows from users to data, and the traffic between them.

use triad_model::{Algorithm, DATABASE, Design, HOP, HTTP, HTTPS, Role, ServerName};

/// The most servers beside each other; more make another row.
const ROW_SERVERS_MAX: usize = 6;

/// A place traffic starts from or leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// Whoever uses the site.
    User,
    /// The server at this place in the design.
    Server(usize),
}

/// Where traffic leads.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// To whom.
    pub node: Node,
    /// How much of it: "weight 5", "passive".
    pub share: Option<String>,
}

/// Traffic of one kind: each of `from` opens connections to each of `to`.
#[derive(Clone, Debug, PartialEq)]
pub struct Net {
    /// What it is and its port.
    pub label: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Who sends.
    pub from: Vec<Node>,
    /// Who receives.
    pub to: Vec<Arrival>,
}

impl Net {
    /// Without what stays within one server.
    fn between(from: Vec<Node>, to: Vec<Arrival>, label: String, encrypted: bool) -> Self {
        let (mut from, mut to) = (from, to);
        to.retain(|arrival| from.iter().any(|node| *node != arrival.node));
        from.retain(|node| to.iter().any(|arrival| arrival.node != *node));
        Self { label, encrypted, from, to }
    }

    /// Everywhere it leaves and arrives: whether it arrives there, and how much of it.
    pub fn ends(&self) -> impl Iterator<Item = (Node, bool, Option<String>)> {
        let leaves = self.from.iter().map(|node| (*node, false, None));
        leaves.chain(self.to.iter().map(|arrival| (arrival.node, true, arrival.share.clone())))
    }

    /// All it joins; who sends and receives is named twice.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        self.ends().map(|(node, ..)| node)
    }
}

/// Servers from users to data, in the order of the file; `Node::User` alone is the first row.
pub fn rows(design: &Design) -> Vec<Vec<Node>> {
    let mut rows = vec![vec![Node::User]];
    for role in [Role::Balancer, Role::Web, Role::App, Role::Database] {
        let servers = design.servers.iter().enumerate().filter(|(_, server)| depth(design, &server.name) == role);
        let nodes: Vec<Node> = servers.map(|(index, _)| Node::Server(index)).collect();
        // Rows of about the same length.
        let count = nodes.len().div_ceil(ROW_SERVERS_MAX).max(1);
        rows.extend(nodes.chunks(nodes.len().div_ceil(count).max(1)).map(<[Node]>::to_vec));
    }
    rows
}

/// The role that says how far from users a server stands. Name servers stand with the servers users reach.
fn depth(design: &Design, server: &ServerName) -> Role {
    design.roles(server).into_iter().find(|role| *role != Role::Dns).unwrap_or(design.front_role())
}

/// All traffic between different places of the picture, DNS aside.
pub fn nets(design: &Design) -> Vec<Net> {
    [requests(design), balanced(design), applications(design), writes(design), replication(design)]
        .into_iter()
        .filter(|net| !net.to.is_empty())
        .collect()
}

/// Users' requests.
fn requests(design: &Design) -> Net {
    let encrypted = design.tls.is_some();
    let label =
        if encrypted { format!("HTTPS {HTTPS} (HTTP {HTTP} redirects)") } else { format!("HTTP {HTTP}, plain") };
    Net::between(vec![Node::User], arrivals(design, design.fronts()), label, encrypted)
}

/// From balancers to backends.
fn balanced(design: &Design) -> Net {
    let Some(balancer) = &design.balancer else { return hop(design, "", vec![], vec![]) };
    let to = balancer.backends.iter().filter_map(|backend| {
        Some(Arrival { node: node(design, &backend.server)?, share: share(design, &backend.server) })
    });
    hop(design, algorithm(balancer.balancing.algorithm), nodes(design, &balancer.servers), to.collect())
}

/// From web servers to applications that run elsewhere.
fn applications(design: &Design) -> Net {
    let apart = design.carriers(Role::Web).into_iter().filter(|server| !design.carries(server, Role::App));
    hop(design, "to the application", nodes(design, apart), arrivals(design, design.carriers(Role::App)))
}

/// From one server's edge to another's.
fn hop(design: &Design, what: &str, from: Vec<Node>, to: Vec<Arrival>) -> Net {
    let encrypted = design.tls.is_some();
    let how = if encrypted { format!("mutual TLS {HOP}") } else { format!("HTTP {HOP}, plain") };
    Net::between(from, to, format!("{what} · {how}"), encrypted)
}

/// From applications to the database that takes writes.
fn writes(design: &Design) -> Net {
    let to = arrivals(design, design.database.iter().map(|database| &database.primary));
    let label = format!("to the primary · MySQL {DATABASE}, plain");
    Net::between(nodes(design, design.carriers(Role::App)), to, label, false)
}

/// From the primary to its replicas: the way the data goes, although replicas open the connections.
fn replication(design: &Design) -> Net {
    let from = nodes(design, design.database.iter().map(|database| &database.primary));
    let to = arrivals(design, design.database.iter().flat_map(|database| &database.replicas));
    let takes_over = if design.fails_over() { ", takes over" } else { "" };
    Net::between(from, to, format!("replication{takes_over} · MySQL {DATABASE}, plain"), false)
}

/// As people call it.
pub fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RoundRobin => "round robin",
        Algorithm::LeastConn => "least connections",
        Algorithm::Random => "two random choices",
        Algorithm::Source => "hash of address",
        Algorithm::Uri => "hash of path",
        Algorithm::Header => "hash of header",
        Algorithm::Cookie => "hash of cookie",
        Algorithm::First => "first with room",
    }
}

/// What part of the balancer's requests `server` gets; `None` if it is no backend.
pub fn share(design: &Design, server: &ServerName) -> Option<String> {
    let backend = design.balancer.iter().flat_map(|balancer| &balancer.backends).find(|it| it.server == *server)?;
    Some(if backend.backup { "passive".to_owned() } else { format!("weight {}", backend.weight) })
}

fn node(design: &Design, name: &ServerName) -> Option<Node> {
    design.servers.iter().position(|server| server.name == *name).map(Node::Server)
}

fn nodes<'n>(design: &Design, names: impl IntoIterator<Item = &'n ServerName>) -> Vec<Node> {
    names.into_iter().filter_map(|name| node(design, name)).collect()
}

fn arrivals<'n>(design: &Design, names: impl IntoIterator<Item = &'n ServerName>) -> Vec<Arrival> {
    nodes(design, names).into_iter().map(|node| Arrival { node, share: None }).collect()
}
