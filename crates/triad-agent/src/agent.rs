//! One server's agent, from its options to its end.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use triad_dns::Zone;
use triad_firewall::Ruleset;
use triad_model::{
    AGENT, DATABASE, Design, DnsReport, EdgeReport, METRICS, ProcessSpec, Role, Secret, Server, ServerName, ServiceUser,
};
use triad_proxy::{EdgeInputs, EdgePlan};

use crate::api::Handle;
use crate::child::DRAIN_TIMEOUT;
use crate::database::DatabaseService;
use crate::secrets::{self, Secrets};
use crate::service::Service;
use crate::sockets::{self, Named};
use crate::supervisor::{Launch, Process};
use crate::users::Users;
use crate::{logfile, watch_fronts};

/// Name of the local door in the run directory.
pub const SOCKET: &str = "agent.sock";
/// How often child logs are looked at, in seconds.
const LOG_LOOK_EVERY_S: u64 = 10;
/// Workers of the edge at the most; each is a thread with its own sockets.
const WORKERS_MAX: usize = 64;

/// What an agent is told when it starts.
pub struct Options {
    /// The design.
    pub design: Design,
    /// The folder of its file: paths in the design are relative to it.
    pub folder: PathBuf,
    /// Which of its servers this is.
    pub server: ServerName,
    /// Where everything that must last is kept: `/var/lib/triad`.
    pub state: PathBuf,
    /// Where sockets are: `/run/triad`.
    pub run: PathBuf,
}

/// Runs the agent until SIGTERM or SIGINT, then drains. Must be called on a [`tokio::task::LocalSet`] of a
/// single-threaded runtime: children die with the thread that started them.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let own = options.design.server(&options.server).cloned().with_context(|| {
        let names: Vec<&str> = options.design.servers.iter().map(|server| server.name.as_str()).collect();
        format!("the design has no server {}; it has {}", options.server, names.join(", "))
    })?;
    let agent = Setup::new(options, own)?;
    let doors = Doors::open(&agent)?;
    let edge_sockets = agent.edge_sockets()?;
    let dns_sockets = agent.dns_sockets()?;
    agent.check_database_port()?;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let firewall = agent.load_firewall().await?;
    let database = DatabaseService::start(&agent)?;
    let apps = agent.start_apps()?;
    let edge = agent.start_edge(edge_sockets, database.as_ref())?;
    let dns = agent.start_dns(dns_sockets)?;
    tracing::info!(server = agent.server.name.as_str(), "every role is started");

    let handle = Handle::new(&agent, firewall, database.as_ref(), &apps, edge.as_ref(), dns.as_ref())?;
    let doors = doors.serve(handle)?;
    let logs = tokio::task::spawn_local(look_after_logs(agent.logs.clone()));
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        error = doors => bail!("a door of the agent closed: {error:?}"),
    }
    logs.abort();
    drain(edge, dns, apps, database).await;
    // Whoever finds the socket must find an agent behind it.
    let _ = fs::remove_file(agent.run.join(SOCKET));
    Ok(())
}

/// Users first, data last: nothing loses what it depends on while it finishes.
async fn drain(
    edge: Option<Service<EdgePlan, EdgeReport>>,
    dns: Option<Service<Zone, DnsReport>>,
    apps: Vec<Process>,
    database: Option<DatabaseService>,
) {
    if let Some(dns) = dns {
        dns.process.stop().await;
    }
    if let Some(edge) = edge {
        edge.process.stop().await;
    }
    futures_util::future::join_all(apps.iter().map(Process::stop)).await;
    if let Some(database) = database {
        database.process.stop().await;
    }
}

async fn look_after_logs(folder: PathBuf) {
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(LOG_LOOK_EVERY_S));
    loop {
        ticks.tick().await;
        if let Err(error) = logfile::rotate_all(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "logs cannot be looked after");
        }
    }
}

/// What starting needs to know.
pub struct Setup {
    pub(crate) design: Design,
    pub(crate) folder: PathBuf,
    pub(crate) server: Server,
    pub(crate) state: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) secrets: Secrets,
    pub(crate) users: Users,
}

