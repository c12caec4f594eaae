//! What can be broken.

use triad_model::{BackendMode, Certificate, Design, Role, ServerName};

use super::{Mistake, Place};

/// A fault, or what operators do under load.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// SIGKILL to a process once; its agent (or, for the agent, the server's init) starts it again.
    Kill(Process),
    /// SIGTERM, in the same way.
    Restart(Process),
    /// SIGKILL again and again.
    KeepKilling(Process),
    /// SIGSTOP.
    Pause(Process),
    /// Everything on the server at once, as a power cut.
    KillServer(Place),
    /// SIGSTOP to everything on the server at once.
    PauseServer(Place),
    /// Another server becomes the database's primary, as `triad switchover` does; this one, or any that can.
    SwitchOver(Option<Place>),
    /// The voters' etcd gets another leader.
    MoveLeader(Place),
    /// Its database receives, and does not apply: its tables are locked.
    HoldApplier(Place),
    /// Every server of the design has more to compute and to write than it can.
    Saturate,
    /// Both of its network cables.
    Cut(Place),
    /// What one server sends another is lost.
    CutFrom {
        /// The server that hears nothing more.
        server: Place,
        /// Of whom.
        from: Place,
        /// It can still send.
        one_way: bool,
    },
    /// A network, of one server or of all: what comes and goes over it is lost.
    CutNetwork {
        /// Whose; `None` for all servers.
        server: Option<Place>,
        /// Which.
        network: Network,
    },
    /// Its networks are slow (tc-netem(8)), lossy or narrow (tc-tbf(8)).
    Slow {
        /// The server.
        server: Place,
        /// How.
        netem: Netem,
    },
    /// What comes in for a port is not let through.
    Port {
        /// The server.
        server: Place,
        /// Its port.
        port: u16,
        /// What becomes of it.
        how: PortFault,
    },
    /// The design's file is changed, and the server's agent told to read it again.
    Change {
        /// The server.
        server: Place,
        /// What stands in the file once.
        old: Quoted,
        /// What stands there then.
        new: Quoted,
    },
    /// Its site certificate is unreadable, and its agent told to read it again.
    SpoilCertificate(Place),
    /// Its site certificate is replaced by another that is as good, and its agent told to read it.
    SwapCertificate(Place),
    /// Its edge is replaced by a new one of the binary that is installed, as `triad upgrade` does.
    Upgrade(Place),
    /// The balancers are told something of it: no fault, but a thing that operators do.
    SetBackend {
        /// The server.
        server: Place,
        /// Whether it gets requests.
        mode: BackendMode,
        /// Its weight, in place of the file's.
        weight: Option<u16>,
    },
    /// Clients who send or read as slowly as they can, from another address than the load's.
    SlowClients {
        /// Connections at once.
        count: u32,
        /// What they are slow with.
        part: SlowPart,
    },
    /// Connections without requests, from another address than the load's.
    Flood(Flood),
    /// Its own disk has no room left.
    FillDisk(Place),
    /// Its database confirms commits before they are on disk: a setting known to lose writes, for controls.
    Lossy(Place),
    /// Its database confirms commits before a replica has them: the same, for controls.
    Asynchronous(Place),
}

/// A child of a server's agent, or the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// `edge`, `dns`, `mariadbd`, `etcd`, `app-1` …, `agent`.
    pub name: String,
    /// Where its name stands, from 1.
    pub column: usize,
    /// Whose.
    pub server: Place,
}

/// One of the two networks that servers are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Between servers.
    Private,
    /// To the world.
    Public,
}

impl Network {
    /// As scenarios and labs call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Network::Private => "private",
            Network::Public => "public",
        }
    }
}

/// A text in quotation marks.
#[derive(Clone, Debug)]
pub struct Quoted {
    /// What is between them.
    pub text: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its first character, from 1.
    pub column: usize,
}

impl PartialEq for Quoted {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// How a network is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netem {
    /// Everything sent is late, in milliseconds.
    DelayMs(u32),
    /// Part of what is sent is lost, in percent.
    LossPercent(u32),
    /// No more is sent, in kbit/s.
    RateKbit(u32),
}

/// What becomes of what comes in for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortFault {
    /// TCP and UDP are dropped without a word.
    Drop,
    /// So many percent of new connections are refused.
    RefusePercent(u32),
    /// So many percent of all connections, those that are open included, are reset when data comes over them.
    ResetPercent(u32),
}

/// What slow clients are slow with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPart {
    /// A request's head never ends.
    Headers,
    /// Its body comes a few bytes at a time.
    Body,
    /// Its answer is read a few bytes at a time.
    Read,
}

impl SlowPart {
    /// As scenarios write it.
    pub fn as_str(self) -> &'static str {
        match self {
            SlowPart::Headers => "headers",
            SlowPart::Body => "body",
            SlowPart::Read => "read",
        }
    }
}

/// Connections that nobody sends anything over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Flood {
    /// So many are kept open; one that is closed is opened again.
    Idle(u32),
    /// They are opened and closed as fast as can be.
    New,
}

