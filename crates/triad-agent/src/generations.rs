//! The life of a service whose process is replaced while it serves: which process is current, which is tried, which
//! leave. Pure: what happens comes in as an [`Event`], what is to be done goes out as an [`Act`].
//!
//! Invariants: there is always exactly one current process and at most one that is tried; a process that was told to
//! leave never comes back; a trial that fails leaves everything as it was; no more than [`LEAVING_MAX`] leave at once.
//!
//! That the current process dies is no event: its supervisor starts it again, also during a trial, because nobody knows
//! yet whether the new one will ever serve. If it does, it replaces whatever stands in the old one's place by then.

/// Processes that may finish what they had at one time: each takes memory, and holds files and connections open.
pub(crate) const LEAVING_MAX: usize = 4;

/// Tells the processes of a service apart.
pub(crate) type Number = u64;

/// Which process is what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generations {
    current: Number,
    tried: Option<Number>,
    /// Retired or killed, not yet reaped.
    leaving: Vec<Number>,
    next: Number,
}

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It serves.
    InForce(Number),
    /// It refused its plan, or did not answer in time, or is gone.
    Failed(Number),
    /// It has had more time to finish than it may.
    Overdue(Number),
    /// It is reaped.
    Ended(Number),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// `by` is kept running from now on; `old` finishes what it has, and is not started again.
    Replace { old: Number, by: Number },
    /// End it at once.
    Kill(Number),
}

/// Why no process can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Busy {
    /// One is already.
    #[error("it is being replaced already; wait for what comes of that")]
    Trial,
    /// Too many have not ended yet.
    #[error("{LEAVING_MAX} that were replaced have not finished yet; `triad status` shows for how long they drain")]
    Leaving,
}

impl Generations {
    /// With one process, the current one.
    pub fn new() -> Self {
        Self { current: 0, tried: None, leaving: Vec::new(), next: 1 }
    }

    /// The process that serves.
    pub fn current(&self) -> Number {
        self.current
    }

    /// Those that were told to leave, the first first.
    pub fn leaving(&self) -> &[Number] {
        &self.leaving
    }

    /// Begins to try a new process: its number.
    pub fn begin(&mut self) -> Result<Number, Busy> {
        if self.tried.is_some() {
            return Err(Busy::Trial);
        }
        if self.leaving.len() >= LEAVING_MAX {
            return Err(Busy::Leaving);
        }
        let number = self.next;
        self.next += 1;
        self.tried = Some(number);
        Ok(number)
    }

    /// Takes `event` in. What does not fit, because it was overtaken by another, changes nothing.
    pub fn on(&mut self, event: Event) -> Option<Act> {
        match event {
            Event::InForce(number) if self.tried == Some(number) => {
                self.tried = None;
                let old = std::mem::replace(&mut self.current, number);
                self.leaving.push(old);
                Some(Act::Replace { old, by: number })
            }
            Event::Failed(number) if self.tried == Some(number) => {
                self.tried = None;
                self.leaving.push(number);
                Some(Act::Kill(number))
            }
            Event::Overdue(number) if self.leaving.contains(&number) => Some(Act::Kill(number)),
            Event::Ended(number) => {
                self.leaving.retain(|other| *other != number);
                None
            }
            Event::InForce(_) | Event::Failed(_) | Event::Overdue(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{Act, Busy, Event, Generations, LEAVING_MAX, Number};

    #[test]
    fn a_new_process_that_serves_replaces_the_old_one() {
        let mut generations = Generations::new();
        assert_eq!(generations.begin(), Ok(1));
        assert_eq!(generations.begin(), Err(Busy::Trial));
        assert_eq!(generations.on(Event::InForce(1)), Some(Act::Replace { old: 0, by: 1 }));
        assert_eq!((generations.current(), generations.leaving()), (1, &[0][..]));
        assert_eq!(generations.on(Event::Overdue(0)), Some(Act::Kill(0)));
        assert_eq!(generations.on(Event::Ended(0)), None);
        assert_eq!((generations.current(), generations.leaving()), (1, &[][..]));
    }

    #[test]
    fn one_that_fails_is_killed_and_the_old_one_stays() {
        let mut generations = Generations::new();
        let number = generations.begin().expect("nothing is under way");
        assert_eq!(generations.on(Event::Failed(number)), Some(Act::Kill(number)));
        assert_eq!(generations.on(Event::InForce(number)), None, "too late");
        assert_eq!(generations.current(), 0);
        generations.on(Event::Ended(number));
        assert_eq!(generations.begin(), Ok(2));
    }

    #[test]
    fn so_many_may_leave_at_once() {
        let mut generations = Generations::new();
        for number in 1..=LEAVING_MAX as Number {
            assert_eq!(generations.begin(), Ok(number));
            generations.on(Event::InForce(number));
        }
        assert_eq!(generations.begin(), Err(Busy::Leaving));
        generations.on(Event::Ended(2));
        assert!(generations.begin().is_ok());
    }

    /// A step of a test: an event for a process of any number, or a beginning.
    fn step() -> impl Strategy<Value = Option<Event>> {
        let number = 0..12u64;
        prop_oneof![
            3 => Just(None),
            3 => number.clone().prop_map(|number| Some(Event::InForce(number))),
            1 => number.clone().prop_map(|number| Some(Event::Failed(number))),
            1 => number.clone().prop_map(|number| Some(Event::Overdue(number))),
            2 => number.prop_map(|number| Some(Event::Ended(number))),
        ]
    }

    proptest! {
        /// Against a plain account of who was started, told to leave, and reaped.
        #[test]
        fn whatever_happens_one_serves_and_nobody_is_forgotten(steps in prop::collection::vec(step(), 0..80)) {
            let mut generations = Generations::new();
            let mut started = BTreeSet::from([0]);
            let (mut told_to_leave, mut reaped) = (BTreeSet::new(), BTreeSet::new());
            for step in steps {
                let before = generations.clone();
                let Some(event) = step else {
                    if let Ok(number) = generations.begin() {
                        prop_assert!(started.insert(number), "a number is given once");
                    }
                    continue;
                };
                match generations.on(event) {
                    Some(Act::Replace { old, by }) => {
                        prop_assert_eq!((before.current(), generations.current()), (old, by));
                        prop_assert!(started.contains(&by) && !told_to_leave.contains(&by));
                        told_to_leave.insert(old);
                    }
                    Some(Act::Kill(number)) => {
                        prop_assert_ne!(number, generations.current());
                        told_to_leave.insert(number);
                    }
                    None => prop_assert_eq!(before.current(), generations.current()),
                }
                // The driver reaps nobody whom it was not told to end.
                if let Event::Ended(number) = event && told_to_leave.contains(&number) {
                    reaped.insert(number);
                }
                prop_assert!(generations.leaving.len() <= LEAVING_MAX);
                let leaving: BTreeSet<Number> = generations.leaving.iter().copied().collect();
                prop_assert_eq!(leaving.len(), generations.leaving.len());
                let gone: BTreeSet<Number> = told_to_leave.difference(&reaped).copied().collect();
                prop_assert_eq!(leaving, gone, "who was told to leave is waited for until reaped");
                let others = started.difference(&told_to_leave).copied();
                let expected: BTreeSet<Number> = std::iter::once(generations.current).chain(generations.tried).collect();
                prop_assert_eq!(others.collect::<BTreeSet<_>>(), expected);
            }
        }
    }
}
