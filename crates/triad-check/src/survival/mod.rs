//! What a design survives: for everything that can die, what becomes of reads and writes, after how long, by whose
//! action, and what may be lost.
//!
//! It is a model, not a list of rules. A design becomes a tree of what a request needs (`tree`), a fault removes parts
//! of it (`fault`), and what is left says what becomes of the request (`need`). It describes today's product; the
//! times are in `times`, as bounds that a drill can measure. The application's health path is taken to answer without
//! asking the database.

mod fault;
mod need;
mod table;
pub mod times;
mod tree;

use serde::{Deserialize, Serialize};
use triad_model::{Design, Role, ServerName};

pub use fault::{Fault, Process};
pub(crate) use table::in_seconds;
pub use table::{render, sentence};

use need::{Breaks, Effect, Need, Return};
use tree::Request;

/// What a fault does to the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// [`Fault`] as text, stable.
    pub id: String,
    /// What dies.
    pub fault: Fault,
    /// Pages that the application makes from the database.
    pub reads: Outcome,
    /// Changes of the database.
    pub writes: Outcome,
    /// Static files; `None` where the design has none.
    pub files: Option<Outcome>,
}

/// What becomes of requests of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether and when they go on.
    pub survival: Survival,
    /// Who sees to it; `None` where nothing needs to be done.
    pub by: Option<Actor>,
    /// The same for clients that keep to the one address of a front they know, in milliseconds; `None` where it makes
    /// no difference.
    pub one_address_ms: Option<u64>,
    /// What may be lost.
    pub lost: Lost,
}

/// Whether and when requests go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survival {
    /// They do not notice.
    Untouched,
    /// They go on at once, another way.
    AtOnce,
    /// They wait or fail for at most so many milliseconds, then go on by themselves.
    Within(u64),
    /// Some of them fail until an operator has repaired it.
    SomeFail,
    /// All of them fail until an operator has repaired it.
    AllFail,
}

/// Who makes requests go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Resolvers ask another name server.
    Resolver,
    /// Clients try the other address; DNS leaves the dead one out.
    Client,
    /// An edge sends requests elsewhere.
    Balancer,
    /// The agent starts the process again; what starts services starts the agent.
    Supervisor,
    /// The primary stops waiting for its replica.
    Primary,
    /// A replica takes over from the primary.
    Replica,
    /// A person.
    Operator,
}

/// What may be lost, from the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// Nothing.
    Nothing,
    /// Statements that the database had not answered when it happened. They fail once, and a write among them may have
    /// been done or not.
    StatementsInFlight,
    /// Requests that were under way when it happened.
    RequestsInFlight,
    /// Acknowledged writes that no replica had: those made while none answered.
    WritesWithoutReplica,
    /// All data.
    AllData,
}

/// What every fault of `design` does.
pub fn survival(design: &Design) -> Vec<Prediction> {
    let trees = Trees::of(design);
    Fault::all(design).into_iter().map(|fault| trees.under(design, fault)).collect()
}

/// What `fault` does to `design`.
pub fn predict(design: &Design, fault: Fault) -> Prediction {
    Trees::of(design).under(design, fault)
}

struct Trees {
    read: Need,
    write: Need,
    file: Option<Need>,
}

impl Trees {
    fn of(design: &Design) -> Self {
        let files = design.web.as_ref().and_then(|web| web.root.as_ref());
        Self {
            read: tree::request(design, Request::Read),
            write: tree::request(design, Request::Write),
            file: files.map(|_| tree::request(design, Request::File)),
        }
    }

    fn under(&self, design: &Design, fault: Fault) -> Prediction {
        let outcome = |need: &Need, request| Outcome::of(need.under(&fault), &fault, request, design);
        Prediction {
            id: fault.to_string(),
            reads: outcome(&self.read, Request::Read),
            writes: outcome(&self.write, Request::Write),
            files: self.file.as_ref().map(|need| outcome(need, Request::File)),
            fault,
        }
    }
}

impl Outcome {
    /// Whether requests go on without an operator.
    pub fn goes_on(&self) -> bool {
        !matches!(self.survival, Survival::SomeFail | Survival::AllFail)
    }

