//! A primary that is to hand over to a replica.

use std::fmt;

use triad_model::ServerName;

use crate::decide::{Decided, Decision, Promotion, Yielding};
use crate::primary::Primary;
use crate::view::View;

/// Transactions that a successor may lack, or have yet to apply, when writes begin to be refused.
const NEAR: u64 = 1000;

/// Why `successor` cannot take over from the server whose `view` this is, as a clause; `None` if it can.
pub fn obstacle_to(view: &View<'_>, successor: &ServerName) -> Option<String> {
    let Some(record) = view.record else { return Some("who is the primary cannot be read".to_owned()) };
    match Primary::of(view, record) {
        Some(primary) => primary.obstacle(successor),
        None => Some(format!("{} does not take writes now", view.me)),
    }
}

impl Primary<'_> {
    /// The next step to another primary, or back from there.
    pub(crate) fn hand_over(&self) -> Option<Decided> {
        let step = |step, why: &dyn fmt::Display| Some(Decided::new(Decision::Yield(step), why));
        let Some(successor) = self.view.yields_to.filter(|name| self.obstacle(name).is_none()) else {
            return if self.closed { Some(self.reopen()) } else { None };
        };
        if !self.closed {
            return step(Yielding::Close, &format_args!("{successor} is to take over, and has nearly everything"));
        }
        let has_all = |name: &ServerName| self.replica(name).is_some_and(|it| it.received >= self.written);
        let is_ready = self.replica(successor).is_some_and(|it| it.applied >= self.written);
        if !is_ready {
            return Some(Decided::new(Decision::Hold, format_args!("{successor} has yet to apply the last writes")));
        }
        let next = self.record.next(|next| {
            next.epoch += 1;
            next.primary = successor.clone();
            next.in_sync.retain(|name| has_all(name));
        });
        step(Yielding::Hand(next), &format_args!("{successor} has every write, and takes over"))
    }

    /// What it handed over may still arrive, unless this very version was made since.
    fn reopen(&self) -> Decided {
        if self.view.made == Some(self.record.version) {
            return Decided::new(Decision::Yield(Yielding::Reopen), "nobody takes over: it takes writes again");
        }
        let why = "nobody takes over: before it takes writes again, nothing that it wrote may change that";
        Decided::new(Decision::Promote(Promotion::Claim(self.record.next(|_| ()))), why)
    }

    /// Why `successor` cannot take over now, as a clause.
    fn obstacle(&self, successor: &ServerName) -> Option<String> {
        if successor == self.view.me {
            return Some(format!("{successor} is the primary already"));
        }
        if !self.record.in_sync.contains(successor) || self.barred.contains_key(successor) {
            return Some(format!("{successor} is not in sync"));
        }
        let Some(replica) = self.replica(successor).filter(|replica| replica.connected) else {
            return Some(format!("{successor} does not receive"));
        };
        if !replica.whole || replica.diverged {
            return Some(format!("{successor} may lack writes"));
        }
        let lacks = self.written.saturating_sub(replica.applied);
        (lacks > NEAR && !self.closed).then(|| format!("{successor} is {lacks} transactions behind"))
    }
}
