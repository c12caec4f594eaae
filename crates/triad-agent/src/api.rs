//! What the agent answers at its doors.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use triad_api::{
    ApiError, BansReport, DesignReport, HeartbeatKey, Peer, RestoreRequest, Restored, ServerAnswer, SettingAnswer,
    Snapshot, TakenUp, Upgraded, Voting,
};
use triad_cluster::{Coordination, Heart};
use triad_database::DatabasePlan;
use triad_dns::Zone;
use triad_model::{
    BackendSetting, BanRequest, DatabaseReport, Design, DnsReport, EdgeReport, FirewallReport, Heard, IpNet,
    Maintenance, Orders, ProcessReport, Promotion, Rates, Role, Server, ServerName, ServerReport, State, Switchover,
    SwitchoverRequest, UsageNews, Verdict,
};
use triad_monitor::{HostReading, RateMeter};
use triad_proxy::EdgePlan;
use triad_tls::{Fault, Weight};

use crate::coordination::{CoordinationService, Standing};
use crate::database::DatabaseService;
use crate::failover;
use crate::logfile;
use crate::orders::{self, Known, now_ms};
use crate::promotion::Promotions;
use crate::recovery::Memories;
use crate::report::{self, Observed};
use crate::secrets::{self, Secrets};
use crate::service::Service;
use crate::setup::Setup;
use crate::supervisor::Process;
use crate::{fronts, heartbeats, recovery};

/// How often the firewall's counters are read: each reading starts a process.
const FIREWALL_EVERY: Duration = Duration::from_secs(5);

/// The agent as its doors see it.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    design: Mutex<Design>,
    server: ServerName,
    state: std::path::PathBuf,
    started: Instant,
    /// Those of etcd, database and application.
    processes: Vec<Process>,
    /// Those of edge and name server, which may be replaced.
    services: Vec<watch::Receiver<Vec<Process>>>,
    edge: Option<watch::Receiver<Option<EdgeReport>>>,
    dns: Option<watch::Receiver<Option<DnsReport>>>,
    database: Option<watch::Receiver<Option<DatabaseReport>>>,
    database_plan: Option<DatabasePlan>,
    /// What is known of who is the primary.
    shown: Option<watch::Receiver<failover::Shown>>,
    wishes: Option<mpsc::Sender<failover::Wish>>,
    firewall: Option<watch::Receiver<Result<FirewallReport, String>>>,
    rates: Mutex<RateMeter>,
    certificate_pems: Mutex<Vec<String>>,
    /// What is wrong with those that users are shown.
    certificate_faults: Mutex<Vec<(State, String)>>,
    peers: Vec<(Server, Option<Peer>)>,
    commands: mpsc::Sender<Command>,
    known: watch::Receiver<Known>,
    /// News of other front servers that were heard.
    heard: Mutex<Heard>,
    /// The same, for the edge.
    news: Option<broadcast::Sender<UsageNews>>,
    /// Of its edge.
    access_log: std::path::PathBuf,
    authority_pem: String,
    heart: Option<Arc<Heart>>,
    /// How agreeing with other servers goes, where it does.
    standing: Option<Standing>,
    /// Where what is agreed upon is kept.
    home: Option<Coordination>,
    /// Who was promoted by hand.
    promotion: Option<watch::Receiver<Option<Promotion>>>,
}

/// What the agent is told at its doors.
pub enum Command {
    /// What an operator says of a backend; the answer is whether this server balances, or why it is not done.
    SetBackend(BackendSetting, Answer<bool>),
    /// What was said to front servers; the answer is what is known of all then, or why it is not done.
    TakeOrders(Orders, Answer<Orders>),
    /// The file is to be taken into use, also if it was replaced by another one.
    Apply(Answer<TakenUp>),
    /// This server's database is to be the primary.
    Promote(Answer<Promotion>),
    /// Such a word was said elsewhere.
    Heed(Promotion),
    /// The edge is to be replaced by what is installed now.
    Upgrade(Answer<Upgraded>),
}

