//! One key, watched: reads at intervals are the truth, and what is heard between them makes it early.

use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::{CONFIRM_EVERY, Coordination, Seen, Versioned};

/// Reads are `every` apart, and sooner while they fail.
pub(super) fn start(home: Coordination, key: String, every: Duration) -> watch::Receiver<Seen> {
    let (seen, receiver) = watch::channel(Seen::default());
    tokio::spawn(async move {
        let news = Notify::new();
        tokio::select! {
            () = seen.closed() => {}
            () = confirm(&home, &key, every, &seen, &news) => {}
            () = home.follow(&key, &seen, &news) => {}
        }
    });
    receiver
}

/// Reads again and again, at once when there may be news.
async fn confirm(home: &Coordination, key: &str, every: Duration, seen: &watch::Sender<Seen>, news: &Notify) {
    let mut answers = true;
    loop {
        let begun = Instant::now();
        let before = seen.borrow().value.clone();
        let read = home.get(key).await;
        if read.is_ok() != answers {
            answers = read.is_ok();
            match &read {
                Ok(_) => tracing::info!(key, "what is agreed upon can be read again"),
                Err(error) => tracing::warn!(key, %error, "what is agreed upon cannot be read"),
            }
        }
        if let Ok(value) = read {
            seen.send_modify(|seen| {
                // What was heard meanwhile may be newer than the answer.
                if seen.value == before || is_newer(value.as_ref(), seen.value.as_ref()) {
                    seen.value = value;
                }
                seen.confirmed = Some(begun);
            });
        }
        let wait = if answers { every } else { every.min(CONFIRM_EVERY) }.saturating_sub(begun.elapsed());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = news.notified() => {}
        }
    }
}

/// Shows what was heard, unless something newer is shown.
pub(super) fn heard(seen: &watch::Sender<Seen>, value: Versioned) {
    seen.send_if_modified(|seen| {
        let is_news = is_newer(Some(&value), seen.value.as_ref());
        if is_news {
            seen.value = Some(value);
        }
        is_news
    });
}

fn is_newer(value: Option<&Versioned>, than: Option<&Versioned>) -> bool {
    value.map(|value| value.revision) > than.map(|than| than.revision)
}
