//! What can die: the parts of a design, and the faults that remove them.

use std::fmt;

use serde::{Deserialize, Serialize};
use triad_model::{DATABASE, Design, HOP, Origin, Role, ServerName, flows};

use super::need::{Manner, Return};
use super::{Actor, times};

/// Something a request can need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A server's edge process: balancer, web server, hop, relay.
    Edge(ServerName),
    /// A server's name server process.
    Dns(ServerName),
    /// An instance of the application, from 1, and how long it takes to come back.
    Instance { server: ServerName, number: u16, restart_ms: u64 },
    /// A server's MariaDB.
    Database(ServerName),
    /// The way between two servers, over their private addresses.
    Link(ServerName, ServerName),
    /// The way from the world to a server's public addresses.
    Public(ServerName),
    /// A server's way to the private network.
    Private(ServerName),
    /// A site certificate that browsers accept.
    Certificate,
}

/// Processes of a server that can die alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Process {
    /// `triad edge`.
    Edge,
    /// `triad dns`.
    Dns,
    /// Every instance of the application on the server.
    App,
    /// The first instance of the application.
    Instance,
    /// MariaDB of the primary.
    Primary,
    /// MariaDB of a replica.
    Replica,
    /// etcd, where the server is a voter.
    Etcd,
    /// The agent, and with it every other process of the server.
    Agent,
}

/// Something that dies. Its text is stable: `server srv2`, `edge on srv1`, `app on srv2`, `app-1 on srv2`,
/// `agent on srv1`, `primary process`, `replica process on srv2`, `etcd on srv1`, `etcd on most voters`, `link srv1-srv2`,
/// `private link of srv2`, `public link of srv1`, `private network`, `public network`, `disk of srv3`,
/// `all database servers`, `site certificate`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A server falls silent: power, kernel, or all its links.
    Server(ServerName),
    /// A process is killed.
    Process {
        /// Which.
        process: Process,
        /// On which server.
        server: ServerName,
    },
    /// Two servers cannot reach each other, though both reach the others.
    Link(ServerName, ServerName),
    /// A server's interface on the private network is down.
    PrivateLink(ServerName),
    /// A server's interface on the public network is down.
    PublicLink(ServerName),
    /// No server reaches another.
    PrivateNetwork,
    /// The world reaches no server.
    PublicNetwork,
    /// etcd is gone, and stays so, on so many voters that the others are no majority.
    EtcdOnMost,
    /// All servers with a database fall silent at once, where one alone would be replaced.
    DatabaseServers(Vec<ServerName>),
    /// The database's files on a server are destroyed.
    Disk(ServerName),
    /// The site's certificate is expired or broken.
    Certificate,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, of) = self.kind_and_name();
        let space = if kind.is_empty() || of.is_empty() { "" } else { " " };
        write!(f, "{kind}{space}{of}")
    }
}

impl Fault {
    /// Its text in two pieces: what it is, and of which server; the second is empty where there is only one.
    pub(crate) fn kind_and_name(&self) -> (&'static str, String) {
        match self {
            Fault::Server(server) => ("server", server.to_string()),
            Fault::Process { process, server } => match process {
                Process::Edge => ("edge on", server.to_string()),
                Process::Dns => ("dns on", server.to_string()),
                Process::App => ("app on", server.to_string()),
                Process::Instance => ("app-1 on", server.to_string()),
                Process::Primary => ("primary process", String::new()),
                Process::Replica => ("replica process on", server.to_string()),
                Process::Agent => ("agent on", server.to_string()),
                Process::Etcd => ("etcd on", server.to_string()),
            },
            Fault::EtcdOnMost => ("etcd on most voters", String::new()),
            Fault::DatabaseServers(_) => ("all database servers", String::new()),
            Fault::Link(first, second) => ("link", format!("{first}-{second}")),
            Fault::PrivateLink(server) => ("private link of", server.to_string()),
            Fault::PublicLink(server) => ("public link of", server.to_string()),
            Fault::PrivateNetwork => ("private network", String::new()),
            Fault::PublicNetwork => ("public network", String::new()),
            Fault::Disk(server) => ("disk of", server.to_string()),
            Fault::Certificate => ("site certificate", String::new()),
        }
    }

    /// Every fault that `design` can have, in the order they are reported in.
    pub fn all(design: &Design) -> Vec<Fault> {
        let names = || design.servers.iter().map(|server| &server.name);
        let mut faults: Vec<Fault> = names().cloned().map(Fault::Server).collect();
        for process in [Process::Edge, Process::Dns, Process::App, Process::Instance] {
            faults.extend(names().filter(|server| runs(design, server, process)).map(|server| of(process, server)));
        }
        for process in [Process::Primary, Process::Replica, Process::Agent, Process::Etcd] {
            faults.extend(names().filter(|server| runs(design, server, process)).map(|server| of(process, server)));
        }
        if design.fails_over() {
            faults.push(Fault::EtcdOnMost);
        }
        faults.extend(links(design).into_iter().map(|(first, second)| Fault::Link(first, second)));
        if design.servers.len() > 1 {
            faults.extend(names().cloned().map(Fault::PrivateLink));
            faults.push(Fault::PrivateNetwork);
        }
        let public = design.servers.iter().filter(|server| !server.public.is_empty());
        faults.extend(public.map(|server| Fault::PublicLink(server.name.clone())));
        faults.push(Fault::PublicNetwork);
        faults.extend(design.carriers(Role::Database).into_iter().cloned().map(Fault::Disk));
        if design.fails_over() {
            faults.push(Fault::DatabaseServers(design.carriers(Role::Database).into_iter().cloned().collect()));
        }
        faults.extend(design.tls.as_ref().map(|_| Fault::Certificate));
        faults
    }

