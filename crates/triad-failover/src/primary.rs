//! The server that the record names.

use std::collections::{BTreeMap, BTreeSet};

use triad_model::ServerName;

use crate::decide::{Decided, Decision, Degrading, Promotion, Restoring};
use crate::view::{Database, Invitation, Position, Record, View};

/// Transactions that a replica may lack when commits begin to wait for it: they have to reach it first.
const CATCH_UP_MAX: Position = 100;

/// A primary that runs.
pub(crate) struct Primary<'a> {
    pub view: &'a View<'a>,
    pub record: &'a Record,
    pub written: Position,
    waits: bool,
    pub closed: bool,
    pub barred: &'a BTreeMap<ServerName, Position>,
    invited: Option<&'a Invitation>,
}

/// What the server does that `record` names.
pub(crate) fn decide(view: &View<'_>, record: &Record) -> Decided {
    if let Some(primary) = Primary::of(view, record) {
        return primary.decide();
    }
    if view.made == Some(record.version) {
        return Decided::new(Decision::Promote(Promotion::Open), format_args!("epoch {} names it", record.epoch));
    }
    let why = "the record names it, and nothing that it wrote before may change that any more";
    Decided::new(Decision::Promote(Promotion::Claim(record.next(|_| ()))), why)
}

/// A replica that is heard, as it said last.
pub(crate) struct Replica<'a> {
    name: &'a ServerName,
    receiving: bool,
    pub connected: bool,
    obeys: u64,
    acknowledges: bool,
    pub whole: bool,
    pub diverged: bool,
    pub received: Position,
    pub applied: Position,
}

impl<'a> Primary<'a> {
    /// The server of `view`, if it takes writes by `record`, or refuses them only because another one is to.
    pub fn of(view: &'a View<'a>, record: &'a Record) -> Option<Self> {
        let Database::Primary { epoch, written, waits, closed, barred, invited } = view.database else { return None };
        if record.primary != *view.me || *epoch != record.epoch {
            return None;
        }
        let (written, waits, closed, invited) = (*written, *waits, *closed, invited.as_ref());
        Some(Self { view, record, written, waits, closed, barred, invited })
    }

    fn decide(&self) -> Decided {
        let steps = self.degrade().or_else(|| self.hand_over()).or_else(|| self.restore());
        steps.unwrap_or_else(|| Decided::new(Decision::Hold, "all is well"))
    }

    /// The replica called `name`, if it is heard and follows this primary.
    pub(crate) fn replica<'r>(&'r self, name: &'r ServerName) -> Option<Replica<'r>> {
        match self.view.heard(name)? {
            Database::Replica {
                epoch,
                receiving,
                connected,
                obeys,
                acknowledges,
                whole,
                diverged,
                received,
                applied,
                ..
            } if *epoch == self.record.epoch => {
                let (receiving, connected, acknowledges) = (*receiving, *connected, *acknowledges);
                let (obeys, whole, diverged) = (*obeys, *whole, *diverged);
                let (received, applied) = (*received, *applied);
                Some(Replica { name, receiving, connected, obeys, acknowledges, whole, diverged, received, applied })
            }
            _ => None,
        }
    }

    fn is_alone(&self) -> bool {
        self.record.in_sync.len() == 1
    }

    fn degrade(&self) -> Option<Decided> {
        let suspects = self.view.suspects();
        let is_lost = |name: &ServerName| suspects.contains(name) || self.view.is_stalled(name);
        let lost = self.others().find(|name| is_lost(name) && !self.barred.contains_key(*name));
        if let Some(gone) = lost {
            let what = if suspects.contains(gone) { "is gone" } else { "receives nothing" };
            let why = format!("{gone} {what}, and must not acknowledge while the in-sync set loses it");
            return Some(Decided::new(Decision::Degrade(Degrading::Bar(gone.clone())), why));
        }
        self.shrink().or_else(|| self.stop_waiting(&suspects))
    }

    /// The other members of the in-sync set.
    pub(crate) fn others(&self) -> impl Iterator<Item = &ServerName> {
        self.record.in_sync.iter().filter(|name| *name != self.view.me)
    }

