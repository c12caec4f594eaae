use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Args, ValueEnum};
use triad_api::DesignReport;
use triad_model::{DatabaseReport, FailoverReport, ServerName, State, Switchover, SwitchoverRequest};

use super::{AgentSocket, databases};
use crate::print;

/// Time that a database has to be back with every write.
const BACK_WITHIN: Duration = Duration::from_secs(600);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Start the databases anew, one after the other, while the site goes on
///
/// After a new MariaDB is installed (apt-get install --only-upgrade mariadb-server on each server), this takes it into use:
/// each replica is started anew and must have every write again, then one of them takes over, then the old primary is
/// started anew. Writes are held for a moment while the primary changes. It stops at the first that does not come back:
/// nothing else is touched then. Exit code 0 when all were started anew.
#[derive(Args)]
pub struct Restart {
    /// What
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    agent: AgentSocket,
}

/// What can be started anew.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// MariaDB, on every server that has it
    Database,
}

impl Restart {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let What::Database = self.what;
        let socket = self.agent.path()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(rolling(&socket))?;
        Ok(ExitCode::from(print::DONE))
    }
}

async fn rolling(socket: &Path) -> anyhow::Result<()> {
    let report = triad_api::local_status(socket).await?;
    let all: Vec<(&ServerName, &DatabaseReport)> = databases::of(&report).collect();
    let newest = all.iter().filter_map(|(_, database)| database.failover.as_ref()).max_by_key(|it| it.version);
    let Some(FailoverReport { primary: Some(primary), in_sync, .. }) = newest else {
        bail!("who is the primary says the file here, or it is not known now: `triad status database` tells more");
    };
    if in_sync.len() < all.len() {
        bail!("not every database has every write now: `triad status database` says why; nothing is changed");
    }
    let replicas = all.iter().map(|(server, _)| *server).filter(|server| *server != primary);
    for replica in replicas {
        restart(socket, replica).await?;
    }
    let request = SwitchoverRequest { to: None, dry_run: false };
    let Switchover { from, to, held_ms } = triad_api::switchover(socket, &request).await?;
    print::out(&format!("{to} is the primary, {from} its replica; writes were held for {} ms\n", held_ms.unwrap_or(0)));
    back(socket, &from).await?;
    restart(socket, &from).await
}

async fn restart(socket: &Path, server: &ServerName) -> anyhow::Result<()> {
    let begun = Instant::now();
    let before = triad_api::local_status(socket).await?;
    let old = pid(&before, server);
    triad_api::restart_database(socket, server).await?;
    let is_new = |report: &DesignReport| pid(report, server).is_some_and(|pid| Some(pid) != old);
    until(socket, server, "start anew", is_new).await?;
    back(socket, server).await?;
    let took_s = begun.elapsed().as_secs_f64();
    print::out(&format!("{server} is started anew, and has every write again after {took_s:.1} s\n"));
    Ok(())
}

/// The process id of `server`'s database.
fn pid(report: &DesignReport, server: &ServerName) -> Option<u32> {
    let report = report.servers.iter().find(|answer| answer.server == *server)?.report.as_ref()?;
    report.processes.iter().find(|process| process.name == "mariadbd")?.pid
}

/// Waits until `server` is well and has every acknowledged write.
async fn back(socket: &Path, server: &ServerName) -> anyhow::Result<()> {
    let is_back = |report: &DesignReport| {
        databases::of(report).any(|(name, database)| {
            let in_sync = database.failover.as_ref().is_some_and(|failover| failover.in_sync.contains(server));
            name == server && database.state == State::Healthy && in_sync
        })
    };
    until(socket, server, "have every write again", is_back).await
}

async fn until(
    socket: &Path,
    server: &ServerName,
    what: &str,
    good: impl Fn(&DesignReport) -> bool,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < BACK_WITHIN {
        if good(&triad_api::local_status(socket).await?) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("{server} did not {what} within {} s: `triad status database` says why", BACK_WITHIN.as_secs())
}
