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
use triad_database::{Backup, DatabasePlan, Duty, Layout, Reconciler, RunAs};
use triad_model::{DatabaseReport, ServiceUser, State};

use crate::setup::{Setup, make_folder};
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
}

impl DatabaseService {
    /// Brings it up in the background; `None` if this server carries no database.
    pub fn start(setup: &Setup) -> anyhow::Result<Option<Self>> {
        let ids = setup.users.ids(ServiceUser::Database)?;
        let layout = Layout {
            data: setup.state.join("database"),
            run: setup.run.join("database"),
            config: setup.state.join("database"),
            log: setup.logs.join("database"),
        };
        let run_as = RunAs { uid: ids.uid, gid: ids.gid };
        let Some(plan) = DatabasePlan::of(&setup.design, &setup.server.name, layout, run_as) else { return Ok(None) };
        let passwords = setup.secrets.passwords.clone().context("the database's passwords are missing")?;
        let (reports, report) = watch::channel(None);
        let primary = primary_agent(setup, &plan)?;
        make_folder(&setup.run.join("database"), 0o755)?;

        let launch = setup.launch(triad_database::process(&plan), Vec::new())?;
        let process = Process::start_after(prepare(plan.clone(), primary, reports.clone()), launch);
        let reconciler = Reconciler::new(plan.clone(), passwords);
        tokio::task::spawn_local(reconcile(reconciler, process.clone(), reports));
        Ok(Some(Self { plan, process, report }))
    }
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
    reports.send_replace(Some(DatabaseReport {
        role: plan.role(),
        state,
        detail,
        gtid: String::new(),
        semi_sync: false,
        replicas_connected: 0,
        lag_s: None,
        counters: Vec::new(),
    }));
}

/// Looks at the running server and changes what is not as it should be, for as long as the agent runs.
async fn reconcile(mut reconciler: Reconciler, process: Process, reports: Reports) {
    let mut ticks = tokio::time::interval(STEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if process.report().pid.is_none() {
            continue;
        }
        let report = reconciler.step().await;
        if report.state == State::Healthy {
            process.mark_ready();
        }
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
