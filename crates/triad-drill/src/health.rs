//! Whether a lab is as it should be: before a drill, after a step of it, and at its end.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};
use triad_lab::Lab;
use triad_model::{Design, State};

use crate::judge::Evidence;
use crate::record::wait_until_whole;
use crate::run::{Site, since_ms};
use crate::scenario::{Goal, Step};

/// Pause between two looks at the lab's health.
const POLL: Duration = Duration::from_millis(100);
/// Looks in a row that must find all healthy: what has just been broken may not be known yet.
const LOOKS: u32 = 3;

/// Waits until all is healthy and every database in sync.
///
/// # Errors
/// If that is not so within `limit`.
pub(crate) async fn wait_until_ready(lab: &Lab, design: &Design, limit: Duration) -> anyhow::Result<()> {
    let from = Instant::now();
    if let Err(trouble) = all_healthy(lab, from, from + limit).await? {
        bail!("the lab is not healthy to begin with: {trouble}");
    }
    wait_until_whole(lab, design, limit.saturating_sub(from.elapsed())).await
}

/// Until when all must be healthy after `step`, if it says so.
pub(crate) fn limit(step: &Step, begins: Instant, next_ms: Option<u64>) -> Option<Instant> {
    let condition = step.conditions.iter().find(|condition| condition.goal == Goal::Healthy)?;
    let limit_ms = (step.at_ms + condition.within_ms).min(next_ms.unwrap_or(u64::MAX));
    Some(begins + Duration::from_millis(limit_ms))
}

/// Waits until all of the lab is healthy: after how many milliseconds since `from`, or what is not by `limit`.
pub(crate) async fn all_healthy(lab: &Lab, from: Instant, limit: Instant) -> anyhow::Result<Result<u64, String>> {
    let mut found_ms = Vec::new();
    loop {
        let at_ms = since_ms(from);
        let status = lab.status().await?.context("the lab is gone")?;
        if status.state() == State::Healthy {
            found_ms.push(at_ms);
        } else {
            found_ms.clear();
        }
        if found_ms.len() >= LOOKS as usize {
            return Ok(Ok(found_ms[0]));
        }
        if Instant::now() >= limit {
            let problem =
                |server: &triad_lab::ServerStatus| Some(format!("{}: {}", server.name, server.problem.as_ref()?));
            return Ok(Err(status.servers.iter().filter_map(problem).collect::<Vec<_>>().join("; ")));
        }
        sleep(POLL).await;
    }
}

/// With all faults ended, waits until everything is healthy and in sync again.
pub(crate) async fn settle(site: &Site<'_>, limit: Duration, evidence: &mut Evidence) -> anyhow::Result<()> {
    let from = Instant::now();
    evidence.trouble = match all_healthy(site.lab, from, from + limit).await? {
        Err(trouble) => Some(trouble),
        Ok(_) => {
            let left = limit.saturating_sub(from.elapsed());
            wait_until_whole(site.lab, site.design, left).await.err().map(|error| format!("{error:#}"))
        }
    };
    if evidence.trouble.is_none() {
        evidence.healthy_at_end_ms = Some(since_ms(from));
    }
    Ok(())
}
