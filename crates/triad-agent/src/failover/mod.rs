//! A database that takes over by itself: what `triad-failover` decides is done here, on this server's own database.
//!
//! Again and again, and at once when something changes, [`Failover`] looks at the record ([`store`]), its own database
//! ([`node`], with what is remembered of it in [`memory`]) and what the others say ([`others`]); says with its
//! heartbeats how its own is; tells the edge where connections lead ([`route`]); asks for a decision, and does that one
//! step. Servers without a database do the same less the steps: they are heard as witnesses.
//!
//! Every step can be repeated and none waits long, so whatever fails is decided anew.

mod memory;
mod node;
mod others;
mod route;
mod seeding;
mod store;
mod timeline;
mod wishes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use triad_cluster::{Coordination, Heart, Seen};
use triad_database::Duty;
use triad_failover::{
    Database, Decided, Decision, Degrading, Member, Position, Promotion, Record, Restoring, Said, View, Yielding,
    decide,
};
use triad_model::{DatabaseRoute, EdgeReport, FailoverReport, ServerName};
use triad_proxy::EdgePlan;

pub(crate) use node::Node;
use others::{Others, without_positions};
use route::{Known, Router};
use seeding::Seeding;
pub(crate) use store::{RECORD_COPY, Store};
use timeline::Timeline;
pub(crate) use wishes::Wish;
use wishes::{WISHES_MAX, Wishes};

use crate::database::DatabaseService;
use crate::service::Service;
use crate::setup::Setup;

/// Time between two looks where nothing changes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time after a step that failed.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Time after this agent's start in which those that live are heard.
const HEARS_WITHIN: Duration = Duration::from_millis(1500);
/// Time in which all other servers hear that connections are to wait.
const HELD_AFTER: Duration = Duration::from_millis(30);
/// Time that a primary whose database ended leaves to its replicas: they take over in a tenth of that, and recovery
/// from a crash may take minutes.
const LEFT_TO_REPLICAS: Duration = Duration::from_secs(3);

/// Takes part in it, for as long as the agent runs. Must be called on a [`tokio::task::LocalSet`].
pub(crate) fn start(
    setup: &Setup,
    heart: Arc<Heart>,
    (coordination, seen): (Coordination, watch::Receiver<Seen>),
    database: Option<&DatabaseService>,
    edge: Option<&Service<EdgePlan, EdgeReport>>,
) -> anyhow::Result<Part> {
    let first = setup.design.database.as_ref().context("the design has no database")?.primary.clone();
    let store = Store::new(coordination, seen, &setup.state);
    let node = database.map(|database| database.node(setup)).transpose()?;
    let route = edge.map(|edge| edge.database.clone());
    let (wishes, received) = mpsc::channel(WISHES_MAX);
    let failover = Failover {
        own: setup.server.name.clone(),
        first,
        heart,
        store,
        node,
        route,
        shown: watch::Sender::default(),
        others: Others::default(),
        router: Router::default(),
        seeding: Seeding::default(),
        timeline: Timeline::default(),
        wishes: Wishes::new(received),
        said: Said::default(),
        down_since: None,
        handed: None,
    };
    let shown = failover.shown.subscribe();
    if let Some(database) = database {
        database.show(setup, shown.clone())?;
    }
    Ok(Part { task: tokio::task::spawn_local(failover.run()), shown, wishes })
}

/// This server's part in it, seen from outside.
pub(crate) struct Part {
    pub task: JoinHandle<()>,
    pub shown: watch::Receiver<Shown>,
    pub wishes: mpsc::Sender<Wish>,
}

/// One server's part in it.
pub(crate) struct Failover {
    own: ServerName,
    /// Who begins as the primary, by the file.
    first: ServerName,
    heart: Arc<Heart>,
    store: Store,
    node: Option<Node>,
    route: Option<watch::Sender<Option<DatabaseRoute>>>,
    shown: watch::Sender<Shown>,
    others: Others,
    router: Router,
    seeding: Seeding,
    timeline: Timeline,
    wishes: Wishes,
    said: Said,
    /// Since when this server is the primary by the record and its database is down.
    down_since: Option<Duration>,
    /// The version of the record with which it handed over last.
    handed: Option<u64>,
}

