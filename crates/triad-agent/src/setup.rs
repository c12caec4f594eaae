//! What starting needs to know, and how each role is started from it.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use triad_dns::Zone;
use triad_firewall::Ruleset;
use triad_model::{
    DATABASE, Design, DnsReport, ETCD, ETCD_PEER, EdgeReport, LogFormat, Maintenance, ProcessSpec, Role, Secret,
    Server, ServerName, ServiceUser,
};
use triad_proxy::{EdgeInputs, EdgePlan};

use crate::binary::{self, Binary};
use crate::child::DRAIN_TIMEOUT;
use crate::child::confine::OWN_PROGRAM;
use crate::database::DatabaseService;
use crate::maintenance;
use crate::renewal::Stamps;
use crate::secrets::{self, Secrets};
use crate::service::Service;
use crate::sockets::{self, Named};
use crate::supervisor::{Launch, Process};
use crate::users::Users;
use crate::watch_fronts;

/// Workers of the edge at the most; each is a thread with its own sockets.
const WORKERS_MAX: usize = 64;

/// Reads the file again: the design, and what its text is known by ([`crate::digest`]). An error says why it gives none.
pub type Reread = Box<dyn Fn() -> anyhow::Result<(Design, String)>>;

/// What an agent is told when it starts.
pub struct Options {
    /// The design.
    pub design: Design,
    /// What the text of its file is known by ([`crate::digest`]).
    pub digest: String,
    /// How it is read again when the agent is told to.
    pub reread: Reread,
    /// The folder of its file: paths in the design are relative to it.
    pub folder: PathBuf,
    /// Which of its servers this is.
    pub server: ServerName,
    /// Where everything that must last is kept: `/var/lib/triad`.
    pub state: PathBuf,
    /// Where sockets are: `/run/triad`.
    pub run: PathBuf,
}

/// What starting needs to know.
pub struct Setup {
    pub(crate) design: Design,
    pub(crate) digest: String,
    pub(crate) reread: Reread,
    pub(crate) folder: PathBuf,
    pub(crate) server: Server,
    pub(crate) state: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) secrets: Secrets,
    pub(crate) users: Users,
    /// Where this agent's binary was when it was started.
    pub(crate) binary: PathBuf,
}

