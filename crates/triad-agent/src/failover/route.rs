//! Where connections to the database lead, by the record and by what the servers say. Pure.

use std::collections::BTreeMap;

use triad_failover::{Database, Member, Record, Said};
use triad_model::{DatabaseRoute, ServerName};

/// Transactions that a replica may have received and not applied, or lack, to be read from.
const READABLE_BEHIND_MAX: u64 = 1000;

/// Keeps to what it knows while nothing new is known.
#[derive(Debug, Default)]
pub(crate) struct Router {
    open: Option<(u64, ServerName)>,
}

/// What a route is found from.
pub(crate) struct Known<'a> {
    pub own: &'a ServerName,
    /// The newest that was read, however long ago.
    pub record: Option<&'a Record>,
    /// Whether a majority vouched for it just now.
    pub is_confirmed: bool,
    /// What this server says of itself.
    pub said: &'a Said,
    pub others: &'a BTreeMap<ServerName, Member>,
}

impl Known<'_> {
    /// What `server` said last of its database, if it is heard.
    fn heard(&self, server: &ServerName) -> Option<&Database> {
        match server == self.own {
            true => self.said.database.as_ref(),
            false => self.others.get(server)?.database(),
        }
    }

    /// Whether `server` refuses writes for a moment.
    fn holds(&self, server: &ServerName) -> bool {
        match server == self.own {
            true => self.said.holds,
            false => self.others.get(server).is_some_and(|member| !member.silent && member.said.holds),
        }
    }
}

impl Router {
    /// The route now; `None` before a record was read.
    pub fn route(&mut self, known: &Known<'_>) -> Option<DatabaseRoute> {
        let record = known.record?;
        let Record { epoch, primary, .. } = record;
        let said = known.heard(primary);
        if said.is_some_and(|said| said.is_primary_of(*epoch)) {
            self.open = Some((*epoch, primary.clone()));
        }
        let is_open = self.open.as_ref().is_some_and(|(of, open)| (of, open) == (epoch, primary))
            && said != Some(&Database::Stopped)
            && !known.holds(primary)
            && (primary != known.own || may_serve(known, record));
        let primary = is_open.then(|| primary.clone());
        Some(DatabaseRoute { epoch: *epoch, primary, readable: readable(known, record, said) })
    }
}

/// Whether this server, the primary by a record that may be old, can still be it: nobody else could take over without
/// having stopped receiving.
fn may_serve(known: &Known<'_>, record: &Record) -> bool {
    let mut replicas = record.in_sync.iter().filter(|name| *name != known.own).peekable();
    let follows = |name: &ServerName| matches!(known.heard(name), Some(Database::Replica { epoch, receiving: true, .. }) if *epoch == record.epoch);
    known.is_confirmed || replicas.peek().is_none() || replicas.any(follows)
}