impl Setup {
    fn new(options: Options, server: Server) -> anyhow::Result<Self> {
        let Options { design, folder, state, run, .. } = options;
        if !nix::unistd::geteuid().is_root() {
            bail!("the agent must run as root: it opens ports below 1024 and loads the firewall");
        }
        let logs = state.join("log");
        for path in [&state, &run, &logs] {
            make_folder(path, 0o711)?;
        }
        let secrets_folder = state.join("secrets");
        if design.servers.len() == 1 && !secrets::are_in(&secrets_folder) {
            // Nobody else needs to know them, so nobody needs to hand them out.
            secrets::provision(&design, &state.join("authority"), |_| secrets_folder.clone())?;
        }
        let secrets = secrets::read(&design, &folder, &server.name, &secrets_folder)?;
        let users = Users::detect()?;
        if users.are_shared() {
            tracing::info!("one user id only: services are not told apart by their users here");
        }
        Ok(Self { design, folder, server, state, run, logs, secrets, users })
    }

    fn carries(&self, role: Role) -> bool {
        self.design.carries(&self.server.name, role)
    }

    /// How `spec` is run here.
    pub(crate) fn launch(&self, spec: ProcessSpec, sockets: Vec<Named>) -> anyhow::Result<Launch> {
        let ids = self.users.ids(spec.user)?;
        let log = self.logs.join(format!("{}.log", spec.name));
        Ok(Launch { spec, ids, log, sockets, attach: None })
    }

    /// A folder that belongs to `user` alone.
    pub(crate) fn folder_of(&self, user: ServiceUser, path: PathBuf, mode: u32) -> anyhow::Result<PathBuf> {
        make_folder(&path, mode)?;
        let ids = self.users.ids(user)?;
        std::os::unix::fs::chown(&path, Some(ids.uid), Some(ids.gid))
            .with_context(|| format!("cannot give {} to {}", path.display(), user.name()))?;
        Ok(path)
    }

    fn edge_sockets(&self) -> anyhow::Result<Vec<Named>> {
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get).min(WORKERS_MAX);
        let mut named = Vec::new();
        for listener in triad_proxy::listeners(&self.design, &self.server.name) {
            let group = sockets::tcp(listener.address, workers)?;
            named.extend(group.into_iter().map(|socket| Named { name: listener.name.clone(), socket: socket.into() }));
        }
        Ok(named)
    }

    fn dns_sockets(&self) -> anyhow::Result<Vec<Named>> {
        let mut named = Vec::new();
        for address in triad_dns::listeners(&self.design, &self.server.name) {
            let named_as = |name: &str, socket: OwnedFd| Named { name: name.to_owned(), socket };
            named.extend(sockets::udp(address)?.into_iter().map(|socket| named_as("udp", socket.into())));
            named.extend(sockets::tcp(address, 1)?.into_iter().map(|socket| named_as("tcp", socket.into())));
        }
        Ok(named)
    }

    /// mariadbd opens its port itself, later; a port that is taken is said now, before anything is changed.
    fn check_database_port(&self) -> anyhow::Result<()> {
        if let (true, Some(private)) = (self.carries(Role::Database), self.server.private) {
            sockets::tcp(SocketAddr::new(private, DATABASE), 1)?;
        }
        Ok(())
    }

    async fn load_firewall(&self) -> anyhow::Result<bool> {
        let Some(ruleset) = Ruleset::of(&self.design, &self.server.name) else { return Ok(false) };
        triad_firewall::apply(&ruleset).await.context("the firewall cannot be loaded")?;
        tracing::info!("firewall is loaded");
        Ok(true)
    }

    fn start_apps(&self) -> anyhow::Result<Vec<Process>> {
        let nothing = Secret::new("");
        let password = self.secrets.passwords.as_ref().map_or(&nothing, |passwords| &passwords.app);
        let specs = triad_app::instances(&self.design, &self.server.name, &self.folder, password);
        specs.into_iter().map(|spec| Ok(Process::start(self.launch(spec, Vec::new())?))).collect()
    }

    fn start_edge(
        &self,
        sockets: Vec<Named>,
        database: Option<&DatabaseService>,
    ) -> anyhow::Result<Option<Service<EdgePlan, EdgeReport>>> {
        if !self.design.has_edge(&self.server.name) {
            return Ok(None);
        }
        let log = self.folder_of(ServiceUser::Edge, self.logs.join("edge"), 0o750)?;
        let inputs = EdgeInputs {
            folder: self.folder.clone(),
            identity: self.secrets.identity.clone(),
            site_certificate: self.secrets.site.clone(),
            access_log: Some(log.join("access.jsonl")),
            database_socket: database.map(|database| database.plan.socket()),
        };
        let plan = EdgePlan::of(&self.design, &self.server.name, inputs);
        let launch = self.launch(own_process("edge", ServiceUser::Edge), sockets)?;
        Ok(Some(Service::start(launch, plan)))
    }

    fn start_dns(&self, sockets: Vec<Named>) -> anyhow::Result<Option<Service<Zone, DnsReport>>> {
        if !self.carries(Role::Dns) {
            return Ok(None);
        }
        let Some(zone) = Zone::of(&self.design) else { return Ok(None) };
        let launch = self.launch(own_process("dns", ServiceUser::Dns), sockets)?;
        let service = Service::start(launch, zone);
        tokio::task::spawn_local(watch_fronts::run(self.design.clone(), service.left_out.clone()));
        Ok(Some(service))
    }
}