    /// How `part` behaves under this fault and what brings it back; `None` if it is not touched.
    pub(crate) fn removes(&self, part: &Part) -> Option<(Manner, Return)> {
        let silent = Some((Manner::Silent, Return::Repaired));
        let dead = Some((Manner::Dead, Return::Repaired));
        match self {
            Fault::Server(server) if part.is_on(server) => dead,
            Fault::DatabaseServers(servers) if servers.iter().any(|server| part.is_on(server)) => dead,
            Fault::PrivateLink(server) if part.is_private() && part.is_on(server) => dead,
            Fault::PublicLink(server) if matches!(part, Part::Public(of) if of == server) => silent,
            Fault::Link(first, second) if *part == Part::link(first, second) => silent,
            Fault::PrivateNetwork if part.is_private() => dead,
            Fault::PublicNetwork if matches!(part, Part::Public(_)) => silent,
            // Its process may live on, and fail what it is asked.
            Fault::Disk(server) if *part == Part::Database(server.clone()) => Some((Manner::Fails, Return::Repaired)),
            Fault::Certificate if *part == Part::Certificate => Some((Manner::Refuses, Return::Repaired)),
            Fault::Process { process, server } if part.is_on(server) => kill(*process, part),
            _ => None,
        }
    }
}

fn of(process: Process, server: &ServerName) -> Fault {
    Fault::Process { process, server: server.clone() }
}

fn runs(design: &Design, server: &ServerName, process: Process) -> bool {
    let primary = design.database.as_ref().is_some_and(|database| database.primary == *server);
    match process {
        Process::Edge => design.has_edge(server),
        Process::Dns => design.carries(server, Role::Dns),
        Process::App => design.carries(server, Role::App),
        Process::Instance => {
            design.carries(server, Role::App) && design.app.as_ref().is_some_and(|app| app.instances > 1)
        }
        Process::Primary => primary,
        Process::Replica => design.carries(server, Role::Database) && !primary,
        Process::Agent => true,
        Process::Etcd => design.voters().contains(&server),
    }
}

/// Pairs of servers between which requests or replication flow. Agents talk over every pair; no request needs that.
fn links(design: &Design) -> Vec<(ServerName, ServerName)> {
    let mut pairs: Vec<(ServerName, ServerName)> = flows(design)
        .into_iter()
        .filter(|flow| [HOP, DATABASE].contains(&flow.port))
        .filter_map(|flow| match flow.from {
            Origin::Server(from) => Some(if from <= flow.to { (from, flow.to) } else { (flow.to, from) }),
            _ => None,
        })
        .collect();
    pairs.sort();
    pairs.dedup();
    pairs
}

fn kill(process: Process, part: &Part) -> Option<(Manner, Return)> {
    let (restart_ms, manner) = match part {
        Part::Edge(_) => (times::EDGE_RESTART_MS, Manner::Holds),
        Part::Dns(_) => (times::DNS_RESTART_MS, Manner::Holds),
        Part::Instance { restart_ms, .. } => (*restart_ms, Manner::Refuses),
        Part::Database(_) => (times::DATABASE_RESTART_MS, Manner::Refuses),
        Part::Link(..) | Part::Public(_) | Part::Private(_) | Part::Certificate => return None,
    };
    let hit = match process {
        // The sockets it holds go with it; the new one opens them before it starts who answers. Of a database nobody says
        // then that it is gone.
        Process::Agent => {
            let manner = if matches!(part, Part::Database(_)) { Manner::Dead } else { manner };
            return Some((manner, Return::Within(times::AGENT_RESTART_MS + restart_ms, Actor::Supervisor)));
        }
        Process::Edge => matches!(part, Part::Edge(_)),
        Process::Dns => matches!(part, Part::Dns(_)),
        Process::App => matches!(part, Part::Instance { .. }),
        Process::Instance => matches!(part, Part::Instance { number: 1, .. }),
        Process::Primary | Process::Replica => matches!(part, Part::Database(_)),
        Process::Etcd => false,
    };
    hit.then_some((manner, Return::Within(restart_ms, Actor::Supervisor)))
}

impl Part {
    /// The link between two servers, whichever is named first.
    pub(crate) fn link(first: &ServerName, second: &ServerName) -> Part {
        if first <= second {
            Part::Link(first.clone(), second.clone())
        } else {
            Part::Link(second.clone(), first.clone())
        }
    }

    /// Whether it is a way over the private network.
    fn is_private(&self) -> bool {
        matches!(self, Part::Link(..) | Part::Private(_))
    }

    fn is_on(&self, server: &ServerName) -> bool {
        match self {
            Part::Edge(on) | Part::Dns(on) | Part::Database(on) | Part::Public(on) | Part::Private(on) => on == server,
            Part::Instance { server: on, .. } => on == server,
            Part::Link(first, second) => first == server || second == server,
            Part::Certificate => false,
        }
    }
}