/// What was started, as far as the doors tell of it.
pub struct Started<'a> {
    /// Whether there is a firewall.
    pub firewall: bool,
    /// What servers agree on.
    pub coordination: &'a CoordinationService,
    /// The database.
    pub database: Option<&'a DatabaseService>,
    /// Instances of the application.
    pub apps: &'a [Process],
    /// The edge.
    pub edge: Option<&'a Service<EdgePlan, EdgeReport>>,
    /// The name server.
    pub dns: Option<&'a Service<Zone, DnsReport>>,
    /// Heartbeats, where there are other servers.
    pub heart: Option<Arc<Heart>>,
    /// Its part in failing over, where the database does by itself.
    pub failover: Option<&'a failover::Part>,
    /// What operators said of that, where it does not.
    pub promotions: Option<&'a Promotions>,
    /// What was said to front servers.
    pub known: watch::Receiver<Known>,
}

/// Why the primary cannot be another one.
const BY_FILE: &str =
    "the file says here who the primary is: with a replica, and three servers that agree, it can change";
/// Why there are no voters.
const NO_VOTERS: &str = "nobody votes here: that takes a database with a replica, and three servers";

/// Where what came of something is told.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, String>>;

/// Sends what `make` makes of the way back, and waits for what comes that way.
async fn send<C, T>(to: &mpsc::Sender<C>, make: impl FnOnce(Answer<T>) -> C) -> Result<T, String> {
    let (answer, answered) = oneshot::channel();
    let gone = || "the agent is ending".to_owned();
    to.send(make(answer)).await.map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}

/// Commands that wait to be obeyed; whoever has one more waits.
const COMMANDS_MAX: usize = 16;

impl Handle {
    /// Ties everything that was started together.
    pub fn new(setup: &Setup, started: Started<'_>) -> anyhow::Result<(Self, mpsc::Receiver<Command>)> {
        let Started { firewall, coordination, database, apps, edge, dns, heart, failover, promotions, known } = started;
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let tls = triad_tls::mutual_client_config(&setup.secrets.identity)?;
        let others = setup.design.servers.iter();
        let peers = others.map(|server| (server.clone(), Peer::of(server, tls.clone()))).collect();
        let mut processes: Vec<Process> = coordination.process.iter().cloned().collect();
        processes.extend(database.map(|database| database.process.clone()));
        processes.extend_from_slice(apps);
        let services = edge.map(|edge| edge.processes.clone()).into_iter().chain(dns.map(|dns| dns.processes.clone()));
        let shared = Arc::new(Shared {
            design: Mutex::new(setup.design.clone()),
            server: setup.server.name.clone(),
            state: setup.state.clone(),
            started: Instant::now(),
            processes,
            services: services.collect(),
            edge: edge.map(|edge| edge.report.clone()),
            dns: dns.map(|dns| dns.report.clone()),
            database: database.map(|database| database.report.clone()),
            database_plan: database.map(|database| database.plan.clone()),
            firewall: firewall.then(watch_firewall),
            rates: Mutex::new(RateMeter::default()),
            certificate_pems: Mutex::new(certificate_pems(&setup.secrets)),
            certificate_faults: Mutex::new(certificate_faults(&setup.secrets, &setup.design)),
            peers,
            commands,
            known,
            heard: Mutex::default(),
            news: edge.map(|edge| edge.news.clone()),
            access_log: setup.access_log(),
            authority_pem: setup.secrets.identity.authority_pem.clone(),
            heart,
            shown: failover.map(|failover| failover.shown.clone()),
            wishes: failover.map(|failover| failover.wishes.clone()),
            standing: coordination.standing.clone(),
            home: coordination.home(),
            promotion: promotions.map(Promotions::watch),
        });
        if let Some(promotions) = promotions {
            let commands = shared.commands.clone();
            promotions.look_out(async move |promotion| commands.send(Command::Heed(promotion)).await.is_ok());
        }
        if let Some(edge) = edge {
            tokio::task::spawn_local(heed(shared.clone(), edge.report.clone()));
        }
        let handle = Self { shared };
        if let Some(edge) = edge.filter(|_| handle.is_front()) {
            fronts::start(&handle, handle.other_fronts().into_iter().map(|(_, peer)| peer), edge.noticed.subscribe());
        }
        Ok((handle, received))
    }

