//! The whole thing: labs of the four designs, with the real binary, as a user starts them.
//!
//! Labs are slow to bring up, so cases share one where they can: `secured` stays up for most of them, and cases that
//! break something put it right again. They run one after the other.

mod by_hand;
mod designs;
mod failover;
mod harness;
mod lifecycle;
mod limits;
mod secured;
mod standalone;
mod upgrade;
mod voters;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use harness::{Failure, LabUnderTest};
use libtest_mimic::{Arguments, Trial};

/// A lab that comes up with the first case that needs it.
pub struct SharedLab {
    design: &'static str,
    lab: OnceLock<Result<LabUnderTest, Failure>>,
}

impl SharedLab {
    fn new(design: &'static str) -> Self {
        Self { design, lab: OnceLock::new() }
    }

    fn get(&self) -> Result<&LabUnderTest, Failure> {
        self.lab.get_or_init(|| LabUnderTest::up(self.design)).as_ref().map_err(Clone::clone)
    }
}

/// A case with labs of its own.
type Case = (&'static str, fn() -> Result<(), Failure>);
/// A case on a lab that others share.
type LabCase = (&'static str, fn(&LabUnderTest) -> Result<(), Failure>);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let secured = Arc::new(Mutex::new(Some(SharedLab::new("secured"))));
    let mut trials = Vec::new();
    let of_secured = [
        ("secured", secured::CASES),
        ("failover", failover::CASES),
        ("upgrade", upgrade::CASES),
        ("voters", voters::CASES),
    ];
    for (group, (name, case)) in
        of_secured.iter().flat_map(|(group, cases)| cases.iter().map(move |case| (group, case)))
    {
        let secured = secured.clone();
        trials.push(Trial::test(format!("{group}::{name}"), move || {
            let secured = secured.lock().unwrap_or_else(PoisonError::into_inner);
            let lab = secured.as_ref().expect("taken down only at the end").get()?;
            Ok(case(lab)?)
        }));
    }
    for (name, case) in designs::CASES
        .iter()
        .chain(by_hand::CASES)
        .chain(lifecycle::CASES)
        .chain(limits::CASES)
        .chain(standalone::CASES)
    {
        trials.push(Trial::test(*name, move || Ok(case()?)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Dropping a lab takes it down. Its folder goes with the last; what is not empty holds the logs of a failure.
    drop(secured.lock().unwrap_or_else(PoisonError::into_inner).take());
    let _ = std::fs::remove_dir(harness::labs());
    conclusion.exit_code()
}
