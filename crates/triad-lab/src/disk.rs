//! Disks that can be full: a file system in memory for each server's state.
//!
//! It is mounted in the holder's mount namespace, before any server has one of its own, so that a server that is killed
//! finds it again, and all of it is gone with the lab.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use nix::mount::{MsFlags, mount};
use triad_model::Design;

use crate::directory::{Directory, make_directory};

/// Mounts `megabytes` for each server of `design`, with what its state holds already.
pub(crate) fn give_each(directory: &Directory, design: &Design, megabytes: u32) -> anyhow::Result<()> {
    let size = format!("size={megabytes}m,mode=0755");
    for server in &design.servers {
        let state = directory.state(&server.name);
        let disk = directory.member(&server.name).join("disk");
        make_directory(&disk)?;
        mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
            .with_context(|| format!("cannot mount {megabytes} MB for {}", server.name))?;
        copy(&state, &disk)?;
        mount(Some(&disk), &state, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .with_context(|| format!("cannot mount over {}", state.display()))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().context("cannot run cp")?;
    if !status.success() {
        bail!("cannot copy {} to its own disk: {status}", from.display());
    }
    Ok(())
}
