//! A replica without data gets a copy of the running primary's, beside everything else that goes on.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use futures_util::TryStreamExt;
use http_body_util::BodyExt;
use tokio::task::JoinHandle;
use tokio_util::io::StreamReader;
use triad_api::Peer;
use triad_database::DatabasePlan;
use triad_failover::{Database, Record};

use super::node::Node;

/// Time between two tries.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// At most one copy at a time.
#[derive(Default)]
pub(crate) struct Seeding {
    task: Option<JoinHandle<()>>,
    said: Rc<RefCell<String>>,
    again_at: Duration,
}

impl Seeding {
    /// How far it is, while it runs.
    pub fn progress(&self) -> Option<String> {
        self.task.as_ref().filter(|task| !task.is_finished())?;
        Some(self.said.borrow().clone())
    }

    /// Starts `node`'s database as a replica, with data of the primary's if it has none. Whether that was done.
    pub async fn rejoin(
        &mut self,
        node: &mut Node,
        record: &Record,
        primary: Option<&Database>,
        now: Duration,
    ) -> anyhow::Result<bool> {
        if self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(false);
        }
        if !triad_database::is_without_data(&node.plan)? {
            return node.rejoin(now);
        }
        let is_open = primary.is_some_and(|primary| primary.is_primary_of(record.epoch));
        if !is_open || now < self.again_at {
            return Ok(false);
        }
        self.again_at = now + AGAIN_AFTER;
        triad_database::prepare_folders(&node.plan)?;
        let peer = node.peers.get(&record.primary).context("the primary's agent is not in the file")?.clone();
        let (plan, said, name) = (node.plan.clone(), self.said.clone(), record.primary.clone());
        *said.borrow_mut() = format!("copying {name}'s data");
        self.task = Some(tokio::task::spawn_local(async move {
            let tell =
                |bytes: u64| *said.borrow_mut() = format!("copying {name}'s data, {} MB so far", bytes / 1_000_000);
            match copy(&plan, &peer, tell).await {
                Ok(()) => tracing::info!(primary = name.as_str(), "seeded"),
                Err(error) => tracing::warn!("{name}'s data could not be copied: {error:#}"),
            }
        }));
        Ok(false)
    }
}

async fn copy(plan: &DatabasePlan, peer: &Peer, tell: impl Fn(u64)) -> anyhow::Result<()> {
    let stream = peer.backup().await?.into_data_stream().map_err(std::io::Error::other);
    triad_database::seed(plan, StreamReader::new(stream), tell).await?;
    Ok(())
}