/// What is to be told of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shown {
    pub report: FailoverReport,
    /// What this server's database is now; `None` if it does not run, or is about to become something.
    pub duty: Option<Duty>,
}

/// What a round knows.
struct Round {
    now: Duration,
    record: Option<Record>,
    others: BTreeMap<ServerName, Member>,
}

impl Round {
    /// What the primary of the record said of its database last, if it is heard.
    fn primary(&self) -> Option<&Database> {
        self.others.get(&self.record.as_ref()?.primary)?.database()
    }

    /// Transactions of the primary that `own`, a replica of it, has yet to apply.
    fn behind(&self, own: Option<&Database>) -> Option<u64> {
        let (Database::Replica { applied, .. }, Database::Primary { written, .. }) = (own?, self.primary()?) else {
            return None;
        };
        Some(written.saturating_sub(*applied))
    }

    /// The end of what replicas have that acknowledge now.
    fn acknowledged(&self) -> Option<Position> {
        let received = self.others.values().filter_map(Member::database).filter_map(|database| match database {
            Database::Replica { acknowledges: true, connected: true, received, .. } => Some(*received),
            _ => None,
        });
        received.max()
    }
}

/// How far a database's history goes; `None` if it does not run.
fn end(database: &Database) -> Option<Position> {
    match database {
        Database::Stopped => None,
        Database::Primary { written, .. } => Some(*written),
        Database::Replica { received, .. } => Some(*received),
    }
}

