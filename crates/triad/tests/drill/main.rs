//! Drills with the real binary: a few on one shared lab, and what is refused before any lab starts.
//!
//! The standard set is in `drills/` and takes minutes: `cargo xtask drill`.

#[path = "../lab/harness.rs"]
#[allow(dead_code, reason = "the harness serves the lab's tests too")]
mod harness;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use harness::{Failure, LabUnderTest, examples, labs, text, triad};
use libtest_mimic::{Arguments, Trial};
use triad_lab::{Lab, LabName};

/// Those of the standard set that are run here.
const SHORT: &[&str] = &["instance-killed", "active-silent", "reload", "reload-refused"];

type Case = (&'static str, fn() -> Result<(), Failure>);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let cases: [Case; 4] = [
        ("a_wrong_scenario_is_told_by_line_and_column", a_wrong_scenario_is_told),
        ("every_standard_scenario_is_one", every_standard_scenario_is_one),
        ("a_lab_that_is_drilled_is_refused", a_lab_that_is_drilled_is_refused),
        ("short_set", short_set),
    ];
    let trials = cases.into_iter().map(|(name, case)| Trial::test(name, move || Ok(case()?))).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let _ = std::fs::remove_dir(labs());
    conclusion.exit_code()
}

fn drills() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../drills")
}

/// Exit code and standard error of a drill of the scenario `source`, with the lab `lab`.
fn drill_of(source: &str, lab: &str) -> Result<(Option<i32>, String, String), Failure> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("case.drill");
    std::fs::write(&file, source)?;
    let output = triad()
        .args(["drill", "--yes", "--lab", lab, "--design"])
        .arg(examples().join("secured"))
        .arg(&file)
        .output()?;
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

fn a_wrong_scenario_is_told() -> Result<(), Failure> {
    let cases = [
        (
            "design x\nload 5 reads/s over new connections\nafter 3 s explode srv1\n",
            "case.drill:3:11: explode is no fault",
        ),
        (
            "design x\nload 5 reads/s over new connections\nafter 3 s kill edge on srv9\n",
            "case.drill:3:24: the design has no srv9",
        ),
        (
            "design x\nload 5 reads/s over new connections\nafter 3 s kill app-1 on srv1\n",
            "case.drill:3:16: srv1 runs no app-1",
        ),
    ];
    for (source, expected) in cases {
        let (code, _, said) = drill_of(source, "none")?;
        ensure!(code == Some(2) && said.contains(expected), "exit code {code:?}: {said}");
    }
    ensure!(!labs().join("none").exists(), "a lab was begun");
    Ok(())
}

/// None of them is run, because the lab that they are to be run in is not there.
fn every_standard_scenario_is_one() -> Result<(), Failure> {
    let output = triad().args(["drill", "--lab", "none"]).args([drills(), drills().join("failover")]).output()?;
    let said = text(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains("lab none does not run"), "{:?}: {said}", output.status);
    Ok(())
}

/// Another drill is this process, and its lab is as far as that drill would look at it.
fn a_lab_that_is_drilled_is_refused() -> Result<(), Failure> {
    let name = LabName::new("taken")?;
    let lab = Lab::under(labs(), name);
    let reservation = lab.reserve_place().map_err(|error| Failure(error.to_string()))?;
    let scenario = "design x\nload 5 reads/s over new connections\nafter 3 s kill edge on srv1\n";
    let (code, _, said) = drill_of(scenario, "taken")?;
    ensure!(code == Some(1) && said.contains("lab taken is used by another drill"), "exit code {code:?}: {said}");
    drop(reservation);
    let (code, _, said) = drill_of(scenario, "taken")?;
    ensure!(code == Some(1) && said.contains("lab taken does not run"), "exit code {code:?}: {said}");
    std::fs::remove_dir_all(lab.path())?;
    Ok(())
}

/// On one lab: faults that cost nothing, or little; then a control that must be caught.
fn short_set() -> Result<(), Failure> {
    let lab = LabUnderTest::up_as("secured", "short")?;
    let files = SHORT.iter().map(|name| drills().join(format!("{name}.drill")));
    let report = labs().join("report.html");
    let output = triad().args(["drill", "--lab", "short", "--report"]).arg(&report).args(files).output()?;
    let said = text(&output.stdout);
    ensure!(output.status.success(), "{}\n{said}{}", output.status, text(&output.stderr));
    ensure!(said.contains("nothing succeeded") || said.contains("p99 ms"), "no latencies in\n{said}");
    ensure!(said.contains("agrees") && !said.contains("DIFFERS"), "predictions differ from what was measured:\n{said}");
    let page = std::fs::read_to_string(&report)?;
    std::fs::remove_file(&report)?;
    ensure!(page.contains("<svg") && page.contains("cut active"), "the page has no timeline");
    let control = "design x\nload 10 reads/s, 10 writes/s over new connections\nafter 1 s make database lossy on primary\n\
                   after 3 s kill mariadbd on primary\nexpect failure of lost writes\n";
    let (code, said, errors) = drill_of(control, "short")?;
    ensure!(code == Some(0) && said.contains("caught"), "exit code {code:?}: {said}{errors}");
    drop(lab);
    Ok(())
}