impl Fault {
    /// Whether ending one ends the other.
    pub fn same(&self, other: &Fault) -> bool {
        match (self, other) {
            (Fault::CutFrom { server: a, from: b, .. }, Fault::CutFrom { server: c, from: d, .. }) => a == c && b == d,
            (Fault::Slow { server: a, .. }, Fault::Slow { server: b, .. }) => a == b,
            (Fault::SetBackend { server: a, .. }, Fault::SetBackend { server: b, .. }) => a == b,
            (Fault::Port { server: a, port: b, .. }, Fault::Port { server: c, port: d, .. }) => a == c && b == d,
            (Fault::SlowClients { .. }, Fault::SlowClients { .. }) | (Fault::Flood(_), Fault::Flood(_)) => true,
            (Fault::Change { server: a, .. }, Fault::Change { server: b, .. }) => a == b,
            (Fault::KeepKilling(a), Fault::KeepKilling(b)) | (Fault::Pause(a), Fault::Pause(b)) => {
                a.name == b.name && a.server == b.server
            }
            _ => self == other,
        }
    }

    /// The servers it names.
    pub fn places(&self) -> Vec<&Place> {
        match self {
            Fault::Kill(process) | Fault::Restart(process) | Fault::KeepKilling(process) | Fault::Pause(process) => {
                vec![&process.server]
            }
            Fault::KillServer(server)
            | Fault::Cut(server)
            | Fault::Lossy(server)
            | Fault::Asynchronous(server)
            | Fault::PauseServer(server)
            | Fault::MoveLeader(server)
            | Fault::HoldApplier(server)
            | Fault::SpoilCertificate(server)
            | Fault::FillDisk(server)
            | Fault::SetBackend { server, .. }
            | Fault::Slow { server, .. }
            | Fault::SwapCertificate(server)
            | Fault::Upgrade(server)
            | Fault::Port { server, .. }
            | Fault::Change { server, .. } => vec![server],
            Fault::CutFrom { server, from, .. } => vec![server, from],
            Fault::CutNetwork { server, .. } | Fault::SwitchOver(server) => server.iter().collect(),
            Fault::SlowClients { .. } | Fault::Flood(_) | Fault::Saturate => Vec::new(),
        }
    }

    /// Whether it goes on until something ends it.
    pub(crate) fn lasts(&self) -> bool {
        !matches!(
            self,
            Fault::Kill(_)
                | Fault::Restart(_)
                | Fault::SwapCertificate(_)
                | Fault::Upgrade(_)
                | Fault::SwitchOver(_)
                | Fault::MoveLeader(_)
        )
    }

    /// Why it cannot be in `design`, where its servers are known.
    pub(super) fn unfit(&self, design: &Design) -> Option<Mistake> {
        let lacks = |place: &Place, what: &str| {
            let what = format!("{} {what}", place.resolve(design)?);
            Some(Mistake { line: place.line, column: place.column, what })
        };
        match self {
            Fault::Upgrade(place) if !design.has_edge(&place.resolve(design)?) => {
                lacks(place, "has no edge to upgrade")
            }
            Fault::SwapCertificate(place) | Fault::SpoilCertificate(place)
                if !design.fronts().contains(&&place.resolve(design)?) || !has_own_certificate(design) =>
            {
                lacks(place, "has no site certificate of the design's own authority")
            }
            _ => unknown_process(self.process()?, design),
        }
    }

    fn process(&self) -> Option<&Process> {
        match self {
            Fault::Kill(process) | Fault::Restart(process) | Fault::KeepKilling(process) | Fault::Pause(process) => {
                Some(process)
            }
            _ => None,
        }
    }
}

fn has_own_certificate(design: &Design) -> bool {
    design.tls.as_ref().is_some_and(|tls| tls.certificate == Certificate::Internal)
}

fn unknown_process(process: &Process, design: &Design) -> Option<Mistake> {
    let server = process.server.resolve(design)?;
    let known = processes(design, &server);
    if known.contains(&process.name) {
        return None;
    }
    let what = format!("{server} runs no {}; write one of {}", process.name, known.join(", "));
    Some(Mistake { line: process.server.line, column: process.column, what })
}

/// What runs on `server`, by the names that agents report.
pub(crate) fn processes(design: &Design, server: &ServerName) -> Vec<String> {
    let mut names = vec!["agent".to_owned()];
    let carries = |role| design.carries(server, role);
    names.extend(design.has_edge(server).then(|| "edge".to_owned()));
    names.extend(carries(Role::Dns).then(|| "dns".to_owned()));
    names.extend(carries(Role::Database).then(|| "mariadbd".to_owned()));
    names.extend(design.voters().contains(&server).then(|| "etcd".to_owned()));
    if let Some(app) = design.app.as_ref().filter(|_| carries(Role::App)) {
        names.extend((1..=app.instances).map(|number| format!("app-{number}")));
    }
    names
}
