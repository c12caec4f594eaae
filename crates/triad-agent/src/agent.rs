//! One server's agent, from its options to its end.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use triad_dns::Zone;
use triad_model::{BackendSetting, DnsReport, EdgeReport, Orders};
use triad_proxy::EdgePlan;

use crate::api::{Command, Handle, Started};
use crate::coordination::CoordinationService;
use crate::database::DatabaseService;
use crate::doors::Doors;
use crate::failover;
use crate::heartbeats;
use crate::logfile;
use crate::orders::{self, Known};
use crate::promotion::Promotions;
use crate::renewal::{self, Renewal};
use crate::service::Service;
use crate::setup::{Options, Setup};
use crate::sockets::Named;
use crate::supervisor::Process;

/// How often child logs are looked at.
const LOG_LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often bans are looked at for those that have ended. An edge looks at their ends itself.
const BANS_LOOK_EVERY: Duration = Duration::from_secs(1);

/// What an agent has started.
pub(crate) struct Running {
    pub setup: Setup,
    pub coordination: CoordinationService,
    failover: Option<failover::Part>,
    pub database: Option<DatabaseService>,
    pub promotions: Option<Promotions>,
    pub apps: Vec<Process>,
    pub edge: Option<Service<EdgePlan, EdgeReport>>,
    pub dns: Option<Service<Zone, DnsReport>>,
    pub handle: Handle,
    /// What operators said of backends.
    pub settings: Vec<BackendSetting>,
    /// What was said to front servers.
    pub orders: Orders,
    /// The same, for the doors.
    pub known: watch::Sender<Known>,
    /// When to read certificates again.
    pub renewal: Renewal,
}

/// Every socket that a server listens on: opened before anything is changed.
struct Opened {
    doors: Doors,
    edge: Vec<Named>,
    dns: Vec<Named>,
    heartbeats: Option<UdpSocket>,
}

/// Runs the agent until SIGTERM or SIGINT, then drains; SIGHUP makes it read the file again. Must be called on a
/// [`tokio::task::LocalSet`] of a single-threaded runtime: children die with the thread that started them.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let setup = Setup::new(options)?;
    let opened = Opened::of(&setup)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (mut running, mut commands, mut doors) = Running::start(setup, opened).await?;
    let logs = tokio::task::spawn_local(look_after_logs(running.setup.logs.clone()));
    let mut ends = tokio::time::interval(BANS_LOOK_EVERY);
    let mut looks = tokio::time::interval(renewal::LOOK_EVERY);
    loop {
        tokio::select! {
            _ = terminate.recv() => break tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => break tracing::info!("SIGINT: draining"),
            _ = hangup.recv() => running.reload().await,
            _ = ends.tick() => running.enforce_bans(),
            _ = looks.tick() => running.look_after_certificates().await,
            Some(command) = commands.recv() => running.obey(command).await,
            error = &mut doors => bail!("a door of the agent closed: {error:?}"),
        }
    }
    logs.abort();
    running.drain().await;
    Doors::remove_socket(&running.setup);
    Ok(())
}

impl Opened {
    fn of(setup: &Setup) -> anyhow::Result<Self> {
        let (doors, edge, dns) = (Doors::open(setup)?, setup.edge_sockets()?, setup.dns_sockets()?);
        setup.check_ports_of_others()?;
        Ok(Self { doors, edge, dns, heartbeats: heartbeats::open(setup)? })
    }
}

/// What ends when a door of the agent breaks.
type Guard = JoinHandle<std::io::Result<()>>;

impl Running {
    /// Starts every role, then opens the doors: what is said there, and what ends when one breaks.
    async fn start(setup: Setup, opened: Opened) -> anyhow::Result<(Self, mpsc::Receiver<Command>, Guard)> {
        let firewall = setup.load_firewall().await?;
        let coordination = CoordinationService::start(&setup)?;
        let promotions = Promotions::start(&setup).await?;
        let promoted = promotions.as_ref().and_then(Promotions::current);
        let database = DatabaseService::start(&setup, promoted.as_ref())?;
        let apps = setup.start_apps()?;
        let orders = orders::read(&setup.state, &setup.server.name);
        let known = watch::Sender::new(Known::new(orders.clone()));
        let edge = setup.start_edge(opened.edge, database.as_ref(), orders.closed())?;
        if let (Some(edge), Some(promoted)) = (&edge, &promoted) {
            edge.database.send_replace(Some(promoted.route()));
        }
        let dns = setup.start_dns(opened.dns)?;
        tracing::info!(server = setup.server.name.as_str(), "every role is started");

        let heart = opened.heartbeats.map(|socket| heartbeats::start(&setup, socket)).transpose()?;
        if let Some(heart) = &heart {
            let told = edge
                .as_ref()
                .map(|edge| heartbeats::Told { absent: edge.left_out.clone(), cut_off: edge.cut_off.clone() });
            tokio::task::spawn_local(heartbeats::heed(heart.clone(), told));
        }
        let part = |(heart, agreed)| failover::start(&setup, heart, agreed, database.as_ref(), edge.as_ref());
        let failover = heart.clone().zip(coordination.agreed()).map(part).transpose()?;
        let started = Started {
            firewall,
            coordination: &coordination,
            database: database.as_ref(),
            apps: &apps,
            edge: edge.as_ref(),
            dns: dns.as_ref(),
            heart,
            failover: failover.as_ref(),
            promotions: promotions.as_ref(),
            known: known.subscribe(),
        };
        let (handle, commands) = Handle::new(&setup, started)?;
        let doors = opened.doors.serve(handle.clone())?;
        let (renewal, settings) = (Renewal::new(setup.secrets.looks.clone()), Vec::new());
        let running = Self {
            setup,
            coordination,
            failover,
            database,
            promotions,
            apps,
            edge,
            dns,
            handle,
            settings,
            orders,
            known,
            renewal,
        };
        Ok((running, commands, doors))
    }

    /// Users first, data last: nothing loses what it depends on while it finishes.
    async fn drain(&self) {
        // It must not start again what is about to end.
        self.failover.iter().for_each(|failover| failover.task.abort());
        if let Some(dns) = &self.dns {
            dns.stop().await;
        }
        if let Some(edge) = &self.edge {
            edge.stop().await;
        }
        futures_util::future::join_all(self.apps.iter().map(Process::stop)).await;
        if let Some(database) = &self.database {
            database.process.stop().await;
        }
        if let Some(etcd) = &self.coordination.process {
            etcd.stop().await;
        }
    }
}

async fn look_after_logs(folder: PathBuf) {
    let mut ticks = tokio::time::interval(LOG_LOOK_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = logfile::rotate_all(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "logs cannot be looked after");
        }
    }
}