    /// Reports of `design` from now on; its servers are those it was made with.
    pub fn adopt(&self, design: &Design, secrets: &Secrets) {
        design.clone_into(&mut lock(&self.shared.design));
        *lock(&self.shared.certificate_pems) = certificate_pems(secrets);
        *lock(&self.shared.certificate_faults) = certificate_faults(secrets, design);
    }
}

impl Handle {
    /// Has the agent do `command`.
    async fn tell<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, String> {
        send(&self.shared.commands, command).await
    }

    /// Has its part in failing over do what an operator wishes.
    async fn wish<T>(&self, wish: impl FnOnce(Answer<T>) -> failover::Wish) -> Result<T, String> {
        send(self.shared.wishes.as_ref().ok_or(BY_FILE)?, wish).await
    }

    fn peer(&self, name: &str) -> Result<&Peer, String> {
        let peer = self.shared.peers.iter().find(|(server, _)| server.name.as_str() == name);
        peer.and_then(|(_, peer)| peer.as_ref()).ok_or_else(|| format!("{name} is no server that can be asked"))
    }

    /// Tells each of `servers` the same at the same time, this one `here` and the others `there`.
    async fn tell_servers<A, H: Future<Output = Result<A, String>>, T: Future<Output = Result<A, ApiError>>>(
        &self,
        servers: &[ServerName],
        here: impl Fn() -> H,
        there: impl Fn(Peer) -> T,
    ) -> Vec<SettingAnswer> {
        let told = self.shared.peers.iter().filter(|(server, _)| servers.contains(&server.name));
        let answers = told.map(|(server, peer)| async {
            let outcome = match peer.clone() {
                _ if server.name == self.shared.server => here().await.map(drop),
                Some(peer) => there(peer).await.map(drop).map_err(|error| error.to_string()),
                None => Err("it has no private address".to_owned()),
            };
            SettingAnswer { server: server.name.clone(), error: outcome.err() }
        });
        futures_util::future::join_all(answers).await
    }
}

impl Handle {
    /// The orders that are in force here.
    pub(crate) fn known(&self) -> Known {
        self.shared.known.borrow().clone()
    }

    /// The same whenever they change.
    pub(crate) fn watch_known(&self) -> watch::Receiver<Known> {
        self.shared.known.clone()
    }

    /// The server.
    pub(crate) fn server(&self) -> &ServerName {
        &self.shared.server
    }

    /// Bans those of `offenders` that the design says shall be.
    pub(crate) async fn ban_offenders(&self, offenders: &[IpNet]) {
        let known = self.known().orders;
        let words = orders::ban_offenders(&known, &lock(&self.shared.design), offenders, self.server(), now_ms());
        if let Some(words) = words
            && let Err(why) = triad_api::Agent::take_orders(self, words).await
        {
            tracing::warn!(why, "clients that were refused too often are not banned");
        }
    }

    fn fronts(&self) -> Vec<ServerName> {
        lock(&self.shared.design).fronts().into_iter().cloned().collect()
    }

    fn is_front(&self) -> bool {
        self.fronts().contains(&self.shared.server)
    }

    fn other_fronts(&self) -> Vec<(ServerName, Peer)> {
        let fronts = self.fronts();
        let others =
            self.shared.peers.iter().filter(|(it, _)| it.name != self.shared.server && fronts.contains(&it.name));
        others.filter_map(|(server, peer)| Some((server.name.clone(), peer.clone()?))).collect()
    }

