//! A scenario: what a `.drill` file says.

mod fault;

use std::fmt::Write;
use std::path::PathBuf;

use triad_model::{Backend, Design, ServerName};

use crate::sample::Kind;
pub(crate) use fault::processes;
pub use fault::{Fault, Flood, Netem, Network, PortFault, Process, Quoted, SlowPart};

/// Time after the last thing a scenario waits for under load, in milliseconds: what counts as "after".
const AFTER_MS: u64 = 3_000;

/// A scenario, as written; names of servers are compared with a design by [`Scenario::mistakes`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The file's name without `.drill`.
    pub name: String,
    /// The comment that the file begins with.
    pub title: String,
    /// The design, relative to the scenario's folder.
    pub design: PathBuf,
    /// Megabytes of each server's own disk; `None`: the host's.
    pub disk_mb: Option<u32>,
    /// Requests a second.
    pub rates: Rates,
    /// Whether requests share connections that are kept, or each has a new one.
    pub keep_alive: bool,
    /// What happens, by time.
    pub steps: Vec<Step>,
    /// What must hold for the whole run.
    pub promises: Vec<Promise>,
    /// A control: the instrument that must report a failure.
    pub control: Option<Control>,
}

/// Requests a second, by kind; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rates {
    /// Pages.
    pub reads: u32,
    /// Entries.
    pub writes: u32,
    /// Static files.
    pub files: u32,
    /// Lists of entries.
    pub lists: u32,
    /// Who insert rows through the relay of each application server, each one row after the other: no rate.
    #[serde(default)]
    pub writers: u32,
}

impl Rates {
    /// Of one kind; statements have none.
    pub fn of(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Reads => self.reads,
            Kind::Writes => self.writes,
            Kind::Files => self.files,
            Kind::Lists => self.lists,
            Kind::Statements => 0,
        }
    }

    /// Whether anything is stored.
    pub(crate) fn write(&self) -> bool {
        self.writes > 0 || self.writers > 0
    }

    pub(crate) fn set(&mut self, kind: Kind, rate: u32) {
        match kind {
            Kind::Reads => self.reads = rate,
            Kind::Writes => self.writes = rate,
            Kind::Files => self.files = rate,
            Kind::Lists => self.lists = rate,
            Kind::Statements => {}
        }
    }
}

/// One thing that is done, and what must hold by when.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When, in milliseconds since the load began.
    pub at_ms: u64,
    /// What.
    pub action: Action,
    /// It as written.
    pub text: String,
    /// Deadlines that count from it.
    pub conditions: Vec<Condition>,
}

/// A deadline.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Counted from its step, in milliseconds.
    pub within_ms: u64,
    /// What must hold from then to the next step.
    pub goal: Goal,
    /// It as written.
    pub text: String,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Goal {
    /// Every request of the kind succeeds.
    Succeed(Kind),
    /// Every read is answered by an instance on this server.
    From(Place),
    /// Every server's agent says that it is healthy.
    Healthy,
    /// Every database has every acknowledged write, by the record.
    InSync,
}

/// Whoever was the primary, and its first replica, when the drill began.
const OLD_PRIMARY: &str = "old-primary";
const OLD_REPLICA: &str = "old-replica";

/// A server as written: its name, or its part in the design (`primary`, `replica`, `witness`, `active`, `passive`).
/// `primary` and `replica` are whoever is that at the moment; `old-primary` and `old-replica` who was when the drill began.
#[derive(Clone, Debug)]
pub struct Place {
    /// The word.
    pub word: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its first character, from 1.
    pub column: usize,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl Place {
    /// Whether it is who it was when the drill began.
    pub(crate) fn is_old(&self) -> bool {
        [OLD_PRIMARY, OLD_REPLICA].contains(&self.word.as_str())
    }

    /// Whether it may be another server in another run.
    pub(crate) fn is_moving(&self) -> bool {
        self.is_old() || ["primary", "replica"].contains(&self.word.as_str())
    }

    /// The server of `design` that is meant.
    pub fn resolve(&self, design: &Design) -> Option<ServerName> {
        let backend = |backup: bool| {
            let backends = &design.balancer.as_ref()?.backends;
            backends.iter().find(|backend: &&Backend| backend.backup == backup).map(|backend| backend.server.clone())
        };
        match self.word.as_str() {
            "primary" | OLD_PRIMARY => design.database.as_ref().map(|database| database.primary.clone()),
            "witness" => witness(design),
            "replica" | OLD_REPLICA => design.database.as_ref().and_then(|database| database.replicas.first().cloned()),
            "active" => backend(false),
            "passive" => backend(true),
            name => design.servers.iter().map(|server| &server.name).find(|server| server.as_str() == name).cloned(),
        }
    }
}

/// The voter without a database.
fn witness(design: &Design) -> Option<ServerName> {
    let database = design.database.as_ref()?;
    design.voters().into_iter().find(|voter| !database.members().any(|member| member == *voter)).cloned()
}

/// A fault begins, or an earlier one ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// It begins.
    Begin(Fault),
    /// It ends; one that is the [`Fault::same`] has begun before.
    End(Fault),
}

