//! Keeping in touch with the other front servers' agents: what clients used here goes to each of them, and each is often
//! asked whether it knows the same orders; if not, both take over what is news to them, so one that was away learns what
//! was said when it is back.
//!
//! One task for each, with a connection that is kept: one that is slow or away holds up nobody. When it is back it is told
//! what still matters of what it missed: news no older than [`NEWS_AGE_MAX`], and of those the last [`NEWS_MAX`].

use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use triad_api::{Agent, ApiError, Peer};
use triad_model::{Noticed, UsageNews};

use crate::api::Handle;
use crate::orders::now_ms;

/// How often orders are compared, if nothing is said meanwhile.
const COMPARE_EVERY: Duration = Duration::from_secs(2);
/// Pause after which one that does not answer is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Age of news that are told no more. An edge puts at most ten seconds to a client's debit beyond its credit, so what is
/// older has been paid back.
const NEWS_AGE_MAX: Duration = Duration::from_secs(10);
/// News that wait for one that is slow or away: an edge is asked four times a second, and has something to tell each time
/// at most.
const NEWS_MAX: usize = 64;

/// Keeps in touch with `peers` for as long as the agent of `handle` runs, and tells them what its edge `noticed`.
pub(crate) fn start(handle: &Handle, peers: impl Iterator<Item = Peer>, noticed: broadcast::Receiver<Noticed>) {
    let news = broadcast::Sender::new(NEWS_MAX);
    for peer in peers {
        let untold = Untold { news: news.subscribe(), first: None };
        tokio::task::spawn_local(keep_in_touch(peer, handle.clone(), untold));
    }
    tokio::task::spawn_local(pass_on(handle.clone(), noticed, news));
}

/// Makes news of what the edge notices. What comes from there is typed and bounded, and still believed only as far as
/// it can be.
async fn pass_on(handle: Handle, mut noticed: broadcast::Receiver<Noticed>, news: broadcast::Sender<Dated>) {
    let started_ms = now_ms();
    let mut number = 0;
    loop {
        let Noticed { used, held, offenders, site } = match noticed.recv().await {
            Ok(noticed) => noticed,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if !offenders.is_empty() {
            handle.ban_offenders(&offenders).await;
        }
        let from = handle.server().clone();
        let this = UsageNews { from, started_ms, number: number + 1, used, held, site }.believable();
        if !this.is_empty() {
            number += 1;
            // Without other front servers there is nobody to tell.
            let _ = news.send((Instant::now(), this));
        }
    }
}

/// News, and when it was.
type Dated = (Instant, UsageNews);

/// What one of the others was not told yet.
struct Untold {
    news: broadcast::Receiver<Dated>,
    /// Which comes before those.
    first: Option<Dated>,
}

impl Untold {
    /// Waits for the next that matters, which stays the next until it [`was_told`](Self::was_told); `None` when nothing
    /// more comes. Who stops waiting loses nothing.
    async fn next(&mut self) -> Option<&UsageNews> {
        while self.first.take_if(|(since, _)| since.elapsed() > NEWS_AGE_MAX).is_some() || self.first.is_none() {
            match self.news.recv().await {
                Ok(news) => self.first = Some(news),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
        self.first.as_ref().map(|(_, news)| news)
    }

    fn was_told(&mut self) {
        self.first = None;
    }
}

async fn keep_in_touch(peer: Peer, handle: Handle, mut untold: Untold) {
    while let Err(error) = talk(&peer, &handle, &mut untold).await {
        tracing::debug!(%error, "out of touch with a front server");
        sleep(RETRY_AFTER).await;
    }
}

/// Talks to `peer` for as long as it answers, or until nothing more can be told.
async fn talk(peer: &Peer, handle: &Handle, untold: &mut Untold) -> Result<(), ApiError> {
    let mut link = peer.link().await?;
    let mut known = handle.watch_known();
    let mut ticks = interval(COMPARE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let nothing = UsageNews::nothing(handle.server().clone());
    loop {
        let news = tokio::select! {
            _ = ticks.tick() => &nothing,
            _ = known.changed() => &nothing,
            news = untold.next() => match news {
                Some(news) => news,
                None => return Ok(()),
            },
        };
        let number = link.tell_usage(news).await?;
        if !news.is_empty() {
            untold.was_told();
        }
        if number != handle.known().number {
            let words = link.take_orders(&handle.orders()).await?;
            if let Err(why) = handle.take_orders(words).await {
                tracing::warn!(why, "what another front server was told is not taken over");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::broadcast;
    use tokio::time::{Instant, advance, timeout};
    use triad_model::{ServerName, UsageNews};

    use super::{NEWS_AGE_MAX, NEWS_MAX, Untold};

    fn tell(news: &broadcast::Sender<super::Dated>, number: u64) {
        let from = ServerName::new("lb1").expect("a name");
        let news = news.send((Instant::now(), UsageNews { started_ms: 1, number, ..UsageNews::nothing(from) }));
        assert!(news.is_ok(), "somebody listens");
    }

    /// Numbers of what is next, up to a pause.
    async fn told(untold: &mut Untold) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Ok(Some(news)) = timeout(Duration::from_millis(1), untold.next()).await {
            numbers.push(news.number);
            untold.was_told();
        }
        numbers
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_away_is_told_what_still_matters() {
        let news = broadcast::Sender::new(NEWS_MAX);
        let mut untold = Untold { news: news.subscribe(), first: None };
        tell(&news, 1);
        for _ in 0..2 {
            assert_eq!(untold.next().await.map(|news| news.number), Some(1), "as long as it was not told");
        }
        tell(&news, 2);
        assert_eq!(told(&mut untold).await, [1, 2]);
        [3, 4].into_iter().for_each(|number| tell(&news, number));
        assert_eq!(untold.next().await.map(|news| news.number), Some(3));
        advance(NEWS_AGE_MAX / 2).await;
        tell(&news, 5);
        advance(NEWS_AGE_MAX / 2 + Duration::from_millis(1)).await;
        assert_eq!(told(&mut untold).await, [5]);
        (10..200).for_each(|number| tell(&news, number));
        assert_eq!(told(&mut untold).await, Vec::from_iter(200 - NEWS_MAX as u64..200));
        drop(news);
        assert_eq!(untold.next().await, None);
    }
}
