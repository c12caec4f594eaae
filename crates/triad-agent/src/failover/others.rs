//! What the other servers say, as their heartbeats bring it, and for how long something has not been as it should.

use std::collections::BTreeMap;
use std::time::Duration;

use triad_cluster::{Presence, View as Hearts, ViewOfPeer};
use triad_failover::{Database, Member, Position, Said};
use triad_model::ServerName;

/// Time after this agent's start in which a server that was never heard may still be about to start as well.
const EXPECTED_WITHIN: Duration = Duration::from_secs(3);
/// Time a replica may be without a connection to its primary, though both live.
const CONNECTS_WITHIN: Duration = Duration::from_secs(3);
/// Time in which a replica that is behind receives at least one transaction, even one of gigabytes.
const RECEIVES_WITHIN: Duration = Duration::from_secs(15);

/// The other servers with a voice.
#[derive(Debug, Default)]
pub(crate) struct Others {
    replicas: BTreeMap<ServerName, Progress>,
}

/// How long a replica has not been seen to receive.
#[derive(Debug)]
struct Progress {
    received: Position,
    moved_at: Duration,
    connected_at: Duration,
}

impl Others {
    /// All of them at `now`, seen from a server whose own database is `own`.
    pub fn look(&mut self, hearts: &Hearts, own: Option<&Database>, now: Duration) -> BTreeMap<ServerName, Member> {
        let member = |peer: &ViewOfPeer| {
            let silent = match peer.presence {
                Presence::Alive => false,
                Presence::Silent { .. } => true,
                Presence::Unknown => now > EXPECTED_WITHIN,
            };
            let said = said(&peer.said);
            let stalled = !silent && self.is_stalled(&peer.server, said.database.as_ref(), own, now);
            (peer.server.clone(), Member { silent, stalled, said })
        };
        hearts.peers.iter().map(member).collect()
    }

    fn is_stalled(
        &mut self,
        server: &ServerName,
        database: Option<&Database>,
        own: Option<&Database>,
        now: Duration,
    ) -> bool {
        let (
            Some(Database::Primary { epoch, written, .. }),
            Some(Database::Replica { epoch: of, connected, received, .. }),
        ) = (own, database)
        else {
            self.replicas.remove(server);
            return false;
        };
        if epoch != of {
            self.replicas.remove(server);
            return false;
        }
        let new = || Progress { received: *received, moved_at: now, connected_at: now };
        let progress = self.replicas.entry(server.clone()).or_insert_with(new);
        if progress.received != *received || received >= written {
            (progress.received, progress.moved_at) = (*received, now);
        }
        if *connected {
            progress.connected_at = now;
        }
        now > progress.connected_at + CONNECTS_WITHIN || now > progress.moved_at + RECEIVES_WITHIN
    }
}

/// What is said with a heartbeat; nothing, if it cannot be understood.
fn said(payload: &[u8]) -> Said {
    serde_json::from_slice(payload).unwrap_or_default()
}

/// The same, less what changes with every transaction.
pub(crate) fn without_positions(said: &Said) -> Said {
    let mut said = said.clone();
    match &mut said.database {
        Some(Database::Primary { written, .. }) => *written = 0,
        Some(Database::Replica { received, applied, .. }) => (*received, *applied) = (0, 0),
        Some(Database::Stopped) | None => {}
    }
    said
}
