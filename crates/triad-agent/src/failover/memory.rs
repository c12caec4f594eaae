//! What an agent remembers of its database for as long as mariadbd runs, and what it tells the others of it. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use triad_database::Standing;
use triad_failover::{Database, Invitation, Position, Record};
use triad_model::ServerName;

/// Time after which what a primary says of its log is newer than the connection that a replica has to it: beats may
/// overtake each other's news, but not by this.
const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// One run of mariadbd.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Memory {
    /// It does not run.
    #[default]
    Stopped,
    /// It takes writes.
    Primary(Primary),
    /// It follows, or is about to.
    Replica(Replica),
}

/// A run in which it takes writes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Primary {
    pub epoch: u64,
    pub barred: BTreeMap<ServerName, Position>,
    pub invited: Option<Invitation>,
}

/// A run in which it does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Replica {
    /// 0 before it followed anybody.
    pub epoch: u64,
    pub stopped_for: Option<u64>,
    pub obeys: u64,
    pub whole: bool,
    /// What it must have to be whole.
    must_have: Option<Position>,
    /// Since when it has a connection.
    connected_since: Option<Duration>,
}

impl Replica {
    /// It follows the primary of `epoch` from now on.
    pub fn follows(&mut self, epoch: u64) {
        (self.epoch, self.stopped_for, self.must_have, self.connected_since) = (epoch, None, None, None);
    }

    /// Takes in how it stands at `now`, and what the primary of the record said of its log.
    pub fn learn(&mut self, standing: &Standing, primary: Option<&Database>, now: Duration) {
        self.connected_since = standing.is_connected().then(|| self.connected_since.unwrap_or(now));
        let is_settled = self.connected_since.is_some_and(|since| now >= since + SETTLED_AFTER);
        if let Some(Database::Primary { epoch, written, .. }) = primary
            && *epoch == self.epoch
            && is_settled
        {
            self.must_have.get_or_insert(*written);
        }
        self.whole |= self.must_have.is_some_and(|must_have| standing.received >= must_have);
    }
}

impl Memory {
    /// What the others are told, if its database answers as `standing`.
    pub fn said(&self, standing: Option<&Standing>) -> Database {
        let Some(standing) = standing else { return Database::Stopped };
        match self {
            Memory::Stopped => Database::Stopped,
            Memory::Primary(Primary { epoch, barred, invited, .. }) => Database::Primary {
                epoch: *epoch,
                written: standing.logged,
                waits: standing.waits,
                closed: standing.read_only,
                barred: barred.clone(),
                invited: invited.clone(),
            },
            Memory::Replica(replica) => Database::Replica {
                epoch: replica.epoch,
                receiving: standing.is_receiving(),
                connected: standing.is_connected(),
                stopped_for: replica.stopped_for,
                obeys: replica.obeys,
                acknowledges: standing.acknowledges,
                whole: replica.whole,
                diverged: standing.divergence().is_some(),
                received: standing.received,
                applied: standing.applied,
            },
        }
    }
}

/// Whether a replica of `record` acknowledges: if the record names it, or a primary that is alone by this very record
/// invites it.
pub(crate) fn must_acknowledge(record: &Record, own: &ServerName, primary: Option<&Database>) -> bool {
    let is_invited = match primary {
        Some(Database::Primary { epoch, invited: Some(Invitation { replica, version, .. }), .. }) => {
            *epoch == record.epoch && replica == own && *version == record.version
        }
        _ => false,
    };
    record.primary != *own && (is_invited || record.in_sync.contains(own))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use triad_database::{Receiver, Replication, Standing};
    use triad_failover::{Database, Invitation, Record};
    use triad_model::ServerName;

    use super::{Memory, Replica, SETTLED_AFTER, must_acknowledge};

    fn name(text: &str) -> ServerName {
        ServerName::new(text).expect("a name")
    }

    fn standing(receiver: Receiver, received: u64) -> Standing {
        let replication = Replication {
            host: "10.0.0.1".into(),
            port: 3306,
            user: "triad_replication".into(),
            using_gtid: "Slave_Pos".into(),
            receiver,
            applier: true,
            lag_s: Some(0),
            received: String::new(),
            receiver_error: (0, String::new()),
            applier_error: (0, String::new()),
        };
        Standing {
            read_only: true,
            logged: received,
            applied: received,
            received,
            waits: false,
            acknowledges: true,
            replication: Some(replication),
        }
    }

    fn primary(epoch: u64, written: u64, invited: Option<Invitation>) -> Database {
        Database::Primary { epoch, written, waits: true, closed: false, barred: BTreeMap::new(), invited }
    }

    #[test]
    fn a_replica_is_whole_when_it_has_what_its_primary_had_after_it_connected() {
        let second = Duration::from_secs;
        let mut replica = Replica::default();
        replica.follows(3);
        // What was said before the connection settled may be older than what it acknowledged once.
        replica.learn(&standing(Receiver::Running, 50), Some(&primary(3, 40, None)), second(1));
        assert!(!replica.whole);
        let settled = second(1) + SETTLED_AFTER;
        replica.learn(&standing(Receiver::Running, 50), Some(&primary(2, 50, None)), settled);
        replica.learn(&standing(Receiver::Running, 50), None, settled);
        assert!(!replica.whole, "nobody of this epoch said anything");
        replica.learn(&standing(Receiver::Running, 50), Some(&primary(3, 60, None)), settled);
        assert!(!replica.whole, "it lacks ten");
        replica.learn(&standing(Receiver::Connecting, 59), Some(&primary(3, 90, None)), second(9));
        assert!(!replica.whole);
        replica.learn(&standing(Receiver::Running, 60), Some(&primary(3, 99, None)), second(10));
        assert!(replica.whole, "as much as was there when it connected is enough");
        replica.follows(4);
        assert!(replica.whole, "it has lost nothing");
    }

    #[test]
    fn a_database_that_does_not_answer_is_stopped_whatever_is_remembered() {
        let memory = Memory::Replica(Replica::default());
        assert_eq!(memory.said(None), Database::Stopped);
        assert_eq!(Memory::Stopped.said(Some(&standing(Receiver::Stopped, 1))), Database::Stopped);
        let said = memory.said(Some(&standing(Receiver::Connecting, 7)));
        assert!(
            matches!(said, Database::Replica { epoch: 0, receiving: true, connected: false, received: 7, .. }),
            "{said:?}"
        );
    }

    #[test]
    fn who_acknowledges_is_in_the_record_or_invited_under_this_very_version() {
        let record = |in_sync: &[&str]| Record {
            version: 9,
            epoch: 3,
            primary: name("srv1"),
            in_sync: in_sync.iter().map(|it| name(it)).collect::<BTreeSet<_>>(),
        };
        let invited = |version| {
            let invitation = Invitation { replica: name("srv2"), version, mark: 0 };
            primary(3, 0, Some(invitation))
        };
        let srv2 = name("srv2");
        assert!(must_acknowledge(&record(&["srv1", "srv2"]), &srv2, None));
        assert!(!must_acknowledge(&record(&["srv1"]), &srv2, Some(&primary(3, 0, None))));
        assert!(must_acknowledge(&record(&["srv1"]), &srv2, Some(&invited(9))));
        assert!(!must_acknowledge(&record(&["srv1"]), &srv2, Some(&invited(8))));
        assert!(!must_acknowledge(&record(&["srv1"]), &name("srv3"), Some(&invited(9))));
        assert!(!must_acknowledge(&record(&["srv1", "srv2"]), &name("srv1"), None), "the primary itself");
    }
}
