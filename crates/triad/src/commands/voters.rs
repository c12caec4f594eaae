use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use triad_api::{RestoreRequest, Restored, Snapshot};
use triad_model::ServerName;

use super::AgentSocket;
use crate::print;

/// Save what servers agree on, or begin anew where voters lost it
///
/// One of three voters that loses its disk needs nothing: the others list it anew. Where two did, none of the rest can
/// decide any more; the site goes on as it is, without failover. Then, once all voters' machines are there again:
/// stop the agent on every voter, say `triad voters forget` on each, start the agents, and say `triad voters restore` on
/// one of them. The database waits for that last word, and users with it.
#[derive(Args)]
pub struct Voters {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Write all that servers agree on into a file
    Snapshot {
        /// The file, of JSON; left out: standard output
        file: Option<PathBuf>,
        #[command(flatten)]
        agent: AgentSocket,
    },
    /// Put aside what this server's etcd has, so that all voters can begin anew; its agent must not run
    Forget {
        /// Where the agent keeps everything that must last
        #[arg(long, default_value = "/var/lib/triad", value_name = "DIR")]
        state: PathBuf,
        /// Where the agent's sockets are while it runs
        #[arg(long, default_value = "/run/triad", value_name = "DIR")]
        run: PathBuf,
    },
    /// Put back the newest record of who is the primary that any server remembers, where voters have none
    Restore {
        /// A snapshot, which may have a newer one
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// Only say which it would be
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        agent: AgentSocket,
    },
}

impl Voters {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.what {
            What::Snapshot { file, agent } => snapshot(file.as_deref(), &agent),
            What::Forget { state, run } => forget(&state, &run),
            What::Restore { from, dry_run, agent } => restore(from.as_deref(), dry_run, &agent),
        }?;
        Ok(ExitCode::from(print::DONE))
    }
}

fn snapshot(file: Option<&Path>, agent: &AgentSocket) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let snapshot = runtime.block_on(triad_api::snapshot(&agent.path()?))?;
    let Some(path) = file else { return print::json(&snapshot) };
    std::fs::write(path, serde_json::to_string_pretty(&snapshot)? + "\n")
        .with_context(|| format!("cannot write {}", path.display()))?;
    print::out(&format!("{} values are in {}\n", snapshot.values.len(), path.display()));
    Ok(())
}

fn forget(state: &Path, run: &Path) -> anyhow::Result<()> {
    if UnixStream::connect(run.join(triad_agent::LOCAL_DOOR)).is_ok() {
        bail!("the agent runs: stop it first, on every voter");
    }
    let aside = triad_agent::forget(state)?;
    print::out(&match aside {
        Some(aside) => format!("this server votes anew; what it had is in {}\n", aside.display()),
        None => format!("there is nothing to forget: no voter ever ran in {}\n", state.display()),
    });
    Ok(())
}

fn restore(from: Option<&Path>, dry_run: bool, agent: &AgentSocket) -> anyhow::Result<()> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str::<Snapshot>(&text).with_context(|| format!("{} is no snapshot", path.display()))
    };
    let request = RestoreRequest { from: from.map(read).transpose()?, dry_run };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Restored { version, epoch, primary, in_sync, from } =
        runtime.block_on(triad_api::restore(&agent.path()?, &request))?;
    let in_sync: Vec<&str> = in_sync.iter().map(ServerName::as_str).collect();
    let (in_sync, done) = (in_sync.join(", "), if dry_run { "would be" } else { "is" });
    print::out(&format!(
        "{primary} {done} the primary, in epoch {epoch}, in sync {in_sync}: version {version} of the record, from {from}\n"
    ));
    Ok(())
}