    /// What every server that votes or has a database remembers of the record.
    async fn memories(&self) -> Memories {
        let remembers = {
            let design = lock(&self.shared.design);
            let voters = design.voters();
            let remembers =
                |server: &&Server| voters.contains(&&server.name) || design.carries(&server.name, Role::Database);
            design.servers.iter().filter(remembers).map(|server| server.name.clone()).collect::<Vec<_>>()
        };
        let memories = remembers.into_iter().map(|server| async {
            let memory = match self.peer(server.as_str()) {
                _ if server == self.shared.server => triad_api::Agent::remembered_record(self),
                Ok(peer) => peer.remembered_record().await.map_err(|error| error.to_string()),
                Err(why) => Err(why),
            };
            (server, memory)
        });
        futures_util::future::join_all(memories).await
    }

    /// What any front server knows was said, and those that do not answer.
    async fn known_anywhere(&self) -> (Orders, Vec<SettingAnswer>) {
        let (mut all, mut silent) = (self.known().orders, Vec::new());
        let others = self.other_fronts();
        let answers = others.iter().map(|(server, peer)| async move { (server.clone(), peer.orders().await) });
        for (server, answer) in futures_util::future::join_all(answers).await {
            match answer {
                Ok(orders) => all.merge(orders),
                Err(error) => silent.push(SettingAnswer { server, error: Some(error.to_string()) }),
            }
        }
        (all, silent)
    }

    /// Says to every front server the word that `say` makes of what they know, at a time, by this server.
    async fn say<E: std::fmt::Display>(
        &self,
        say: impl FnOnce(&Orders, &ServerName, u64) -> Result<Orders, E>,
    ) -> Result<Vec<SettingAnswer>, String> {
        let (known, _) = self.known_anywhere().await;
        let words = say(&known, &self.shared.server, now_ms()).map_err(|error| error.to_string())?;
        let (here, there) = (|| triad_api::Agent::take_orders(self, words.clone()), &words);
        Ok(self.tell_servers(&self.fronts(), here, |peer| async move { peer.take_orders(there).await }).await)
    }
}

fn certificate_pems(secrets: &Secrets) -> Vec<String> {
    let named = secrets.extras.named.iter().map(|named| &named.pair);
    let shown = secrets.site.iter().chain(named).map(|pair| pair.certificate_pem.clone());
    std::iter::once(secrets.identity.certificate_pem.clone()).chain(shown).collect()
}

/// What is only left out for a time harms nobody.
fn certificate_faults(secrets: &Secrets, design: &Design) -> Vec<(State, String)> {
    let said = |fault: &Fault| {
        let state = if fault.weight == Weight::LeftOut { State::Healthy } else { State::Degraded };
        (state, format!("{}: {}", secrets::key(fault), fault.what))
    };
    secrets.faults(design).iter().map(said).collect()
}

