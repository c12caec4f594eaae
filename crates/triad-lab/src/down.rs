//! Taking a lab down.

use std::time::Duration;

use anyhow::bail;
use serde::Serialize;

use crate::directory::Directory;
use crate::lab::{Lab, default_parent_directory};
use crate::protocol::{HolderReply, HolderRequest, ask};

/// Time a lab has to end in order: its services' drain and a little more.
const DRAIN_LIMIT: Duration = Duration::from_millis(2500);
/// Time the holder has to take the request.
const REQUEST_LIMIT: Duration = Duration::from_millis(500);
/// Time the kernel has to end a killed lab.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// What [`Lab::down`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DownSummary {
    /// It ran.
    pub ran: bool,
    /// There were files of it.
    pub existed: bool,
}

impl Lab {
    /// Ends the lab and removes what is left of it, also of one that was killed or failed; harmless if there is
    /// nothing. Takes at most 3 s, if the kernel does its part.
    ///
    /// # Errors
    /// If another command is at work on the same lab, or its directory cannot be removed.
    pub async fn down(&self) -> anyhow::Result<DownSummary> {
        let Some(_lock) = self.directory.lock()? else { return Ok(DownSummary { ran: false, existed: false }) };
        let ran = drain_and_kill(&self.directory).await?;
        self.remove()?;
        Ok(DownSummary { ran, existed: true })
    }

    /// Removes the lab's directory, and the default folder for labs if this was the last.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        self.directory.remove()?;
        if let Some(parent) = default_parent_directory().ok().filter(|parent| self.path().starts_with(parent)) {
            // Others may be in it.
            let _ = std::fs::remove_dir(parent);
        }
        Ok(())
    }
}

/// Ends the lab's processes in order, or by force if that takes too long; whether there were any.
async fn drain_and_kill(directory: &Directory) -> anyhow::Result<bool> {
    let Some(holder) = directory.holder().await else { return Ok(false) };
    let socket = directory.holder_socket();
    let asked = tokio::time::timeout(REQUEST_LIMIT, ask::<_, HolderReply>(&socket, &HolderRequest::Down)).await;
    let taken = matches!(asked, Ok(Ok(HolderReply::Done)));
    if !taken || !holder.ended_within(DRAIN_LIMIT).await {
        kill(directory).await?;
    }
    Ok(true)
}

/// Ends the lab's processes by force.
pub(crate) async fn kill(directory: &Directory) -> anyhow::Result<()> {
    let Some(holder) = directory.holder().await else { return Ok(()) };
    holder.kill();
    if !holder.ended_within(KILL_LIMIT).await {
        bail!("process {} of the lab in {} was killed and does not end", holder.pid, directory.path().display());
    }
    Ok(())
}
