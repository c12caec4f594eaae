//! The database role: prepared, seeded if it is an empty replica, then run, then brought in line with the design,
//! over and over.

use std::io;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt, stream};
use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio_util::io::StreamReader;
use triad_api::Peer;
use triad_database::{Backup, DatabasePlan, Duty, Layout, Member as DatabaseMember, Passwords, Reconciler, RunAs};
use triad_model::{Database, DatabaseReport, DatabaseRole, Design, Promotion, Server, ServiceUser, State};

use crate::failover::{Node, Shown};
use crate::setup::Setup;
use crate::supervisor::Process;

/// Time between two looks at the database.
const STEP_EVERY: Duration = Duration::from_millis(500);
/// Time between two tries to prepare or to get a copy of the primary.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// What is read of a copy at once.
const BACKUP_CHUNK_BYTES: usize = 64 * 1024;
/// Progress of a copy is told each time it has grown by this.
const PROGRESS_BYTES: u64 = 8 * 1024 * 1024;

type Reports = watch::Sender<Option<DatabaseReport>>;

/// A server's database.
pub struct DatabaseService {
    /// What it is to be.
    pub plan: DatabasePlan,
    /// mariadbd.
    pub process: Process,
    /// What was seen of it last.
    pub report: watch::Receiver<Option<DatabaseReport>>,
    reports: Reports,
    /// What it is to be now, where the file or an operator says it.
    wanted: watch::Sender<DatabasePlan>,
}

impl DatabaseService {
    /// Brings it up in the background, as `promotion` says if there was one; `None` if this server carries no database.
    pub fn start(setup: &Setup, promotion: Option<&Promotion>) -> anyhow::Result<Option<Self>> {
        let ids = setup.users.ids(ServiceUser::Database)?;
        let layout = Layout {
            data: setup.state.join("database"),
            run: setup.run.join("database"),
            config: setup.state.join("database"),
            log: setup.logs.join("database"),
        };
        let run_as = RunAs { uid: ids.uid, gid: ids.gid };
        let plan = DatabasePlan::of(&setup.design, &setup.server.name, layout, run_as);
        let Some(mut plan) = plan else { return Ok(None) };
        plan.relay_gid = setup.users.ids(ServiceUser::Edge)?.gid;
        plan = promotion.and_then(|promotion| plan.promoted(&setup.design, promotion)).unwrap_or(plan);
        let passwords = passwords(setup)?;
        let (reports, report) = watch::channel(None);
        let primary = primary_agent(setup, &plan)?;
        let launch = setup.launch(triad_database::process(&plan), Vec::new())?;
        let wanted = watch::Sender::new(plan.clone());
        if plan.by_record {
            let process = Process::start_resting(launch);
            return Ok(Some(Self { plan, process, report, reports, wanted }));
        }
        let process = Process::start_after(prepare(plan.clone(), primary, reports.clone()), launch);
        tokio::task::spawn_local(reconcile(wanted.subscribe(), passwords, process.clone(), reports.clone()));
        Ok(Some(Self { plan, process, report, reports, wanted }))
    }

    /// Is what `promotion`, which is about `design`, says from now on.
    pub fn promote(&self, design: &Design, promotion: &Promotion) {
        if let Some(plan) = self.plan.promoted(design, promotion) {
            self.wanted.send_replace(plan);
        }
    }

    /// As it takes part in failing over.
    pub fn node(&self, setup: &Setup) -> anyhow::Result<Node> {
        let Design { database, .. } = &setup.design;
        let names = database.iter().flat_map(Database::members).filter(|name| **name != setup.server.name);
        let servers: Vec<&Server> = names.filter_map(|name| setup.design.server(name)).collect();
        let tls = triad_tls::mutual_client_config(&setup.secrets.identity)?;
        let peer = |server: &&Server| Some((server.name.clone(), Peer::of(server, tls.clone())?));
        let members = servers.iter().filter_map(|server| DatabaseMember::of(server)).collect();
        let peers = servers.iter().filter_map(peer).collect();
        Ok(Node::new(self.plan.clone(), members, peers, passwords(setup)?, self.process.clone()))
    }

    /// Reports of it from now on, by what is `shown` of its part in failing over.
    pub fn show(&self, setup: &Setup, shown: watch::Receiver<Shown>) -> anyhow::Result<()> {
        let (plan, passwords) = (self.plan.clone(), passwords(setup)?);
        tokio::task::spawn_local(watch_by_record(plan, passwords, shown, self.process.clone(), self.reports.clone()));
        Ok(())
    }
}

fn passwords(setup: &Setup) -> anyhow::Result<Passwords> {
    setup.secrets.passwords.clone().context("the database's passwords are missing")
}

