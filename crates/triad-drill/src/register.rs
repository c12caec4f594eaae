//! An append-only register: what lists of all entries showed, against when writes were acknowledged.
//!
//! A list that was asked for after a write was acknowledged must show it (linearizability of a register, Herlihy and
//! Wing, 1990); it must not show one that nobody had sent when it ended; and what a list has shown, a later one shows
//! too. Times are the client's own: a request is not sent before it is due.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::sample::{Fate, Kind, Sample};

/// Findings that are listed, at most.
const LISTED_MAX: usize = 10;

/// What comparing lists with writes shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RegisterCheck {
    /// Lists that were answered.
    pub lists: u64,
    /// Lists that lack a write which had been acknowledged before they were asked for.
    pub stale: u64,
    /// Lists that show a write which had not been sent when they ended, or never was.
    pub invented: u64,
    /// Lists that lack what an earlier one had shown.
    pub forgotten: u64,
    /// The first of what was found, each as a clause.
    pub findings: Vec<String>,
}

impl RegisterCheck {
    /// How many lists showed what they should not.
    pub fn wrong(&self) -> u64 {
        self.stale + self.invented + self.forgotten
    }
}

/// Compares the lists among `samples` with the writes.
pub(crate) fn check_register(samples: &[Sample]) -> RegisterCheck {
    let writes: BTreeMap<u32, &Sample> = of(samples, Kind::Writes).map(|write| (write.number, write)).collect();
    let mut lists: Vec<&Sample> = of(samples, Kind::Lists).filter(|list| list.outcome.is_ok()).collect();
    lists.sort_by_key(|list| list.done_us());
    let mut check = RegisterCheck { lists: lists.len() as u64, ..RegisterCheck::default() };
    for (index, list) in lists.iter().enumerate() {
        let seen: BTreeSet<u32> = list.seen.iter().copied().collect();
        let acknowledged =
            |write: &&&Sample| write.outcome.fate() == Fate::Acknowledged && write.done_us() < list.due_us;
        let stale = writes.values().filter(acknowledged).find(|write| !seen.contains(&write.number));
        let known = |number: &u32| {
            writes.get(number).is_some_and(|write| write.outcome.fate() != Fate::Never && write.due_us < list.done_us())
        };
        let invented = seen.iter().find(|number| !known(number));
        // The last list that had ended when this one was asked for has shown what all before it had.
        let earlier = lists[..index].iter().rev().find(|earlier| earlier.done_us() < list.due_us);
        let forgotten = earlier.and_then(|earlier| earlier.seen.iter().find(|number| !seen.contains(number)));
        for (what, count, number) in [
            ("lacks acknowledged write", &mut check.stale, stale.map(|write| write.number)),
            ("shows unsent write", &mut check.invented, invented.copied()),
            ("lacks, though an earlier list has it, write", &mut check.forgotten, forgotten.copied()),
        ] {
            let Some(number) = number else { continue };
            *count += 1;
            if check.findings.len() < LISTED_MAX {
                check.findings.push(format!("list {} {what} {number}", list.number));
            }
        }
    }
    check
}

fn of(samples: &[Sample], kind: Kind) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(move |sample| sample.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::{RegisterCheck, check_register};
    use crate::sample::{Kind, Outcome, Sample};

    fn sample(kind: Kind, number: u32, due_ms: u64, took_ms: u64, outcome: Outcome, seen: &[u32]) -> Sample {
        let (due_us, took_us) = (due_ms * 1_000, took_ms * 1_000);
        Sample { kind, number, due_us, took_us, outcome, server: None, seen: seen.to_vec() }
    }

    /// Write 1 is acknowledged at 110 ms, write 2 at 310 ms, write 3 is uncertain, write 4 never left.
    fn check(lists: &[(u64, u64, &[u32])]) -> RegisterCheck {
        let mut samples = vec![
            sample(Kind::Writes, 1, 100, 10, Outcome::Ok, &[]),
            sample(Kind::Writes, 2, 300, 10, Outcome::Ok, &[]),
            sample(Kind::Writes, 3, 400, 10, Outcome::Status(503), &[]),
            sample(Kind::Writes, 4, 500, 10, Outcome::Unconnected, &[]),
        ];
        let list = |(number, (due_ms, took_ms, seen)): (u32, &(u64, u64, &[u32]))| {
            sample(Kind::Lists, number, *due_ms, *took_ms, Outcome::Ok, seen)
        };
        samples.extend((1..).zip(lists).map(list));
        check_register(&samples)
    }

    #[test]
    fn a_list_shows_what_was_acknowledged_and_may_show_what_is_under_way() {
        let check = check(&[(50, 5, &[]), (105, 5, &[]), (105, 5, &[1]), (305, 5, &[1, 2]), (600, 5, &[1, 2, 3])]);
        assert_eq!((check.lists, check.wrong()), (5, 0), "{check:?}");
        assert_eq!(self::check(&[(600, 5, &[1, 2])]).wrong(), 0, "an uncertain write may be missing");
    }

    #[test]
    fn a_stale_list_is_found() {
        let check = check(&[(320, 5, &[1])]);
        assert_eq!((check.stale, check.wrong()), (1, 1));
        assert_eq!(check.findings, ["list 1 lacks acknowledged write 2"]);
    }

    #[test]
    fn a_write_from_nowhere_is_found() {
        assert_eq!(check(&[(600, 5, &[1, 2, 4])]).invented, 1, "it never left");
        assert_eq!(check(&[(200, 5, &[1, 2])]).invented, 1, "it was sent later");
        assert_eq!(check(&[(600, 5, &[1, 2, 77])]).invented, 1, "nobody sent it");
    }

    #[test]
    fn what_was_shown_must_not_vanish() {
        let check = check(&[(500, 5, &[1, 2, 3]), (600, 5, &[1, 2])]);
        assert_eq!((check.forgotten, check.wrong()), (1, 1));
    }
}
