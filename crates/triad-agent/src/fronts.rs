//! Keeping in touch with the other front servers' agents: one task for each, so that one that is slow or away holds up
//! nobody. It asks often whether the other knows the same orders, and if not, each takes over what is news to it; so one
//! that was away learns what was said when it is back.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use triad_api::{Agent, ApiError, Peer};
use triad_model::UsageNews;

use crate::api::Handle;

/// How often orders are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(2);
/// Pause after which one that does not answer is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Keeps in touch with `peer` for as long as the agent of `handle` runs.
pub(crate) async fn keep_in_touch(peer: Peer, handle: Handle) {
    loop {
        if let Err(error) = talk(&peer, &handle).await {
            tracing::debug!(%error, "out of touch with a front server");
        }
        sleep(RETRY_AFTER).await;
    }
}

async fn talk(peer: &Peer, handle: &Handle) -> Result<(), ApiError> {
    let mut link = peer.link().await?;
    let mut ticks = interval(COMPARE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let news: UsageNews = handle.news();
        if link.tell_usage(&news).await? != handle.known().number {
            let words = link.take_orders(&handle.orders()).await?;
            if let Err(why) = handle.take_orders(words).await {
                tracing::warn!(why, "what another front server was told is not taken over");
            }
        }
    }
}