impl Failover {
    /// Runs as long as the agent.
    async fn run(mut self) {
        let mut views = self.heart.view.clone();
        let mut seen = self.store.seen.clone();
        loop {
            let process = self.node.as_ref().filter(|node| node.process.is_up()).map(|node| node.process.clone());
            let rested = async {
                match process {
                    Some(process) => process.rested().await,
                    None => std::future::pending().await,
                }
            };
            if self.round().await {
                continue;
            }
            tokio::select! {
                _ = views.changed() => {}
                _ = seen.changed() => {}
                () = rested => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Looks, says, decides, does one step; whether it did one.
    async fn round(&mut self) -> bool {
        let round = self.look().await;
        self.say(&round);
        self.lead(&round);
        let Some(node) = &self.node else {
            self.tell(&round, "it has no database, and is heard as a witness");
            return false;
        };
        let database = node.said();
        let view = View {
            me: &self.own,
            record: round.record.as_ref(),
            made: self.store.made,
            database: &database,
            yields_to: None,
            others: &round.others,
        };
        match self.wishes.received.try_recv() {
            Ok(Wish::Switchover { request, answer }) => self.wishes.take(request, answer, &view, round.now),
            Ok(Wish::Restart { answer }) => _ = answer.send(node.restart()),
            Err(_) => {}
        }
        self.wishes.look(&view, round.now);
        let Decided { decision, why } = decide(&View { yields_to: self.wishes.successor(), ..view });
        self.timeline.note(&round, &self.own, &decision);
        if let Some(patience) = self.patience(&round, &database, &decision) {
            self.tell(&round, &patience);
            return false;
        }
        self.tell(&round, &why);
        if decision == Decision::Hold {
            return self.begin(&round).await;
        }
        match self.perform(&round, decision).await {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!("{why}; but {error:#}");
                self.tell(&round, &format!("{why}; but {error:#}"));
                sleep(AGAIN_AFTER).await;
                false
            }
        }
    }

    async fn look(&mut self) -> Round {
        let record = self.store.look();
        let now = self.heart.now();
        let own = self.node.as_ref().map(Node::said);
        let others = self.others.look(&self.own, &self.heart.view.borrow(), own.as_ref(), now);
        let mut round = Round { now, record, others };
        let primary = round.primary().cloned();
        if let Some(node) = &mut self.node {
            node.look(primary.as_ref(), now).await;
            if let Some(record) = &round.record
                && let Err(error) = node.obey(record, primary.as_ref()).await
            {
                tracing::warn!("it cannot be said who acknowledges: {error:#}");
            }
        }
        round.now = self.heart.now();
        let received = round.acknowledged();
        if let Some(node) = &mut self.node
            && let Err(error) = node.nudge(received, round.now).await
        {
            tracing::warn!("commits may wait: {error:#}");
        }
        round
    }

    fn say(&mut self, round: &Round) {
        let database = self.node.as_ref().map(Node::said);
        let own = database.clone().unwrap_or(Database::Stopped);
        let view =
            View { me: &self.own, record: None, made: None, database: &own, yields_to: None, others: &round.others };
        let holds = matches!(database, Some(Database::Primary { closed: true, .. }));
        let said = Said { suspects: view.suspects(), database, holds };
        let urgent = without_positions(&said) != without_positions(&self.said);
        self.said = said;
        self.announce(urgent);
    }

    /// Says it with each heartbeat from now on.
    fn announce(&self, urgent: bool) {
        match serde_json::to_vec(&self.said) {
            Ok(payload) => self.heart.say(payload, urgent),
            Err(error) => tracing::error!(%error, "the others cannot be told how the database is"),
        }
    }

    /// Tells the edge where connections lead.
    fn lead(&mut self, round: &Round) {
        let Some(edge) = &self.route else { return };
        let known = Known {
            own: &self.own,
            record: self.store.newest(),
            is_confirmed: self.store.is_confirmed(),
            said: &self.said,
            others: &round.others,
        };
        let route = self.router.route(&known);
        edge.send_if_modified(|told| {
            let is_news = route.is_some() && *told != route;
            if is_news {
                tracing::info!(?route, "connections to the database");
                *told = route;
            }
            is_news
        });
    }

    fn tell(&self, round: &Round, why: &str) {
        let record = round.record.as_ref();
        let seeding = self.seeding.progress();
        let report = FailoverReport {
            epoch: record.map_or(0, |record| record.epoch),
            version: record.map_or(0, |record| record.version),
            primary: record.map(|record| record.primary.clone()),
            in_sync: record.map(|record| record.in_sync.iter().cloned().collect()).unwrap_or_default(),
            confirmed: self.store.is_confirmed(),
            why: seeding.unwrap_or_else(|| why.to_owned()),
            position: self.said.database.as_ref().and_then(end),
            behind: round.behind(self.said.database.as_ref()),
            last: self.timeline.last(),
        };
        let duty = record.and_then(|record| self.node.as_ref()?.duty(&record.primary));
        let show = Shown { report, duty };
        self.shown.send_if_modified(|shown| {
            let is_news = *shown != show;
            if shown.report.why != show.report.why {
                tracing::info!(epoch = show.report.epoch, version = show.report.version, "{}", show.report.why);
            }
            *shown = show;
            is_news
        });
    }

    /// Why a primary whose database is down does nothing yet, if so.
    fn patience(&mut self, round: &Round, database: &Database, decision: &Decision) -> Option<String> {
        let record = round.record.as_ref()?;
        let is_down = *database == Database::Stopped && record.primary == self.own;
        if !is_down {
            self.down_since = None;
            return None;
        }
        let since = *self.down_since.get_or_insert(round.now);
        let is_up = self.node.as_ref().is_some_and(|node| node.process.is_up());
        let waits = matches!(decision, Decision::Promote(Promotion::Claim(_) | Promotion::Open));
        if is_up || !waits || round.now > since + LEFT_TO_REPLICAS {
            return None;
        }
        let said = |name: &ServerName| round.others.get(name).and_then(|member| member.said.database.as_ref());
        let replicas = || record.in_sync.iter().filter(|name| **name != self.own);
        let is_silent = |name: &ServerName| round.others.get(name).is_none_or(|member| member.silent);
        if let Some(unheard) = replicas().find(|name| said(name).is_none() && !is_silent(name))
            && round.now < HEARS_WITHIN
        {
            return Some(format!("its database is down, and what {unheard} has is not known yet"));
        }
        let has_all = |database: &Database| matches!(database, Database::Replica { epoch, whole: true, .. } if *epoch == record.epoch);
        let successor = replicas().find(|name| !is_silent(name) && said(name).is_some_and(has_all))?;
        Some(format!("its database is down, and {successor} has everything: it is to take over"))
    }

    /// Where there has never been a record, the primary of the file makes the first one.
    async fn begin(&mut self, round: &Round) -> bool {
        if round.record.is_some() || self.own != self.first || !self.store.is_absent() {
            return false;
        }
        if self.store.has_copy() {
            self.tell(
                round,
                "the record is gone from where all agree, and this server remembers one: `triad voters restore`",
            );
            return false;
        }
        let Some(node) = &self.node else { return false };
        if let Some(why) = node.others_remember().await {
            self.tell(round, &why);
            return false;
        }
        match triad_database::prepare(&node.plan).await {
            Ok(()) => self.store.begin(&self.own).await.unwrap_or_else(|error| {
                tracing::warn!("the first record cannot be written yet: {error:#}");
                false
            }),
            Err(error) => {
                tracing::warn!(%error, "the database is not ready to start");
                sleep(AGAIN_AFTER).await;
                false
            }
        }
    }

    /// Does what was decided; whether anything was done.
    async fn perform(&mut self, round: &Round, decision: Decision) -> anyhow::Result<bool> {
        let (Some(record), Some(node)) = (&round.record, &mut self.node) else { return Ok(false) };
        let primary = round.primary();
        match decision {
            Decision::Hold => return Ok(false),
            Decision::Follow => return node.follow(record, primary, round.now).await,
            // Who closed and handed over has nothing that its successor lacks.
            Decision::Demote if self.handed == Some(record.version) => node.step_down(),
            Decision::Demote => node.demote(),
            Decision::Rejoin => return self.seeding.rejoin(node, record, primary, round.now).await,
            Decision::Reseed => node.put_aside().await?,
            Decision::Promote(Promotion::Stop(version)) => {
                let silent = round.others.get(&record.primary).is_none_or(|member| member.silent);
                node.stop(version, &record.primary, silent).await?;
            }
            Decision::Promote(Promotion::Drain) => node.drain().await?,
            Decision::Promote(Promotion::Claim(next)) => return self.store.swap(next).await,
            Decision::Promote(Promotion::Open) => {
                let opened = node.open(record, round.now).await?;
                self.timeline.opened(opened, self.heart.now());
                return Ok(opened);
            }
            Decision::Promote(Promotion::Release(next)) => {
                if !self.store.swap(next.clone()).await? {
                    return Ok(false);
                }
                return node.follow(&next, primary, round.now).await;
            }
            Decision::Degrade(step) => {
                if let Degrading::Shrink(next) = &step
                    && !self.store.swap(next.clone()).await?
                {
                    return Ok(false);
                }
                node.degrade(step).await?;
            }
            Decision::Restore(step) => {
                if let Restoring::Grow(next) = &step {
                    return self.store.swap(next.clone()).await;
                }
                node.restore(step).await?;
            }
            Decision::Yield(Yielding::Close) => {
                self.hold(round).await;
                let Some(node) = &mut self.node else { return Ok(false) };
                node.finish().await?;
                node.close().await?;
            }
            Decision::Yield(Yielding::Reopen) => node.reopen().await?,
            Decision::Yield(Yielding::Hand(next)) => {
                let version = next.version;
                let is_handed = self.store.swap(next).await?;
                self.handed = is_handed.then_some(version);
                return Ok(is_handed);
            }
        }
        Ok(true)
    }

    /// Has statements wait, here and on all other servers, before writes are refused: those that begin, on new connections
    /// and on such as their relays can hold.
    async fn hold(&mut self, round: &Round) {
        self.said.holds = true;
        self.announce(true);
        self.lead(round);
        self.wishes.held(self.heart.now());
        sleep(HELD_AFTER).await;
    }
}
