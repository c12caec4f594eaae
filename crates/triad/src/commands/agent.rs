use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use tokio::task::LocalSet;
use tracing_subscriber::EnvFilter;
use triad_model::ServerName;

use super::DesignFile;

/// Run one server of the design: this host
///
/// Brings up what the file gives to the server: its firewall, database, application, edge and name server, and keeps
/// them running until SIGTERM. SIGHUP makes it read the file and the certificates again: what can change without a
/// restart does, and a file that is wrong, or asks for more, or was replaced by another one elsewhere, changes nothing and
/// is told in the log; `triad apply` does the same and prints it. Certificates that were renewed are noticed without it.
/// Must be root.
#[derive(Args)]
pub struct Agent {
    #[command(flatten)]
    design: DesignFile,
    /// Which server of the file this host is
    #[arg(long, env = "TRIAD_SERVER", value_name = "NAME")]
    server: String,
    /// Where everything that must last is kept
    #[arg(long, default_value = "/var/lib/triad", value_name = "DIR")]
    state: PathBuf,
    /// Where its sockets are
    #[arg(long, default_value = "/run/triad", value_name = "DIR")]
    run: PathBuf,
}

impl Agent {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        log_to_stderr();
        let loaded = match self.design.load() {
            Ok(loaded) => loaded,
            Err(code) => return Ok(code),
        };
        let design = self.design;
        let reread = move || match super::read(design.file.as_deref()) {
            Ok(loaded) => Ok((loaded.design, triad_agent::digest(&loaded.text))),
            Err(failure) => Err(anyhow!("{}", failure.text(false).trim_end())),
        };
        let options = triad_agent::Options {
            design: loaded.design,
            digest: triad_agent::digest(&loaded.text),
            reread: Box::new(reread),
            folder: loaded.folder,
            server: ServerName::new(self.server)?,
            state: std::path::absolute(self.state)?,
            run: std::path::absolute(self.run)?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(LocalSet::new().run_until(triad_agent::run(options)))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What is logged unless `RUST_LOG` says otherwise. hickory-proto warns of each malformed packet, and strangers send
/// those.
const LOG_FILTER: &str = "info,hickory_proto=error";

/// Logs of processes that stay: one line an event.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_env_filter(filter)
        .init();
}
