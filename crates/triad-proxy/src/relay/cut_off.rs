//! Whether the primary can be reached from here. A server that lost only its way there would hold its application's
//! connections for a failover that never comes: others hear the primary. So where heartbeats say that the way is cut, and it
//! takes no connection either, nobody is held: applications get an error while their users still wait, and the balancer,
//! who sees their answers, asks another server.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use triad_model::ServerName;

use super::{CONNECT_TIMEOUT, RETRY_EVERY, Relay, connect};
use crate::plan::RelayTarget;

/// Time after which it is tried: what is over sooner costs nobody an error. With [`CONNECT_TIMEOUT`], and the half second
/// until heartbeats count as lost, applications get their errors within 3.5 s: many give up after five.
const TRIED_AFTER: Duration = Duration::from_secs(2);

/// Time until one that took a connection is tried again: to a database, a connection without a login is somebody's mistake.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A primary to which the way is cut.
struct Suspect {
    primary: ServerName,
    target: RelayTarget,
    /// When it is tried next.
    next: Instant,
}

/// Looks for as long as the relay lives.
pub(crate) async fn watch(relay: Arc<Relay>) {
    let (mut lead, mut cut_off) = (relay.lead.subscribe(), relay.cut_off.subscribe());
    let mut suspect: Option<Suspect> = None;
    loop {
        let primary = lead.borrow_and_update().distant();
        let primary = primary.filter(|(name, _)| cut_off.borrow_and_update().contains(name));
        if primary.as_ref().map(|(name, _)| name) != suspect.as_ref().map(|suspect| &suspect.primary) {
            let next = Instant::now() + TRIED_AFTER;
            suspect = primary.map(|(primary, target)| Suspect { primary, target, next });
            set(&relay, None);
        }
        let next = suspect.as_ref().map(|suspect| suspect.next);
        tokio::select! {
            biased;
            _ = cut_off.changed() => {}
            _ = lead.changed() => {}
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if let Some(suspect) = &mut suspect {
                    let is_there = matches!(timeout(CONNECT_TIMEOUT, connect(&suspect.target)).await, Ok(Ok(_)));
                    set(&relay, Some(suspect.primary.clone()).filter(|_| !is_there));
                    suspect.next = Instant::now() + if is_there { AGAIN_AFTER } else { RETRY_EVERY };
                }
            }
        }
    }
}

fn set(relay: &Relay, lost: Option<ServerName>) {
    if relay.lead.send_if_modified(|lead| lead.lose(lost.clone())) {
        match lost {
            Some(primary) => {
                tracing::warn!(%primary, "the primary cannot be reached from here, connections are refused")
            }
            None => tracing::info!("the primary that could not be reached is back, or the primary no more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::time::sleep;
    use triad_model::DatabaseRoute;

    use super::{TRIED_AFTER, watch};
    use crate::lead::tests::{lead_to, name};
    use crate::plan::RelayTarget;
    use crate::relay::Relay;

    /// Whether somebody is out of reach, `after` the way to a primary at `target` was cut.
    async fn is_lost(target: std::net::SocketAddr, after: Duration, still: bool) -> bool {
        let relay = Arc::new(Relay::default());
        relay.lead.send_replace(lead_to(RelayTarget::Tcp(target)));
        let route = DatabaseRoute { epoch: 1, primary: Some(name("srv2")), readable: Vec::new() };
        relay.lead.send_modify(|lead| _ = lead.take(route));
        let watching = tokio::spawn(watch(relay.clone()));
        relay.cut_off.send_replace(vec![name("srv1"), name("srv2")]);
        sleep(after).await;
        if !still {
            relay.cut_off.send_replace(vec![name("srv1")]);
            sleep(Duration::from_millis(10)).await;
        }
        watching.abort();
        let holds = relay.lead.borrow().holds();
        !holds
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cut_off_and_takes_no_connection_is_lost_until_it_is_heard() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
        let tried = TRIED_AFTER + Duration::from_millis(100);
        assert!(!is_lost(nobody, TRIED_AFTER - Duration::from_millis(100), true).await, "a moment costs nothing");
        assert!(is_lost(nobody, tried, true).await);
        assert!(!is_lost(nobody, tried, false).await, "it is heard again");
        let alive = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = alive.local_addr().expect("bound");
        assert!(!is_lost(address, tried, true).await, "only its heartbeats are lost");
    }
}