/// A command of this binary as a child.
fn own_process(command: &str, user: ServiceUser) -> ProcessSpec {
    let drain_ms = u64::try_from(DRAIN_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
    ProcessSpec {
        name: command.to_owned(),
        program: "/proc/self/exe".into(),
        args: vec![command.to_owned()],
        environment: Vec::new(),
        directory: "/".into(),
        user,
        stop_timeout_ms: drain_ms + 1_000,
    }
}

pub(crate) fn make_folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the permissions of {}", path.display()))
}

/// The agent's listening sockets.
struct Doors {
    local: std::os::unix::net::UnixListener,
    peers: Option<std::net::TcpListener>,
    metrics: Option<std::net::TcpListener>,
    tls: Arc<rustls::ServerConfig>,
}

impl Doors {
    fn open(setup: &Setup) -> anyhow::Result<Self> {
        let path = setup.run.join(SOCKET);
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            bail!("another agent already answers at {}", path.display());
        }
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot remove the old {}", path.display()))?;
        }
        let local = std::os::unix::net::UnixListener::bind(&path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        local.set_nonblocking(true)?;
        let private = |port| -> anyhow::Result<Option<std::net::TcpListener>> {
            let Some(address) = setup.server.private else { return Ok(None) };
            Ok(sockets::tcp(SocketAddr::new(address, port), 1)?.pop())
        };
        let metrics = if setup.design.monitor.is_some() { private(METRICS)? } else { None };
        let tls = triad_tls::mutual_server_config(&setup.secrets.identity)?;
        Ok(Self { local, peers: private(AGENT)?, metrics, tls })
    }

    /// Serves `handle` at every door; the result ends only when a door breaks.
    fn serve(self, handle: Handle) -> anyhow::Result<tokio::task::JoinHandle<std::io::Result<()>>> {
        let mut doors = tokio::task::JoinSet::new();
        doors.spawn_local(triad_api::serve::local(UnixListener::from_std(self.local)?, handle.clone()));
        if let Some(listener) = self.peers {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            doors.spawn_local(triad_api::serve::peers(listener, self.tls, handle.clone()));
        }
        if let Some(listener) = self.metrics {
            doors.spawn_local(triad_api::serve::metrics(tokio::net::TcpListener::from_std(listener)?, handle));
        }
        Ok(tokio::task::spawn_local(async move {
            match doors.join_next().await {
                Some(Ok(ended)) => ended,
                Some(Err(error)) => Err(std::io::Error::other(error)),
                None => Ok(()),
            }
        }))
    }
}
