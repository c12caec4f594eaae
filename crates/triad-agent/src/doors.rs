//! The agent's listening sockets: for commands on this server, for other servers' agents, for metrics.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::net::UnixListener;
use triad_model::{AGENT, METRICS};

use crate::api::Handle;
use crate::setup::Setup;
use crate::sockets;

/// Name of the local door in the run directory.
pub const LOCAL_DOOR: &str = "agent.sock";

/// The agent's listening sockets.
pub struct Doors {
    local: std::os::unix::net::UnixListener,
    peers: Option<std::net::TcpListener>,
    metrics: Option<std::net::TcpListener>,
    tls: Arc<rustls::ServerConfig>,
}

impl Doors {
    /// Opens them, so that a taken port is known before anything is changed.
    pub fn open(setup: &Setup) -> anyhow::Result<Self> {
        let path = setup.run.join(LOCAL_DOOR);
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

    /// Removes the local door from the file system: whoever finds it must find an agent behind it.
    pub fn remove_socket(setup: &Setup) {
        let _ = fs::remove_file(setup.run.join(LOCAL_DOOR));
    }

    /// Serves `handle` at every door; the result ends only when a door breaks.
    pub fn serve(self, handle: Handle) -> anyhow::Result<tokio::task::JoinHandle<std::io::Result<()>>> {
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
