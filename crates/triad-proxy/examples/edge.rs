//! One edge worker in front of an origin, as `cargo xtask bench edge` measures it: what the agent starts, without
//! the agent. HTTP, or HTTPS with `--certificate`; health checks, counters and access log on.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use triad_model::{DatabaseRoute, HealthCheck, Route, Secret, ServerName};
use triad_proxy::{
    BackendPlan, DatabaseAccount, DatabaseWays, Edge, EdgePlan, ListenerSpec, MinRate, PoolPlan, RelayTarget, Target,
};
use triad_tls::KeyPair;

/// Time between two checks of a backend: HAProxy's default, so that a hundred backends cost both the same checks.
const CHECK_INTERVAL_MS: u32 = 2000;

/// Open files for each connection of a client that an edge holds by itself.
const CONNECTIONS_PART: u32 = 4;

/// The pool that routes lead to.
const POOL: &str = "origin";

/// One edge worker in front of an origin.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    listen: SocketAddr,
    /// Where the access log goes.
    access_log: PathBuf,
    /// The backends.
    #[arg(required = true)]
    origins: Vec<SocketAddr>,
    /// Speak HTTPS with the certificate and the key in this PEM file.
    #[arg(long)]
    certificate: Option<PathBuf>,
    /// Reach the backends through so many routes, for `/service-0/*` and on; 0: through none.
    #[arg(long, default_value_t = 0)]
    routes: u16,
    /// Client connections that it may hold at one time; otherwise a quarter of the files it may have open.
    #[arg(long)]
    connections: Option<u32>,
    /// Relay to the first backend, a database, instead.
    #[arg(long)]
    database: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let socket = TcpListener::bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    socket.set_nonblocking(true)?;
    let name = match &args.certificate {
        _ if args.database => ListenerSpec::RELAY,
        Some(_) => ListenerSpec::HTTPS,
        None => ListenerSpec::HTTP,
    };
    let edge = Edge::start(plan(&args)?, vec![(name.to_owned(), vec![socket])])?;
    if args.database {
        edge.route_database(DatabaseRoute { epoch: 1, primary: Some(database()?), readable: Vec::new() });
    }
    loop {
        std::thread::park();
    }
}

fn plan(args: &Args) -> anyhow::Result<EdgePlan> {
    let backends = args
        .origins
        .iter()
        .enumerate()
        .map(|(index, origin)| BackendPlan::new(format!("origin-{index}"), Target::Instance(*origin)));
    let check = HealthCheck::new("/", CHECK_INTERVAL_MS, 1000);
    let pool = PoolPlan::new(backends.collect(), check);
    Ok(EdgePlan {
        // The load generators ask for the address.
        hosts: vec![args.listen.ip().to_string()],
        redirect_to_https: false,
        site_certificate: args.certificate.as_deref().map(key_pair).transpose()?,
        site_extras: Default::default(),
        http2: true,
        identity: None,
        hop_from: Vec::new(),
        proxy_protocol_from: Vec::new(),
        checked_from: Vec::new(),
        root: None,
        balancer: None,
        local: (args.routes == 0 && !args.database).then(|| pool.clone()),
        sticky: None,
        limits: None,
        fronts: 1,
        files_max: args.connections.map(|connections| connections.saturating_mul(CONNECTIONS_PART)),
        min_rate: MinRate::default(),
        headers: Default::default(),
        redirects: Vec::new(),
        pools: if args.routes > 0 { [(POOL.to_owned(), pool)].into() } else { Default::default() },
        routes: routes(args.routes)?,
        hsts: None,
        grpc: false,
        maintenance: Default::default(),
        relay: None,
        database: ways(args)?,
        access_log: Some(args.access_log.clone()),
        log: Default::default(),
    })
}

fn database() -> anyhow::Result<ServerName> {
    Ok(ServerName::new("database")?)
}

fn ways(args: &Args) -> anyhow::Result<DatabaseWays> {
    let first = args.origins.iter().take(1).filter(|_| args.database);
    let servers = first.map(|origin| Ok((database()?, RelayTarget::Tcp(*origin)))).collect::<anyhow::Result<_>>()?;
    // As where a database fails over: connections are read along.
    let account = DatabaseAccount { user: "root".to_owned(), password: Secret::new("") };
    Ok(DatabaseWays { servers, held: false, account: Some(account) })
}

fn routes(count: u16) -> anyhow::Result<Vec<Route>> {
    let route = |number| Ok(Route { pattern: format!("/service-{number}/*").parse()?, pool: POOL.to_owned() });
    (0..count).map(route).collect()
}

/// Certificate and key of one file; each reader skips what it is not for.
fn key_pair(path: &Path) -> anyhow::Result<KeyPair> {
    let pem = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(KeyPair { certificate_pem: pem.clone(), key_pem: Secret::new(pem) })
}