impl Setup {
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        let Options { design, digest, reread, folder, server, state, run } = options;
        let server = own_server(&design, &server)?;
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
        secrets.check(&design)?;
        let users = Users::detect()?;
        if users.are_shared() {
            tracing::info!("one user id only: services are not told apart by their users here");
        }
        let binary = binary::own_path().context("cannot tell where this binary is")?;
        Ok(Self { design, digest, reread, folder, server, state, run, logs, secrets, users, binary })
    }

    /// Where this server's secrets are.
    pub(crate) fn secrets_folder(&self) -> PathBuf {
        self.state.join("secrets")
    }

    /// How the files of what users are shown look now.
    pub(crate) fn shown_files(&self) -> Stamps {
        Stamps::of(&secrets::shown_files(&self.design, &self.folder, &self.server.name, &self.secrets_folder()))
    }

    fn carries(&self, role: Role) -> bool {
        self.design.carries(&self.server.name, role)
    }

    /// How `spec` is run here.
    pub(crate) fn launch(&self, spec: ProcessSpec, sockets: Vec<Named>) -> anyhow::Result<Launch> {
        let ids = self.users.ids(spec.user)?;
        let log = self.logs.join(format!("{}.log", spec.name));
        Ok(Launch { spec, ids, log, sockets: sockets.into(), binary: Binary::Own })
    }

    /// A folder that belongs to `user` alone.
    pub(crate) fn folder_of(&self, user: ServiceUser, path: PathBuf, mode: u32) -> anyhow::Result<PathBuf> {
        make_folder(&path, mode)?;
        let ids = self.users.ids(user)?;
        std::os::unix::fs::chown(&path, Some(ids.uid), Some(ids.gid))
            .with_context(|| format!("cannot give {} to {}", path.display(), user.name()))?;
        Ok(path)
    }

    pub(crate) fn edge_sockets(&self) -> anyhow::Result<Vec<Named>> {
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get).min(WORKERS_MAX);
        let mut named = Vec::new();
        for listener in triad_proxy::listeners(&self.design, &self.server.name) {
            let group = sockets::tcp(listener.address, workers)?;
            named.extend(group.into_iter().map(|socket| Named { name: listener.name.clone(), socket: socket.into() }));
        }
        Ok(named)
    }

    pub(crate) fn dns_sockets(&self) -> anyhow::Result<Vec<Named>> {
        let mut named = Vec::new();
        for address in triad_dns::listeners(&self.design, &self.server.name) {
            let named_as = |name: &str, socket: OwnedFd| Named { name: name.to_owned(), socket };
            named.extend(sockets::udp(address)?.into_iter().map(|socket| named_as("udp", socket.into())));
            named.extend(sockets::tcp(address, 1)?.into_iter().map(|socket| named_as("tcp", socket.into())));
        }
        Ok(named)
    }

    /// mariadbd and etcd open their ports themselves, later; one that is taken is said now, before anything is changed.
    pub(crate) fn check_ports_of_others(&self) -> anyhow::Result<()> {
        let Some(private) = self.server.private else { return Ok(()) };
        let databases = self.carries(Role::Database).then_some(DATABASE);
        let votes = self.design.voters().contains(&&self.server.name);
        let ports = databases.into_iter().chain([ETCD, ETCD_PEER].into_iter().filter(|_| votes));
        ports.into_iter().try_for_each(|port| sockets::tcp(SocketAddr::new(private, port), 1).map(drop))
    }

    pub(crate) async fn load_firewall(&self) -> anyhow::Result<bool> {
        let Some(ruleset) = Ruleset::of(&self.design, &self.server.name) else { return Ok(false) };
        triad_firewall::apply(&ruleset).await.context("the firewall cannot be loaded")?;
        tracing::info!("firewall is loaded");
        Ok(true)
    }

    pub(crate) fn start_apps(&self) -> anyhow::Result<Vec<Process>> {
        let specs = self.instances(&self.design, &self.secrets);
        specs.into_iter().map(|spec| Ok(Process::start(self.launch(spec, Vec::new())?))).collect()
    }

    /// The application's processes under `design`.
    pub(crate) fn instances(&self, design: &Design, secrets: &Secrets) -> Vec<ProcessSpec> {
        let nothing = Secret::new("");
        let password = secrets.passwords.as_ref().map_or(&nothing, |passwords| &passwords.app);
        triad_app::instances(design, &self.server.name, &self.folder, password)
    }

    fn edge_logs(&self) -> PathBuf {
        self.logs.join("edge")
    }

    /// Where the edge writes what it answered, in lines of JSON.
    pub(crate) fn access_log(&self) -> PathBuf {
        self.edge_logs().join("access.jsonl")
    }

    fn access_log_of(&self, design: &Design) -> PathBuf {
        match design.log.format {
            LogFormat::Json => self.access_log(),
            LogFormat::Combined => self.edge_logs().join("access.log"),
        }
    }

    /// What the edge works from under `design`.
    pub(crate) fn edge_plan(
        &self,
        design: &Design,
        secrets: &Secrets,
        database: Option<&DatabaseService>,
        maintenance: Option<&Maintenance>,
    ) -> EdgePlan {
        let inputs = EdgeInputs {
            folder: self.folder.clone(),
            identity: secrets.identity.clone(),
            site_certificate: secrets.site.clone(),
            site_extras: secrets.extras.clone(),
            access_log: Some(self.access_log_of(design)),
            maintenance_page: maintenance::page(design, &self.folder),
            database_socket: database.map(|database| database.plan.socket()),
            database_password: secrets.passwords.as_ref().map(|passwords| passwords.app.clone()),
        };
        let mut plan = EdgePlan::of(design, &self.server.name, inputs);
        plan.maintenance.order = maintenance.filter(|_| design.fronts().contains(&&self.server.name)).cloned();
        plan
    }

    pub(crate) fn start_edge(
        &self,
        sockets: Vec<Named>,
        database: Option<&DatabaseService>,
        maintenance: Option<&Maintenance>,
    ) -> anyhow::Result<Option<Service<EdgePlan, EdgeReport>>> {
        if !self.design.has_edge(&self.server.name) {
            return Ok(None);
        }
        self.folder_of(ServiceUser::Edge, self.edge_logs(), 0o750)?;
        let plan = self.edge_plan(&self.design, &self.secrets, database, maintenance);
        let launch = self.launch(own_process("edge", ServiceUser::Edge), sockets)?;
        Ok(Some(Service::start(launch, plan)))
    }

    pub(crate) fn start_dns(&self, sockets: Vec<Named>) -> anyhow::Result<Option<Service<Zone, DnsReport>>> {
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

/// The entry of `design` that says what this server is.
fn own_server(design: &Design, name: &ServerName) -> anyhow::Result<Server> {
    design.server(name).cloned().with_context(|| {
        let names: Vec<&str> = design.servers.iter().map(|server| server.name.as_str()).collect();
        format!("the design has no server {name}; it has {}", names.join(", "))
    })
}

/// A command of this binary as a child.
fn own_process(command: &str, user: ServiceUser) -> ProcessSpec {
    let drain_ms = u64::try_from(DRAIN_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
    ProcessSpec {
        name: command.to_owned(),
        program: OWN_PROGRAM.into(),
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