/// Replicas that have nearly what the primary has.
fn readable(known: &Known<'_>, record: &Record, primary: Option<&Database>) -> Vec<ServerName> {
    let Some(Database::Primary { written, .. }) = primary else { return Vec::new() };
    let is_near = |name: &&ServerName| match known.heard(name) {
        Some(Database::Replica { epoch, connected: true, applied, diverged: false, .. }) => {
            *epoch == record.epoch && applied + READABLE_BEHIND_MAX >= *written
        }
        _ => false,
    };
    let all = std::iter::once(known.own).chain(known.others.keys());
    all.filter(is_near).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use triad_failover::{Database, Member, Record, Said};
    use triad_model::{DatabaseRoute, ServerName};

    use super::{Known, Router};

    fn name(text: &str) -> ServerName {
        ServerName::new(text).expect("a name")
    }

    fn record(epoch: u64, primary: &str, in_sync: &[&str]) -> Record {
        Record { version: epoch, epoch, primary: name(primary), in_sync: in_sync.iter().map(|it| name(it)).collect() }
    }

    fn primary(epoch: u64) -> Database {
        let barred = BTreeMap::new();
        Database::Primary { epoch, written: 5000, waits: true, closed: false, barred, invited: None }
    }

    fn replica(epoch: u64, applied: u64) -> Database {
        Database::Replica {
            epoch,
            receiving: true,
            connected: true,
            stopped_for: None,
            obeys: 1,
            acknowledges: true,
            whole: true,
            diverged: false,
            received: applied,
            applied,
        }
    }

    /// One server's view, whose own database is `own`; others are heard with theirs, or silent.
    struct Seen {
        record: Option<Record>,
        own: Said,
        others: BTreeMap<ServerName, Member>,
        is_confirmed: bool,
    }

    impl Seen {
        fn new(record: Option<Record>, own: Option<Database>, others: &[(&str, Option<Database>)]) -> Self {
            let member = |database: &Option<Database>| Member {
                silent: database.is_none(),
                stalled: false,
                said: Said { database: database.clone(), ..Said::default() },
            };
            let others = others.iter().map(|(server, database)| (name(server), member(database))).collect();
            let own = Said { database: own, ..Said::default() };
            Self { record, own, others, is_confirmed: true }
        }

        /// Where srv1 leads.
        fn route(&self, router: &mut Router) -> Option<DatabaseRoute> {
            let known = Known {
                own: &name("srv1"),
                record: self.record.as_ref(),
                is_confirmed: self.is_confirmed,
                said: &self.own,
                others: &self.others,
            };
            router.route(&known)
        }
    }

    fn to(epoch: u64, primary: Option<&str>, readable: &[&str]) -> Option<DatabaseRoute> {
        let readable = readable.iter().map(|it| name(it)).collect();
        Some(DatabaseRoute { epoch, primary: primary.map(name), readable })
    }

    #[test]
    fn to_the_primary_once_it_says_that_it_takes_writes() {
        let mut router = Router::default();
        let both = ["srv2", "srv3"];
        assert_eq!(Seen::new(None, None, &[]).route(&mut router), None);
        let before = Seen::new(Some(record(1, "srv3", &both)), None, &[("srv2", None), ("srv3", Some(replica(0, 1)))]);
        assert_eq!(before.route(&mut router), to(1, None, &[]));
        let others = [("srv2", Some(replica(1, 4999))), ("srv3", Some(primary(1)))];
        let open = Seen::new(Some(record(1, "srv3", &both)), None, &others);
        assert_eq!(open.route(&mut router), to(1, Some("srv3"), &["srv2"]));
        // Who falls silent is not left: only another epoch, or its own word, says that it is no primary.
        let silent = Seen::new(Some(record(1, "srv3", &both)), None, &[("srv2", Some(replica(1, 1))), ("srv3", None)]);
        assert_eq!(silent.route(&mut router), to(1, Some("srv3"), &[]));
        let stopped = Seen::new(Some(record(1, "srv3", &both)), None, &[("srv3", Some(Database::Stopped))]);
        assert_eq!(stopped.route(&mut router), to(1, None, &[]));
        let next = Seen::new(Some(record(2, "srv2", &["srv2"])), None, &[("srv2", Some(replica(1, 1)))]);
        assert_eq!(next.route(&mut router), to(2, None, &[]));
        let taken = Seen::new(Some(record(2, "srv2", &["srv2"])), None, &[("srv2", Some(primary(2)))]);
        assert_eq!(taken.route(&mut router), to(2, Some("srv2"), &[]));
    }

    #[test]
    fn an_isolated_primary_leads_nobody_to_itself() {
        let mut router = Router::default();
        let both = ["srv1", "srv2"];
        let mut seen = Seen::new(Some(record(4, "srv1", &both)), Some(primary(4)), &[("srv2", Some(replica(4, 5000)))]);
        assert_eq!(seen.route(&mut router), to(4, Some("srv1"), &["srv2"]));
        seen.is_confirmed = false;
        assert_eq!(seen.route(&mut router), to(4, Some("srv1"), &["srv2"]), "the replica cannot have taken over");
        let mut seen = Seen::new(Some(record(4, "srv1", &both)), Some(primary(4)), &[("srv2", None)]);
        assert_eq!(seen.route(&mut router), to(4, Some("srv1"), &[]), "a majority says so");
        seen.is_confirmed = false;
        assert_eq!(seen.route(&mut router), to(4, None, &[]));
        let mut alone = Seen::new(Some(record(5, "srv1", &["srv1"])), Some(primary(5)), &[("srv2", None)]);
        alone.is_confirmed = false;
        assert_eq!(alone.route(&mut router), to(5, Some("srv1"), &[]), "nobody else can take over");
    }

    #[test]
    fn a_replica_that_is_far_behind_is_not_read_from() {
        let others = [("srv2", Some(replica(1, 3999))), ("srv3", Some(primary(1))), ("srv4", Some(replica(1, 4000)))];
        let seen = Seen::new(Some(record(1, "srv3", &["srv3"])), Some(replica(1, 5000)), &others);
        assert_eq!(seen.route(&mut Router::default()), to(1, Some("srv3"), &["srv1", "srv4"]));
    }
}
