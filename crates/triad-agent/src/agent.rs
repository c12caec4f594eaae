//! One server's agent, from its options to its end.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use triad_dns::Zone;
use triad_model::{DnsReport, EdgeReport};
use triad_proxy::EdgePlan;

use crate::api::Handle;
use crate::database::DatabaseService;
use crate::doors::Doors;
use crate::logfile;
use crate::service::Service;
use crate::setup::{Options, Setup};
use crate::supervisor::Process;

/// How often child logs are looked at.
const LOG_LOOK_EVERY: Duration = Duration::from_secs(10);

/// Runs the agent until SIGTERM or SIGINT, then drains. Must be called on a [`tokio::task::LocalSet`] of a
/// single-threaded runtime: children die with the thread that started them.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let own = options.design.server(&options.server).cloned().with_context(|| {
        let names: Vec<&str> = options.design.servers.iter().map(|server| server.name.as_str()).collect();
        format!("the design has no server {}; it has {}", options.server, names.join(", "))
    })?;
    let setup = Setup::new(options, own)?;
    let doors = Doors::open(&setup)?;
    let edge_sockets = setup.edge_sockets()?;
    let dns_sockets = setup.dns_sockets()?;
    setup.check_database_port()?;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let firewall = setup.load_firewall().await?;
    let database = DatabaseService::start(&setup)?;
    let apps = setup.start_apps()?;
    let edge = setup.start_edge(edge_sockets, database.as_ref())?;
    let dns = setup.start_dns(dns_sockets)?;
    tracing::info!(server = setup.server.name.as_str(), "every role is started");

    let handle = Handle::new(&setup, firewall, database.as_ref(), &apps, edge.as_ref(), dns.as_ref())?;
    let doors = doors.serve(handle)?;
    let logs = tokio::task::spawn_local(look_after_logs(setup.logs.clone()));
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        error = doors => bail!("a door of the agent closed: {error:?}"),
    }
    logs.abort();
    drain(edge, dns, apps, database).await;
    Doors::remove_socket(&setup);
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
    let mut ticks = tokio::time::interval(LOG_LOOK_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = logfile::rotate_all(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "logs cannot be looked after");
        }
    }
}
