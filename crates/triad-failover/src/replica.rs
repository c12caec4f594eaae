//! A server that the record does not name.

use triad_model::ServerName;

use crate::decide::{Decided, Decision, Promotion};
use crate::view::{Database, Position, Record, View};

/// A replica that runs.
struct Replica<'a> {
    view: &'a View<'a>,
    record: &'a Record,
    epoch: u64,
    receiving: bool,
    stopped_for: Option<u64>,
    whole: bool,
    diverged: bool,
    received: Position,
    applied: Position,
}

/// What a server does that `record` does not name.
pub(crate) fn decide(view: &View<'_>, record: &Record) -> Decided {
    let Record { epoch, primary, .. } = record;
    match *view.database {
        Database::Primary { .. } => {
            Decided::new(Decision::Demote, format_args!("epoch {epoch} names {primary}, not this server"))
        }
        Database::Stopped => Decided::new(Decision::Rejoin, format_args!("epoch {epoch} names {primary}")),
        Database::Replica { epoch, receiving, stopped_for, whole, diverged, received, applied, .. } => {
            Replica { view, record, epoch, receiving, stopped_for, whole, diverged, received, applied }.decide()
        }
    }
}

/// Why a member of the in-sync set keeps this server from taking over.
enum Obstacle<'a> {
    /// It is not heard, or does not run: it may hold what nobody else has.
    Unknown(&'a ServerName),
    /// It has not stopped receiving.
    Receiving(&'a ServerName),
    /// It restarted, and may have lost what it acknowledged.
    Torn(&'a ServerName),
    /// It has more, or as much and the first name.
    Ahead(&'a ServerName),
}

impl Replica<'_> {
    fn decide(&self) -> Decided {
        let primary = &self.record.primary;
        if self.diverged {
            let open = self.view.heard(primary).is_some_and(|source| source.is_primary_of(self.record.epoch));
            let decision = if open { Decision::Reseed } else { Decision::Hold };
            return Decided::new(
                decision,
                format_args!("its history is no part of {primary}'s, which is to be copied"),
            );
        }
        let member = self.record.in_sync.contains(self.view.me);
        match self.view.is_dead(primary) {
            true if member => self.succeed(),
            true => Decided::new(
                Decision::Hold,
                format_args!("{primary} is dead, and this server may lack writes: it is not in sync"),
            ),
            false => self.follow(member),
        }
    }

    fn follow(&self, member: bool) -> Decided {
        let Record { epoch, version, primary, .. } = self.record;
        if self.epoch == *epoch && self.receiving {
            return Decided::new(Decision::Hold, format_args!("it follows {primary}"));
        }
        // Somebody may be about to claim on the strength of its having stopped.
        let counted = member && self.stopped_for.is_none_or(|stopped| stopped >= *version);
        if counted {
            let next = self.record.next(|_| ());
            let why = format!("{primary} lives: claims that rest on this server's having stopped must fail");
            return Decided::new(Decision::Promote(Promotion::Release(next)), why);
        }
        Decided::new(Decision::Follow, format_args!("epoch {epoch} names {primary}"))
    }

    /// The primary is dead and this server is in the in-sync set.
    fn succeed(&self) -> Decided {
        let Record { version, primary, .. } = self.record;
        if self.stopped_for != Some(*version) || self.receiving {
            let why = format!("{primary} is dead: it must get no acknowledgement any more");
            return Decided::new(Decision::Promote(Promotion::Stop(*version)), why);
        }
        if !self.whole {
            let why = format!("it restarted since it acknowledged, and may lack what only {primary} has");
            return Decided::new(Decision::Hold, why);
        }
        if let Some(obstacle) = self.others().find_map(|name| self.obstacle(name)) {
            return Decided::new(Decision::Hold, obstacle.why(primary));
        }
        if self.applied < self.received {
            let why = "it has more than anybody, and applies it first";
            return Decided::new(Decision::Promote(Promotion::Drain), why);
        }
        let me = self.view.me;
        // Who has less would be a successor without all that was acknowledged.
        let next = self.record.next(|next| {
            next.epoch += 1;
            next.in_sync.retain(|name| name == me || self.has_as_much(name));
            next.primary = me.clone();
        });
        let why = format!("{primary} is dead, and this server has every acknowledged write");
        Decided::new(Decision::Promote(Promotion::Claim(next)), why)
    }

    /// The other members of the in-sync set but the dead primary.
    fn others(&self) -> impl Iterator<Item = &ServerName> {
        let Record { primary, in_sync, .. } = self.record;
        in_sync.iter().filter(move |name| *name != primary && *name != self.view.me)
    }

    fn has_as_much(&self, name: &ServerName) -> bool {
        matches!(self.view.heard(name), Some(Database::Replica { received, .. }) if *received >= self.received)
    }

    fn obstacle<'n>(&self, name: &'n ServerName) -> Option<Obstacle<'n>> {
        let Some(Database::Replica { stopped_for, receiving, whole, received, .. }) = self.view.heard(name) else {
            return Some(Obstacle::Unknown(name));
        };
        if *receiving || *stopped_for != Some(self.record.version) {
            return Some(Obstacle::Receiving(name));
        }
        if !whole {
            return Some(Obstacle::Torn(name));
        }
        let ahead = (*received, std::cmp::Reverse(name)) > (self.received, std::cmp::Reverse(self.view.me));
        ahead.then_some(Obstacle::Ahead(name))
    }
}

impl Obstacle<'_> {
    fn why(&self, primary: &ServerName) -> String {
        match self {
            Obstacle::Unknown(name) => {
                format!("{primary} is dead, and what {name} has is not known: it may hold writes that nobody else has")
            }
            Obstacle::Receiving(name) => format!("{primary} is dead; {name} has yet to stop receiving"),
            Obstacle::Torn(name) => {
                format!("{primary} is dead, and {name} restarted since it acknowledged: {primary} must come back")
            }
            Obstacle::Ahead(name) => format!("{primary} is dead; {name} has more and takes over"),
        }
    }
}
