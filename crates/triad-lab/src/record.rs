//! What `up` tells the holder and the inits, and what later commands know of the lab.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use triad_model::Design;

use crate::directory::Directory;

/// A lab, as it was brought up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub design: Design,
    /// Where the host reaches the site; `None` if no front server has a public address.
    pub entrance: Option<SocketAddr>,
    /// Whether it is in a user namespace.
    pub rootless: bool,
    /// Megabytes of the disk that each server's state has for itself; `None`: it is on the host's.
    pub disk_mb: Option<u32>,
}

impl Record {
    pub fn read(directory: &Directory) -> anyhow::Result<Self> {
        let path = directory.record();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} was not written by this version", path.display()))
    }

    /// Readable by the owner alone: a design's environment may hold what others should not see.
    pub fn write(&self, directory: &Directory) -> anyhow::Result<()> {
        let path = directory.record();
        let text = serde_json::to_string(self).context("a record that is no JSON")?;
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
