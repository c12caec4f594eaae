//! Where the relay leads: to the primary that the file names, until somebody says who is the primary.

use triad_model::{DatabaseRoute, ServerName};

use crate::plan::{DatabaseWays, EdgePlan, RelayTarget};
use crate::ways::DatabaseAccount;

/// What a relayed connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Anything: it needs the primary.
    Write,
    /// Reading: a replica will do.
    Read,
}

/// What the plan and the last route say.
#[derive(Debug, Default)]
pub(crate) struct Lead {
    /// Where the plan leads.
    fallback: Option<RelayTarget>,
    ways: DatabaseWays,
    route: Option<DatabaseRoute>,
    /// The primary with whom connections may stay. The route's, but within an epoch it stays when the route's is gone.
    reigning: Option<ServerName>,
    /// Grows whenever another one reigns, so that nobody stays who missed that: it may be the same one again.
    reign: u64,
    /// A primary that cannot be reached from here.
    lost: Option<ServerName>,
}

/// What a connection was made under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tie {
    pub purpose: Purpose,
    pub target: RelayTarget,
    reign: u64,
}

impl Lead {
    /// Works from `plan` from now on.
    pub fn set_plan(&mut self, plan: &EdgePlan) {
        self.fallback = plan.relay.clone();
        self.ways = plan.database.clone();
        if self.route.is_none() {
            self.reigning = self.fallback.as_ref().and_then(|target| self.ways.whose(target)).cloned();
        }
    }

    /// Takes up `route`, unless it is old or says nothing new. Returns whether it did.
    pub fn take(&mut self, route: DatabaseRoute) -> bool {
        let known = self.route.as_ref();
        if known.is_some_and(|known| route.epoch < known.epoch || route == *known) {
            return false;
        }
        let is_same_epoch = known.is_some_and(|known| route.epoch == known.epoch);
        let stays = route.primary.is_none() && is_same_epoch;
        if !stays && route.primary != self.reigning {
            self.reigning = route.primary.clone();
            self.reign += 1;
        }
        self.route = Some(route);
        true
    }

    /// The primary, if it is on another server: its name and where it is.
    pub fn distant(&self) -> Option<(ServerName, RelayTarget)> {
        let primary = self.route.as_ref()?.primary.as_ref()?;
        let target = self.ways.servers.get(primary).filter(|target| matches!(target, RelayTarget::Tcp(_)))?;
        Some((primary.clone(), target.clone()))
    }

    /// Takes up which primary cannot be reached from here. Returns whether that is news.
    pub fn lose(&mut self, lost: Option<ServerName>) -> bool {
        let is_news = self.lost != lost;
        self.lost = lost;
        is_news
    }

    /// Whether the primary cannot be reached from here, though nobody says that it is one no more.
    fn is_lost(&self) -> bool {
        let primary = self.route.as_ref().and_then(|route| route.primary.as_ref());
        self.lost.is_some() && self.lost.as_ref() == primary
    }

    /// Whether a connection that nobody takes waits for one who does.
    pub fn holds(&self) -> bool {
        !self.ways.servers.is_empty() && (self.ways.held || self.route.is_some()) && !self.is_lost()
    }

    /// Whose connections are carried over.
    pub fn account(&self) -> Option<&DatabaseAccount> {
        self.ways.account.as_ref()
    }

    /// Whether nobody takes statements for a moment.
    pub fn waits(&self, tie: &Tie) -> bool {
        self.route.is_some() && self.choices(tie.purpose, 0).is_empty()
    }

    /// Whom to ask, the best first. Readers have their own server's database if they may, and else take turns.
    pub fn choices(&self, purpose: Purpose, turn: usize) -> Vec<Tie> {
        let tie = |target: &RelayTarget| Tie { purpose, target: target.clone(), reign: self.reign };
        let Some(route) = &self.route else {
            return self.fallback.iter().filter(|_| !self.ways.held).map(tie).collect();
        };
        let mut targets = match purpose {
            Purpose::Write => Vec::new(),
            Purpose::Read => self.readable(route),
        };
        if !targets.is_empty() {
            let length = targets.len();
            targets.rotate_left(turn % length);
            targets.sort_by_key(|target| !matches!(target, RelayTarget::Unix(_)));
        }
        let primary = route.primary.as_ref().filter(|_| !self.is_lost());
        targets.extend(primary.and_then(|primary| self.ways.servers.get(primary)));
        targets.into_iter().map(tie).collect()
    }