/// What edges make ids of; whatever else somebody asks for is not looked for.
fn is_request_id(id: &str) -> bool {
    (8..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes from each of the edge's reports what the agent itself wants to know: the rate of requests, and which
/// application instances answer.
async fn heed(shared: Arc<Shared>, mut reports: watch::Receiver<Option<EdgeReport>>) {
    while reports.changed().await.is_ok() {
        let reports = reports.borrow_and_update();
        let Some(report) = reports.as_ref() else { continue };
        let mut rates = lock(&shared.rates);
        rates.take(report.requests_total(), shared.started.elapsed().as_millis() as u64);
        for backend in report.backends.iter().filter(|backend| backend.verdict == Verdict::Up) {
            // Instances bear their processes' names.
            if let Some(process) = shared.processes.iter().find(|process| process.name() == backend.name) {
                process.mark_ready();
            }
        }
    }
}

fn watch_firewall() -> watch::Receiver<Result<FirewallReport, String>> {
    let (sender, receiver) = watch::channel(Ok(FirewallReport::default()));
    tokio::task::spawn_local(async move {
        let mut ticks = tokio::time::interval(FIREWALL_EVERY);
        while !sender.is_closed() {
            ticks.tick().await;
            let report = triad_firewall::report().await;
            drop(sender.send_replace(report.map_err(|error| error.to_string())));
        }
    });
    receiver
}

fn last<T: Clone>(receiver: Option<&watch::Receiver<Option<T>>>) -> Option<T> {
    receiver.and_then(|receiver| receiver.borrow().clone())
}

impl Shared {
    fn processes(&self) -> Vec<ProcessReport> {
        let fixed = self.processes.iter().map(Process::report);
        let services = self.services.iter().flat_map(|it| it.borrow().iter().map(Process::report).collect::<Vec<_>>());
        fixed.chain(services).collect()
    }

    fn rates(&self) -> Option<Rates> {
        self.edge.as_ref()?;
        Some(lock(&self.rates).rates())
    }
}

impl triad_api::Agent for Handle {
    fn report(&self) -> ServerReport {
        let shared = &self.shared;
        let observed = Observed {
            processes: shared.processes(),
            edge: last(shared.edge.as_ref()),
            dns: last(shared.dns.as_ref()),
            database: last(shared.database.as_ref()),
            firewall: shared.firewall.as_ref().map(|firewall| firewall.borrow().clone()),
            rates: shared.rates(),
            coordination: shared.standing.as_ref().map(Standing::report),
            heartbeats: shared.heart.as_deref().map(heartbeats::report),
            certificate_days_left: lock(&shared.certificate_pems)
                .iter()
                .filter_map(|pem| triad_tls::days_left(pem).ok())
                .min(),
            certificate_faults: lock(&shared.certificate_faults).clone(),
            uptime_s: shared.started.elapsed().as_secs(),
        };
        report::report(&lock(&shared.design), &shared.server, observed)
    }

    async fn status(&self) -> DesignReport {
        let answers = self.shared.peers.iter().map(|(server, peer)| async {
            if server.name == self.shared.server {
                return ServerAnswer::new(server.name.clone(), Ok(self.report()));
            }
            match peer {
                Some(peer) => ServerAnswer::new(server.name.clone(), peer.report().await),
                None => ServerAnswer {
                    server: server.name.clone(),
                    report: None,
                    error: Some("it has no private address".to_owned()),
                },
            }
        });
        DesignReport { servers: futures_util::future::join_all(answers).await }
    }

    fn metrics(&self) -> String {
        let host = HostReading::take(&self.shared.state);
        triad_monitor::render(&self.report(), host.ok().as_ref())
    }

    async fn set_backend(&self, setting: BackendSetting) -> Result<bool, String> {
        self.tell(|answer| Command::SetBackend(setting, answer)).await
    }

    async fn set_backend_everywhere(&self, setting: BackendSetting) -> Vec<SettingAnswer> {
        let balancers = lock(&self.shared.design).balancer.as_ref().map_or(Vec::new(), |it| it.servers.clone());
        let (here, setting) = (|| self.set_backend(setting.clone()), &setting);
        self.tell_servers(&balancers, here, |peer| async move { peer.set_backend(setting).await }).await
    }

    fn orders(&self) -> Orders {
        self.known().orders
    }

    async fn take_orders(&self, words: Orders) -> Result<Orders, String> {
        self.tell(|answer| Command::TakeOrders(words, answer)).await
    }

    fn hear(&self, news: UsageNews) -> u64 {
        let is_other_front = self.fronts().contains(&news.from) && news.from != self.shared.server;
        if is_other_front && !news.is_empty() && lock(&self.shared.heard).is_new(&news) {
            // Without an edge there is nobody to tell.
            drop(self.shared.news.as_ref().map(|edge| edge.send(news.believable())));
        }
        self.shared.known.borrow().number
    }

    async fn set_maintenance_everywhere(&self, order: Option<Maintenance>) -> Vec<SettingAnswer> {
        let said = self.say(|known, by, now_ms| Ok::<_, String>(known.say_maintenance(order, by, now_ms))).await;
        said.unwrap_or_default()
    }

    async fn ban_everywhere(&self, ban: BanRequest) -> Result<Vec<SettingAnswer>, String> {
        if let Some(why) = orders::protected(&lock(&self.shared.design), ban.network) {
            return Err(why);
        }
        self.say(|known, by, now_ms| known.say_ban(ban, false, by, now_ms)).await
    }

    async fn unban_everywhere(&self, network: IpNet) -> Result<Vec<SettingAnswer>, String> {
        self.say(|known, by, now_ms| known.say_unban(network, by, now_ms)).await
    }

    async fn bans(&self) -> BansReport {
        let (known, silent) = self.known_anywhere().await;
        BansReport { bans: orders::bans_in_force(&known, &lock(&self.shared.design), now_ms()), silent }
    }

    async fn apply(&self) -> Result<TakenUp, String> {
        self.tell(Command::Apply).await
    }

    async fn upgrade(&self) -> Result<Upgraded, String> {
        self.tell(Command::Upgrade).await
    }

    async fn switchover(&self, request: SwitchoverRequest) -> Result<Switchover, String> {
        let shown = self.shared.shown.as_ref().ok_or(BY_FILE)?;
        let primary = shown.borrow().report.primary.clone().ok_or("who is the primary is not known now")?;
        if primary == self.shared.server {
            return self.wish(|answer| failover::Wish::Switchover { request, answer }).await;
        }
        self.peer(primary.as_str())?.switchover(&request).await.map_err(|error| error.to_string())
    }

    async fn restart_database(&self) -> Result<(), String> {
        self.wish(|answer| failover::Wish::Restart { answer }).await
    }

    async fn restart_database_of(&self, server: &str) -> Result<(), String> {
        if server == self.shared.server.as_str() {
            return self.restart_database().await;
        }
        self.peer(server)?.restart_database().await.map_err(|error| error.to_string())
    }

    async fn access_lines(&self, id: &str) -> Vec<String> {
        if !is_request_id(id) {
            return Vec::new();
        }
        let log = self.shared.access_log.clone();
        let id = id.to_owned();
        // Reading a log waits for the disk, and the agent is one thread.
        tokio::task::spawn_blocking(move || logfile::lines_with(&log, &id)).await.unwrap_or_default()
    }

    async fn access_lines_of(&self, server: &str, id: &str) -> Result<Vec<String>, String> {
        if server == self.shared.server.as_str() {
            return Ok(self.access_lines(id).await);
        }
        let peer = self.peer(server)?;
        if !is_request_id(id) {
            return Ok(Vec::new());
        }
        peer.access_lines(id).await.map_err(|error| error.to_string())
    }

    fn authority(&self) -> String {
        self.shared.authority_pem.clone()
    }

    fn heartbeat_key(&self, receiver: &ServerName) -> Option<HeartbeatKey> {
        self.shared.heart.as_deref().map(|heart| heartbeats::key_for(heart, receiver))
    }

    fn voting(&self) -> Voting {
        self.shared.standing.as_ref().map_or(Voting::Never, |standing| *standing.voting.borrow())
    }

    async fn promote(&self) -> Result<Promotion, String> {
        self.tell(Command::Promote).await
    }

    fn promotion(&self) -> Option<Promotion> {
        last(self.shared.promotion.as_ref())
    }

    fn remembered_record(&self) -> Result<Option<String>, String> {
        recovery::remembered(&self.shared.state)
    }

    async fn snapshot(&self) -> Result<Snapshot, String> {
        let home = self.shared.home.as_ref().ok_or(NO_VOTERS)?;
        recovery::snapshot(home).await.map_err(|error| format!("{error:#}"))
    }

    async fn restore(&self, request: RestoreRequest) -> Result<Restored, String> {
        let home = self.shared.home.as_ref().ok_or(NO_VOTERS)?;
        let memories = self.memories().await;
        recovery::restore(home, memories, request).await.map_err(|error| format!("{error:#}"))
    }

    async fn backup(&self) -> Result<Body, String> {
        let plan = self.shared.database_plan.as_ref().ok_or("this server has no database")?;
        let backup = triad_database::backup_stream(plan).map_err(|error| error.to_string())?;
        Ok(Body::from_stream(crate::database::stream(backup)))
    }
}