    fn of(effect: Effect, fault: &Fault, request: Request, design: &Design) -> Self {
        let (survival, by, breaks) = match effect {
            Effect::None => (Survival::Untouched, None, Breaks::Nothing),
            Effect::Pause(pause) if pause.ms == 0 => (Survival::AtOnce, Some(pause.by), pause.breaks),
            Effect::Pause(pause) => (Survival::Within(pause.ms), Some(pause.by), pause.breaks),
            Effect::Fails { back: Return::Within(ms, by), .. } | Effect::Gone { back: Return::Within(ms, by), .. } => {
                (Survival::Within(ms), Some(by), Breaks::All)
            }
            Effect::Fails { all: false, back: Return::Repaired } => {
                (Survival::SomeFail, Some(Actor::Operator), Breaks::All)
            }
            Effect::Fails { .. } | Effect::Gone { .. } => (Survival::AllFail, Some(Actor::Operator), Breaks::All),
        };
        let one_address_ms = match effect {
            Effect::Pause(pause) => pause.one_address_ms,
            _ => None,
        };
        Self { survival, by, one_address_ms, lost: lost(breaks, fault, request, design) }
    }
}

/// What may be lost when requests that were under way break.
fn lost(breaks: Breaks, fault: &Fault, request: Request, design: &Design) -> Lost {
    if let (Fault::Disk(disk), Request::Write, Some(database)) = (fault, request, &design.database)
        && database.primary == *disk
        && !design.fails_over()
    {
        return if database.replicas.is_empty() { Lost::AllData } else { Lost::WritesWithoutReplica };
    }
    // Who cannot find or does not trust the site has sent nothing yet.
    let before_any = matches!(fault, Fault::Process { process: Process::Dns, .. } | Fault::Certificate);
    match breaks {
        _ if before_any => Lost::Nothing,
        Breaks::Nothing => Lost::Nothing,
        Breaks::Statements => Lost::StatementsInFlight,
        Breaks::Writes if request != Request::Write => Lost::Nothing,
        Breaks::Writes | Breaks::All => Lost::RequestsInFlight,
    }
}

/// What every request needs and one place alone can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Names,
    Fronts,
    Application,
    Data,
}

/// The server whose loss alone stops `stage` until somebody repairs it, if there is one. What stands before and behind
/// the stage is taken to live.
pub(crate) fn single_point(design: &Design, stage: Stage) -> Option<&ServerName> {
    let stops = |server: &ServerName| {
        let effect = stage_need(design, stage, server).under(&Fault::Server(server.clone()));
        matches!(
            effect,
            Effect::Fails { all: true, back: Return::Repaired } | Effect::Gone { back: Return::Repaired, .. }
        )
    };
    design.servers.iter().map(|server| &server.name).find(|server| stops(server))
}

fn stage_need(design: &Design, stage: Stage, dying: &ServerName) -> Need {
    match stage {
        Stage::Names => tree::names(design),
        Stage::Fronts => tree::fronts(design, None),
        Stage::Application => {
            // A front that dies takes its ways to others with it: that is the fronts' loss, not the application's.
            let others = design.fronts().into_iter().filter(|front| *front != dying);
            Need::All(others.map(|front| tree::behind(design, front, Request::File)).collect())
        }
        Stage::Data => match &design.database {
            Some(database) => tree::data(design, database, None, Request::Read),
            None => Need::All(Vec::new()),
        },
    }
}

/// The server whose way to the database can be cut alone so that requests fail although another server could answer.
pub(crate) fn unseen_cut(design: &Design) -> Option<(ServerName, ServerName)> {
    let primary = &design.database.as_ref()?.primary;
    let apps = design.carriers(Role::App);
    if apps.len() < 2 {
        return None;
    }
    let cut = |app: &ServerName| Fault::Link(app.clone().min(primary.clone()), app.clone().max(primary.clone()));
    let fails = |app: &ServerName| !predict(design, cut(app)).reads.goes_on();
    apps.into_iter().filter(|app| *app != primary).find(|app| fails(app)).map(|app| (app.clone(), primary.clone()))
}
