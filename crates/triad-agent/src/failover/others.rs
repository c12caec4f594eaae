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
    /// All of them at `now`, seen from the server `me`, whose own database is `own`.
    pub fn look(
        &mut self,
        me: &ServerName,
        hearts: &Hearts,
        own: Option<&Database>,
        now: Duration,
    ) -> BTreeMap<ServerName, Member> {
        let member = |peer: &ViewOfPeer| {
            let silent = match peer.presence {
                Presence::Alive => false,
                Presence::Silent { .. } => true,
                Presence::Unknown => now > EXPECTED_WITHIN,
            };
            let said = said(&peer.said);
            let stalled = self.is_stalled(&peer.server, said.database.as_ref(), own, now);
            // Who hears no heartbeat of this server receives no transaction either.
            let stalled = !silent && (stalled || said.suspects.contains(me));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use triad_cluster::{Presence, View as Hearts, ViewOfPeer};
    use triad_failover::{Database, Said};
    use triad_model::ServerName;

    use super::{CONNECTS_WITHIN, Others, RECEIVES_WITHIN};

    fn name(text: &str) -> ServerName {
        ServerName::new(text).expect("a name")
    }

    /// What srv2 says, as srv1 hears it.
    fn hearts(presence: Presence, said: &Said) -> Hearts {
        let peer = ViewOfPeer {
            server: name("srv2"),
            presence,
            heard_at: None,
            hears: Vec::new(),
            said: serde_json::to_vec(said).expect("JSON").into(),
            hears_us: true,
            received: 1,
            lost: 0,
            wants_key: false,
        };
        Hearts { peers: vec![peer], ..Hearts::default() }
    }

    fn replica(connected: bool, received: u64) -> Said {
        let database = Database::Replica {
            epoch: 1,
            receiving: true,
            connected,
            stopped_for: None,
            obeys: 1,
            acknowledges: true,
            whole: true,
            diverged: false,
            received,
            applied: received,
        };
        Said { database: Some(database), ..Said::default() }
    }

    fn primary(written: u64) -> Database {
        let barred = BTreeMap::new();
        Database::Primary { epoch: 1, written, waits: true, closed: false, barred, invited: None }
    }

    #[test]
    fn a_replica_is_stalled_that_is_not_connected_or_does_not_move_or_does_not_hear_its_primary() {
        let mut others = Others::default();
        let mut is_stalled = |said: &Said, written: u64, at: Duration| {
            let seen = others.look(&name("srv1"), &hearts(Presence::Alive, said), Some(&primary(written)), at);
            seen[&name("srv2")].stalled
        };
        let ms = Duration::from_millis(1);
        let start = Duration::from_secs(10);
        assert!(!is_stalled(&replica(true, 5), 5, start));
        assert!(!is_stalled(&replica(false, 5), 5, start + CONNECTS_WITHIN));
        assert!(is_stalled(&replica(false, 5), 5, start + CONNECTS_WITHIN + ms));
        let back = start + CONNECTS_WITHIN + 2 * ms;
        assert!(!is_stalled(&replica(true, 5), 9, back));
        assert!(!is_stalled(&replica(true, 5), 9, start + RECEIVES_WITHIN));
        assert!(!is_stalled(&replica(true, 6), 9, start + RECEIVES_WITHIN + ms), "it moves");
        assert!(is_stalled(&replica(true, 6), 9, start + 2 * RECEIVES_WITHIN + 2 * ms));
        assert!(!is_stalled(&replica(true, 9), 9, start + 2 * RECEIVES_WITHIN + 3 * ms), "it has everything");
        let deaf = Said { suspects: [name("srv1")].into(), ..replica(true, 9) };
        assert!(is_stalled(&deaf, 9, start + 2 * RECEIVES_WITHIN + 4 * ms));
    }

    #[test]
    fn who_is_silent_is_not_stalled_and_who_was_never_heard_may_be_about_to_start() {
        let mut others = Others::default();
        let mut look = |presence, at| {
            let seen = others.look(&name("srv1"), &hearts(presence, &replica(false, 1)), Some(&primary(9)), at);
            let member = &seen[&name("srv2")];
            (member.silent, member.stalled)
        };
        let second = Duration::from_secs;
        assert_eq!(look(Presence::Unknown, second(1)), (false, false));
        assert_eq!(look(Presence::Unknown, second(4)), (true, false));
        assert_eq!(look(Presence::Silent { since: second(1) }, second(99)), (true, false));
    }
}
