//! Keeping in touch with the other front servers' agents: what clients used here goes to each of them, and each is often
//! asked whether it knows the same orders; if not, both take over what is news to them, so one that was away learns what
//! was said when it is back.
//!
//! One task for each, with a connection that is kept: one that is slow or away holds up nobody, and misses what is older
//! than the last [`NEWS_MAX`] news.

use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{MissedTickBehavior, interval, sleep};
use triad_api::{Agent, ApiError, Peer};
use triad_model::{Noticed, UsageNews, believable};

use crate::api::Handle;
use crate::orders::now_ms;

/// How often orders are compared, if nothing is said meanwhile.
const COMPARE_EVERY: Duration = Duration::from_secs(2);
/// Pause after which one that does not answer is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// News that wait for one that is slow: those of a second.
const NEWS_MAX: usize = 4;

/// Keeps in touch with `peers` for as long as the agent of `handle` runs, and tells them what its edge `noticed`.
pub(crate) fn start(handle: &Handle, peers: impl Iterator<Item = Peer>, noticed: broadcast::Receiver<Noticed>) {
    let news = broadcast::Sender::new(NEWS_MAX);
    for peer in peers {
        tokio::task::spawn_local(keep_in_touch(peer, handle.clone(), news.subscribe()));
    }
    tokio::task::spawn_local(pass_on(handle.clone(), noticed, news));
}

/// Makes news of what the edge notices. What comes from there is typed and bounded, and still believed only as far as
/// it can be.
async fn pass_on(handle: Handle, mut noticed: broadcast::Receiver<Noticed>, news: broadcast::Sender<UsageNews>) {
    let started_ms = now_ms();
    let mut number = 0;
    loop {
        let Noticed { used, offenders } = match noticed.recv().await {
            Ok(noticed) => noticed,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if !offenders.is_empty() {
            handle.ban_offenders(&offenders).await;
        }
        let used = believable(used);
        if !used.is_empty() {
            number += 1;
            // Without other front servers there is nobody to tell.
            let _ = news.send(UsageNews { from: handle.server().clone(), started_ms, number, used });
        }
    }
}

async fn keep_in_touch(peer: Peer, handle: Handle, news: broadcast::Receiver<UsageNews>) {
    loop {
        // What happened while it was away does not matter any more.
        if let Err(error) = talk(&peer, &handle, news.resubscribe()).await {
            tracing::debug!(%error, "out of touch with a front server");
        }
        sleep(RETRY_AFTER).await;
    }
}

async fn talk(peer: &Peer, handle: &Handle, mut news: broadcast::Receiver<UsageNews>) -> Result<(), ApiError> {
    let mut link = peer.link().await?;
    let mut known = handle.watch_known();
    let mut ticks = interval(COMPARE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let told = tokio::select! {
            _ = ticks.tick() => None,
            _ = known.changed() => None,
            told = news.recv() => match told {
                Ok(told) => Some(told),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return Ok(()),
            },
        };
        let nothing = || UsageNews { from: handle.server().clone(), started_ms: 0, number: 0, used: Vec::new() };
        if link.tell_usage(&told.unwrap_or_else(nothing)).await? != handle.known().number {
            let words = link.take_orders(&handle.orders()).await?;
            if let Err(why) = handle.take_orders(words).await {
                tracing::warn!(why, "what another front server was told is not taken over");
            }
        }
    }
}