    /// Whether a connection may go on.
    pub fn keeps(&self, tie: &Tie) -> bool {
        let Some(route) = &self.route else { return true };
        let primary = self.reigning.as_ref().and_then(|name| self.ways.servers.get(name));
        let is_with_primary = primary == Some(&tie.target) && !self.is_lost();
        match tie.purpose {
            Purpose::Write => is_with_primary && tie.reign == self.reign,
            Purpose::Read => is_with_primary || self.readable(route).contains(&&tie.target),
        }
    }

    fn readable(&self, route: &DatabaseRoute) -> Vec<&RelayTarget> {
        route.readable.iter().filter_map(|name| self.ways.servers.get(name)).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use triad_model::{DatabaseRoute, ServerName};

    use super::{Lead, Purpose, Tie};
    use crate::plan::{DatabaseWays, RelayTarget};

    const NAMES: [&str; 3] = ["srv1", "srv2", "srv3"];

    pub fn name(name: &str) -> ServerName {
        ServerName::new(name).expect("a name")
    }

    /// The file says that srv2 is the primary, and it is there.
    pub fn lead_to(srv2: RelayTarget) -> Lead {
        let mut lead = lead(true);
        lead.ways.servers.insert(name("srv2"), srv2);
        lead
    }

    /// srv1 is this server.
    fn target(of: &str) -> RelayTarget {
        match of {
            "srv1" => RelayTarget::Unix("/run/socket".into()),
            _ => RelayTarget::Tcp(format!("10.77.0.{}:3306", &of[3..]).parse().expect("an address")),
        }
    }

    /// The file says that srv2 is the primary.
    pub fn lead(held: bool) -> Lead {
        let servers: BTreeMap<_, _> = NAMES.iter().map(|it| (name(it), target(it))).collect();
        let ways = DatabaseWays { servers, held, account: None };
        Lead { fallback: Some(target("srv2")), ways, reigning: Some(name("srv2")), ..Lead::default() }
    }

    fn route(epoch: u64, primary: Option<&str>, readable: &[&str]) -> DatabaseRoute {
        DatabaseRoute { epoch, primary: primary.map(name), readable: readable.iter().map(|it| name(it)).collect() }
    }

    fn targets(lead: &Lead, purpose: Purpose, turn: usize) -> Vec<RelayTarget> {
        lead.choices(purpose, turn).into_iter().map(|tie| tie.target).collect()
    }

    fn writer(lead: &Lead) -> Tie {
        lead.choices(Purpose::Write, 0).remove(0)
    }

    #[test]
    fn the_file_leads_until_somebody_says_more() {
        let mut lead = lead(false);
        let first = writer(&lead);
        assert_eq!((&first.target, lead.holds()), (&target("srv2"), false));
        assert_eq!(targets(&lead, Purpose::Read, 1), [target("srv2")]);
        assert!(lead.take(route(3, Some("srv2"), &[])));
        assert!(lead.keeps(&first), "it is the same one");
        assert!(lead.take(route(4, Some("srv3"), &[])) && lead.holds());
        assert!(!lead.keeps(&first));
        assert_eq!(targets(&lead, Purpose::Write, 0), [target("srv3")]);

        let held = self::lead(true);
        assert!(
            held.holds() && held.choices(Purpose::Write, 0).is_empty() && held.choices(Purpose::Read, 0).is_empty()
        );
    }

    #[test]
    fn readers_have_their_own_server_then_take_turns_then_the_primary() {
        let mut lead = lead(false);
        lead.take(route(1, Some("srv3"), &["srv2", "srv1"]));
        assert_eq!(targets(&lead, Purpose::Read, 0), [target("srv1"), target("srv2"), target("srv3")]);
        lead.take(route(2, Some("srv1"), &["srv2", "srv3"]));
        assert_eq!(targets(&lead, Purpose::Read, 0), [target("srv2"), target("srv3"), target("srv1")]);
        assert_eq!(targets(&lead, Purpose::Read, 1), [target("srv3"), target("srv2"), target("srv1")]);
        let reader = lead.choices(Purpose::Read, 1).remove(0);
        lead.take(route(3, None, &["srv3"]));
        assert!(lead.keeps(&reader));
        assert_eq!(targets(&lead, Purpose::Read, 0), [target("srv3")], "reading goes on while nobody takes writes");
        lead.take(route(3, None, &["srv2"]));
        assert!(!lead.keeps(&reader));
    }

    #[test]
    fn nobody_takes_writes_for_a_moment() {
        let mut lead = lead(false);
        lead.take(route(1, Some("srv2"), &[]));
        let first = writer(&lead);
        lead.take(route(1, None, &[]));
        assert!(lead.keeps(&first) && lead.choices(Purpose::Write, 0).is_empty(), "held, and nobody is cut");
        lead.take(route(1, Some("srv2"), &[]));
        assert!(lead.keeps(&first));
        lead.take(route(2, None, &[]));
        assert!(!lead.keeps(&first));
        lead.take(route(3, Some("srv2"), &[]));
        assert!(!lead.keeps(&first), "it was told to others meanwhile");
        assert!(lead.keeps(&writer(&lead)));
    }

    #[test]
    fn a_primary_that_cannot_be_reached_is_waited_for_by_nobody() {
        let mut lead = lead(false);
        lead.take(route(1, Some("srv2"), &["srv1"]));
        assert_eq!(lead.distant(), Some((name("srv2"), target("srv2"))));
        let (writer, reader) = (writer(&lead), lead.choices(Purpose::Read, 0).remove(0));
        assert!(lead.lose(Some(name("srv2"))) && !lead.lose(Some(name("srv2"))));
        assert!(!lead.keeps(&writer) && !lead.holds() && lead.choices(Purpose::Write, 0).is_empty());
        assert!(lead.keeps(&reader), "reading goes on here");
        assert_eq!(targets(&lead, Purpose::Read, 0), [target("srv1")]);
        lead.take(route(1, None, &[]));
        assert!(lead.holds(), "somebody is about to take over");
        lead.take(route(2, Some("srv3"), &[]));
        assert_eq!(targets(&lead, Purpose::Write, 0), [target("srv3")], "another one did");
        lead.take(route(3, Some("srv2"), &[]));
        assert!(lead.lose(None) && lead.holds());
        assert_eq!(targets(&lead, Purpose::Write, 0), [target("srv2")]);
        lead.take(route(4, Some("srv1"), &[]));
        assert_eq!(lead.distant(), None, "it is here");
    }

    #[test]
    fn a_database_that_moved_is_another_one() {
        let mut lead = lead(false);
        lead.take(route(1, Some("srv2"), &[]));
        let first = writer(&lead);
        lead.ways.servers.insert(name("srv2"), target("srv9"));
        assert!(!lead.keeps(&first));
    }

    fn routes() -> impl Strategy<Value = Vec<DatabaseRoute>> {
        let one = (0..6u64, prop::option::of(0..3usize), prop::collection::vec(0..3usize, 0..3));
        let route = one.prop_map(|(epoch, primary, readable)| {
            route(epoch, primary.map(|it| NAMES[it]), &readable.iter().map(|it| NAMES[*it]).collect::<Vec<_>>())
        });
        prop::collection::vec(route, 1..20)
    }

    proptest! {
        /// In whatever order routes arrive: writers are led to the primary of the newest epoch only, and none stays that
        /// is with anybody else, even if it saw none of the steps between.
        #[test]
        fn writers_are_only_ever_with_the_primary_of_the_newest_epoch(routes in routes()) {
            let mut lead = lead(false);
            let mut newest: Option<DatabaseRoute> = None;
            let mut named: Option<(u64, RelayTarget)> = None;
            let mut open: Vec<Tie> = Vec::new();
            for route in routes {
                lead.take(route.clone());
                if newest.as_ref().is_none_or(|newest| route.epoch >= newest.epoch) {
                    newest = Some(route);
                }
                let newest = newest.clone().expect("one");
                let to: Vec<_> = newest.primary.iter().map(|it| target(it.as_str())).collect();
                prop_assert_eq!(targets(&lead, Purpose::Write, 0), to.clone());
                named = to.first().map(|to| (newest.epoch, to.clone())).or(named);
                let staying = named.iter().find(|(epoch, _)| *epoch == newest.epoch).map(|(_, to)| to);
                prop_assert!(open.iter().filter(|tie| lead.keeps(tie)).all(|tie| Some(&tie.target) == staying));
                open.extend(lead.choices(Purpose::Write, 0));
            }
        }
    }
}