    /// Members that are barred leave the set, even if they are back: it may have lost them already, unseen. What they
    /// may have acknowledged must be on one that stays, if any does.
    fn shrink(&self) -> Option<Decided> {
        let mark = self.others().filter_map(|name| self.barred.get(name)).max()?;
        let mut staying = self.others().filter(|name| !self.barred.contains_key(*name)).peekable();
        let is_held = |name: &ServerName| self.replica(name).is_some_and(|it| it.whole && it.received >= *mark);
        if staying.peek().is_some() && !staying.any(is_held) {
            return Some(Decided::new(Decision::Hold, "what a lost replica acknowledged has yet to reach another one"));
        }
        let next = self.record.next(|next| next.in_sync.retain(|name| !self.barred.contains_key(name)));
        let why = "a replica was cut off: the in-sync set goes on without it";
        Some(Decided::new(Decision::Degrade(Degrading::Shrink(next)), why))
    }

    fn stop_waiting(&self, suspects: &BTreeSet<ServerName>) -> Option<Decided> {
        if !self.is_alone() || (!self.waits && self.invited.is_none()) {
            return None;
        }
        let degrade = |step, why: String| Some(Decided::new(Decision::Degrade(step), why));
        let Some(Invitation { replica, .. }) = self.invited else {
            let why = "no replica is left: commits wait for nobody, and the next failure stops writes".to_owned();
            return degrade(Degrading::StopWaiting, why);
        };
        if self.barred.contains_key(replica) {
            let why = format!("{replica} is gone again: it is not to come into the in-sync set unseen");
            return degrade(Degrading::Shrink(self.record.next(|_| ())), why);
        }
        let is_lost = suspects.contains(replica) || self.view.is_stalled(replica);
        let there = self.replica(replica).is_some_and(|it| it.receiving) && !is_lost;
        if there { None } else { degrade(Degrading::Bar(replica.clone()), format!("{replica} is gone again")) }
    }

    fn restore(&self) -> Option<Decided> {
        let outside = |name: &&ServerName| !self.record.in_sync.contains(*name);
        let mut replicas = self.view.others.keys().filter(outside).filter_map(|name| self.replica(name));
        replicas.find_map(|replica| self.take_in(&replica))
    }

    /// The next step with a replica that is not in the in-sync set.
    fn take_in(&self, replica: &Replica<'_>) -> Option<Decided> {
        let restore = |step, why: String| Some(Decided::new(Decision::Restore(step), why));
        let name = replica.name;
        if self.barred.contains_key(name) {
            let knows = replica.obeys >= self.record.version && !replica.acknowledges;
            let admit = Restoring::Admit(name.clone());
            return if knows { restore(admit, format!("{name} is back, and catches up")) } else { None };
        }
        // Who is taken in can take over at once.
        let is_well = replica.receiving && replica.connected && replica.whole && !replica.diverged;
        if !is_well || replica.received + CATCH_UP_MAX < self.written {
            return None;
        }
        if self.is_alone() {
            match self.invited.filter(|invited| invited.replica == *name && invited.version == self.record.version) {
                // One after the other.
                None if self.invited.is_some_and(|invited| invited.replica != *name) => return None,
                None => {
                    let invite = Restoring::Invite(name.clone(), self.record.version);
                    return restore(invite, format!("{name} has caught up, and is to acknowledge"));
                }
                // Before it does, nobody waits: what it received without acknowledging it never will.
                Some(_) if !replica.acknowledges => return None,
                Some(_) if !self.waits => {
                    return restore(
                        Restoring::WaitFor(name.clone()),
                        format!("{name} acknowledges: commits wait for it"),
                    );
                }
                Some(invited) if replica.received < invited.mark => return None,
                Some(_) => {}
            }
        }
        let next = self.record.next(|next| _ = next.in_sync.insert(name.clone()));
        let why = format!("{name} has what was written: the in-sync set takes it in");
        restore(Restoring::Grow(next), why)
    }
}