impl Action {
    /// The fault.
    pub fn fault(&self) -> &Fault {
        match self {
            Action::Begin(fault) | Action::End(fault) => fault,
        }
    }
}

/// What must hold for the whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Failed requests, of a kind or of all.
    Failed {
        /// Which; `None` for all.
        kind: Option<Kind>,
        /// As many as that.
        at_most: u64,
    },
    /// The longest time without an answer that was asked for.
    Gap {
        /// Of which requests; `None` for all.
        kind: Option<Kind>,
        /// In milliseconds.
        at_most_ms: u64,
    },
    /// Acknowledged writes that are gone.
    Lost {
        /// As many as that.
        at_most: u64,
    },
    /// New primaries.
    Failovers {
        /// No fewer.
        at_least: u64,
        /// No more.
        at_most: u64,
    },
}

/// What a control must be caught by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The checker of writes reports loss.
    Lost,
    /// Requests fail: those of a kind, or any.
    Failed(Option<Kind>),
}

impl Scenario {
    /// How long the load lasts, in milliseconds: until the last deadline that needs it, and a little more.
    pub fn load_ms(&self) -> u64 {
        let under_load = |condition: &&Condition| condition.goal != Goal::Healthy;
        let end = |step: &Step| {
            step.at_ms
                + step.conditions.iter().filter(under_load).map(|condition| condition.within_ms).max().unwrap_or(0)
        };
        self.steps.iter().map(end).max().unwrap_or(0) + AFTER_MS
    }

    /// From the first fault to the last deadline under load, in milliseconds.
    pub fn fault_ms(&self) -> (u64, u64) {
        (self.steps.first().map_or(0, |step| step.at_ms), self.load_ms() - AFTER_MS)
    }

    /// Whether clients of ill will come beside the load, so that the load needs an address of its own.
    pub(crate) fn has_attack(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::Begin(Fault::SlowClients { .. } | Fault::Flood(_))))
    }

    /// Whether it needs the program slowhttptest.
    pub fn has_slow_clients(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::Begin(Fault::SlowClients { .. })))
    }

    /// What `design` has no match for: servers, processes, kinds of requests.
    pub fn mistakes(&self, design: &Design) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for step in &self.steps {
            let goals = step.conditions.iter().filter_map(|condition| match &condition.goal {
                Goal::From(place) => Some(place),
                _ => None,
            });
            for place in step.action.fault().places().into_iter().chain(goals) {
                mistakes.extend(unknown_server(place, design));
            }
            mistakes.extend(step.action.fault().unfit(design));
        }
        mistakes.dedup();
        mistakes
    }
}

impl Scenario {
    /// Changes of the design's file that its text `file` has no place for.
    pub fn misplaced(&self, file: &str) -> Vec<Mistake> {
        let changed = self.steps.iter().filter_map(|step| match &step.action {
            Action::Begin(Fault::Change { old, .. }) => Some(old),
            _ => None,
        });
        let wrong = |old: &Quoted| {
            let count = file.matches(&old.text).count();
            let what = format!("the design's file has this {count} times; write something that it has once");
            (count != 1).then_some(Mistake { line: old.line, column: old.column, what })
        };
        changed.filter_map(wrong).collect()
    }
}

fn unknown_server(place: &Place, design: &Design) -> Option<Mistake> {
    if place.resolve(design).is_some() {
        return None;
    }
    let names: Vec<&str> = design.servers.iter().map(|server| server.name.as_str()).collect();
    let what = format!("the design has no {}; write one of {}", place.word, names.join(", "));
    Some(Mistake { line: place.line, column: place.column, what })
}

/// Something wrong in a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, and what to write.
    pub what: String,
}

/// `mistakes` in the file `name` with `text`, each with its place and line.
pub fn render(mistakes: &[Mistake], name: &str, text: &str) -> String {
    let mut out = String::new();
    for Mistake { line, column, what } in mistakes {
        writeln!(out, "{name}:{line}:{column}: {what}").expect("a string takes all");
        let source = text.lines().nth(line - 1).unwrap_or_default();
        writeln!(out, "    {source}\n    {:>column$}", "^").expect("a string takes all");
    }
    out
}