/// The agent of the server this database copies.
fn primary_agent(setup: &Setup, plan: &DatabasePlan) -> anyhow::Result<Option<Peer>> {
    let Duty::Replica { primary } = &plan.duty else { return Ok(None) };
    let tls = triad_tls::mutual_client_config(&setup.secrets.identity)?;
    Ok(setup.design.server(&primary.name).and_then(|server| Peer::of(server, tls)))
}

/// Makes ready what mariadbd starts from; tries until it can be done, for the primary may come up after us.
async fn prepare(plan: DatabasePlan, primary: Option<Peer>, reports: Reports) {
    while let Err(error) = try_to_prepare(&plan, primary.as_ref(), &reports).await {
        tracing::warn!("the database is not ready to start: {error:#}");
        tell(&reports, &plan, State::Starting, format!("{error:#}"));
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn try_to_prepare(plan: &DatabasePlan, primary: Option<&Peer>, reports: &Reports) -> anyhow::Result<()> {
    triad_database::prepare(plan).await?;
    if !triad_database::needs_seed(plan)? {
        return Ok(());
    }
    let primary = primary.context("a replica needs its primary's server in the design")?;
    let body = primary.backup().await?;
    let stream = body.into_data_stream().map_err(std::io::Error::other);
    let mut told = 0;
    let progress = |bytes: u64| {
        if bytes >= told + PROGRESS_BYTES {
            told = bytes;
            tell(
                reports,
                plan,
                State::Starting,
                format!("copying the primary's data, {} MB so far", bytes / 1_000_000),
            );
        }
    };
    triad_database::seed(plan, StreamReader::new(stream), progress).await?;
    tracing::info!("seeded from the primary");
    Ok(())
}

fn tell(reports: &Reports, plan: &DatabasePlan, state: State, detail: String) {
    reports.send_replace(Some(triad_database::untold(plan.role(), state, detail)));
}

/// Looks at the running server and changes what is not as it should be, for as long as the agent runs.
async fn reconcile(
    mut wanted: watch::Receiver<DatabasePlan>,
    passwords: Passwords,
    process: Process,
    reports: Reports,
) {
    let mut reconciler = Reconciler::new(wanted.borrow_and_update().clone(), passwords.clone());
    let mut ticks = tokio::time::interval(STEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if process.report().pid.is_none() {
            continue;
        }
        if wanted.has_changed().unwrap_or(false) {
            reconciler = Reconciler::new(wanted.borrow_and_update().clone(), passwords.clone());
        }
        let report = reconciler.step().await;
        if report.state == State::Healthy {
            process.mark_ready();
        }
        reports.send_replace(Some(report));
    }
}

/// Looks at a server that goes by the record, gives it the schema and accounts it lacks, and reports, for as long as the
/// agent runs.
async fn watch_by_record(
    plan: DatabasePlan,
    passwords: Passwords,
    mut shown: watch::Receiver<Shown>,
    process: Process,
    reports: Reports,
) {
    let mut ticks = tokio::time::interval(STEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reconciler: Option<(Duty, Reconciler)> = None;
    let mut told = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // Whoever changed who is the primary asks next how that is.
            _ = shown.wait_for(|shown| shown.report.version != told) => {}
        }
        told = shown.borrow().report.version;
        let Shown { report: failover, duty } = shown.borrow().clone();
        if reconciler.as_ref().map(|(of, _)| of) != duty.as_ref() {
            let new = |duty: Duty| (duty.clone(), Reconciler::new(plan.with_duty(duty), passwords.clone()));
            reconciler = duty.map(new);
        }
        let mut report = match &mut reconciler {
            Some((_, reconciler)) => reconciler.step().await,
            None => {
                let has_ended = !process.is_up() && process.last_exit().is_some();
                let state = if has_ended { State::Down } else { State::Starting };
                triad_database::untold(plan.role_by(&failover), state, failover.why.clone())
            }
        };
        if report.role == DatabaseRole::Primary && report.state == State::Healthy && failover.in_sync.len() == 1 {
            report.state = State::Degraded;
            report.detail += "; no replica has every write: nobody takes over if it dies";
        }
        report.failover = Some(failover);
        reports.send_replace(Some(report));
    }
}

/// A backup as the body of an answer. A copy that turns out bad breaks the transfer, so that nobody takes it for whole.
pub fn stream(backup: Backup) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(Some(backup), async |backup| {
        let Some(mut backup) = backup else { return Ok(None) };
        let mut chunk = BytesMut::with_capacity(BACKUP_CHUNK_BYTES);
        if backup.stdout().read_buf(&mut chunk).await? > 0 {
            return Ok(Some((chunk.freeze(), Some(backup))));
        }
        backup.finish().await.map_err(io::Error::other)?;
        Ok(None)
    })
}
