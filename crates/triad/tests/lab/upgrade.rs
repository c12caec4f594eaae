//! The edge is replaced by another binary while it serves.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use crate::harness::{Failure, LabUnderTest, eventually, text, triad};
use crate::{LabCase, ensure};

const SITE: &str = "https://www.foobar.com";
/// Whatever becomes so by itself; a retired edge gives kept connections 10 s.
const LIMIT: Duration = Duration::from_secs(30);

pub const CASES: &[LabCase] = &[
    ("an_edge_is_replaced_under_load_and_no_request_fails", an_edge_is_replaced_under_load),
    ("a_binary_that_does_not_serve_changes_nothing", a_binary_that_does_not_serve_changes_nothing),
];

/// `triad upgrade` as on srv1 itself.
fn upgrade_srv1(lab: &LabUnderTest) -> Result<Output, Failure> {
    Ok(triad().arg("upgrade").arg("--run").arg(lab.directory().join("servers/srv1/run")).output()?)
}

fn upgraded(lab: &LabUnderTest) -> Result<(), Failure> {
    let output = upgrade_srv1(lab)?;
    ensure!(output.status.success(), "it failed: {}{}", text(&output.stdout), text(&output.stderr));
    Ok(())
}

/// Puts a copy of `file` in the place of the binary that srv1's agent runs, as a package does.
fn install(lab: &LabUnderTest, file: &Path) -> Result<(), Failure> {
    let (path, next) = (binary(lab), lab.directory().join("triad.next"));
    std::fs::copy(file, &next)?;
    Ok(std::fs::rename(next, path)?)
}

fn binary(lab: &LabUnderTest) -> PathBuf {
    lab.directory().join("triad")
}

/// Process ids of the edges on srv1.
fn edges(lab: &LabUnderTest) -> Result<Vec<String>, Failure> {
    Ok(lab.run("srv1", "pgrep -x triad-edge || true")?.split_whitespace().map(str::to_owned).collect())
}

fn draining(lab: &LabUnderTest) -> Result<usize, Failure> {
    let report = lab.report("srv1")?;
    let processes = report["processes"].as_array().cloned().unwrap_or_default();
    Ok(processes.iter().filter(|process| process["draining_s"].is_u64()).count())
}

/// A load in the client until the file `stop` is there: codes and errors of requests over new connections, then those
/// over kept ones, then the code of one upload that lasts all the while.
fn load(lab: &LabUnderTest, stop: &Path, version: &str) -> Result<String, Failure> {
    let stop = stop.display();
    let curl = "curl -sS --max-time 20 -o /dev/null -w '%{http_code}\\n'";
    lab.run(
        "client",
        &format!(
            "upload() {{ printf 'name=slow&text='; while [ ! -e {stop} ]; do sleep 0.1; done; printf done; }}
             upload | {curl} -o {stop}.body --http1.1 --max-time 60 -X POST -T - -H 'Expect:' \
                 -H 'Content-Type: application/x-www-form-urlencoded' {SITE}/entries > {stop}.slow 2>&1 &
             while [ ! -e {stop} ]; do {curl} {version} --head --rate 50/s '{SITE}/whoami?[1-25]'; done > {stop}.kept 2>&1 &
             while [ ! -e {stop} ]; do {curl} {version} --head {SITE}/whoami; done 2>&1
             wait; cat {stop}.kept {stop}.slow"
        ),
    )
}

fn an_edge_is_replaced_under_load(lab: &LabUnderTest) -> Result<(), Failure> {
    install(lab, &binary(lab))?;
    for version in ["--http1.1", "--http2"] {
        let stop = lab.directory().join(format!("stop{version}"));
        let before = served(lab)?;
        let answers = std::thread::scope(|scope| -> Result<String, Failure> {
            let load = scope.spawn(|| load(lab, &stop, version));
            let replaced = replace_three_times(lab);
            std::fs::write(&stop, "")?;
            let answers = load.join().map_err(|_| Failure("the load panicked".to_owned()))?;
            replaced.and(answers)
        })?;
        let (others, slow) = answers.trim_end().rsplit_once('\n').unwrap_or_default();
        // On a busy machine the guestbook may lose its patience; that is an answer too, and came through the old edge.
        let page = std::fs::read_to_string(lab.directory().join(format!("stop{version}.body"))).unwrap_or_default();
        let patient = slow == "303" || (slow == "400" && page.contains("did not arrive within"));
        ensure!(patient, "the upload was answered {slow}: {page}");
        let failed: Vec<&str> = others.lines().filter(|line| *line != "200").collect();
        ensure!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), others.lines().count());
        ensure!(others.lines().count() > 50, "too few to tell: {others}");
        eventually("the old ones are gone", LIMIT, || {
            let (edges, draining) = (edges(lab)?.len(), draining(lab)?);
            ensure!((edges, draining) == (1, 0), "{edges} edges, {draining} draining");
            Ok(())
        })?;
        // Nothing that the old ones counted is lost.
        let due = before + others.lines().count() as u64;
        eventually("the counts of all edges", LIMIT, || {
            let now = served(lab)?;
            ensure!(now == due, "{before} became {now}, not {due}");
            Ok(())
        })?;
    }
    lab.await_health().map(drop)
}

/// Requests that srv1's edges answered, by a method that no other case uses at the same time.
fn served(lab: &LabUnderTest) -> Result<u64, Failure> {
    let report = lab.report("srv1")?;
    let requests = report["edge"]["requests"].as_array().cloned().unwrap_or_default();
    let ours = requests.iter().filter(|it| it["method"] == "HEAD" && it["code"] == 200);
    Ok(ours.filter_map(|it| it["count"].as_u64()).sum())
}

fn replace_three_times(lab: &LabUnderTest) -> Result<(), Failure> {
    let mut pids = vec![lab.pid("srv1", "edge")?];
    // The upload has to be under way.
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..3 {
        upgraded(lab)?;
        let pid = lab.pid("srv1", "edge")?;
        ensure!(!pids.contains(&pid), "{pid} is one of {pids:?}");
        if pids.len() == 1 {
            the_first_waits_for_its_upload(lab, pids[0])?;
        }
        pids.push(pid);
        let runs = lab.run("srv1", &format!("readlink /proc/{pid}/exe"))?;
        ensure!(runs.trim() == binary(lab).display().to_string(), "it runs {runs}");
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

fn the_first_waits_for_its_upload(lab: &LabUnderTest, pid: u64) -> Result<(), Failure> {
    ensure!(edges(lab)?.contains(&pid.to_string()), "the first one did not wait for the upload");
    let shown =
        text(&triad().arg("status").arg("--run").arg(lab.directory().join("servers/srv1/run")).output()?.stdout);
    ensure!(shown.contains("replaced, draining for ") && shown.contains("upgraded "), "it is not shown:\n{shown}");
    Ok(())
}

fn a_binary_that_does_not_serve_changes_nothing(lab: &LabUnderTest) -> Result<(), Failure> {
    let (kept, unusable) = (lab.directory().join("triad.kept"), lab.directory().join("triad.unusable"));
    std::fs::copy(binary(lab), &kept)?;
    std::fs::write(&unusable, "nobody may run this")?;
    let pid = lab.pid("srv1", "edge")?;
    let refused = |file: &Path| {
        install(lab, file)?;
        let output = upgrade_srv1(lab);
        install(lab, &kept)?;
        let output = output?;
        let said = text(&output.stderr);
        ensure!(output.status.code() == Some(1), "{} gave {}: {said}", file.display(), output.status);
        ensure!(lab.pid("srv1", "edge")? == pid && edges(lab)?.len() == 1, "it is another edge");
        lab.curl(&format!("-o /dev/null {SITE}/whoami"))?;
        Ok(said)
    };
    for (file, why) in [(Path::new("/bin/false"), "ended with exit code 1"), (&unusable, "could not be started")] {
        let said = refused(file)?;
        ensure!(said.contains(why) && said.contains("the old one goes on serving"), "{said}");
    }
    upgraded(lab)?;
    ensure!(lab.pid("srv1", "edge")? != pid, "a good one comes after bad ones");
    eventually("the old one is gone", LIMIT, || {
        let edges = edges(lab)?.len();
        ensure!(edges == 1, "{edges} edges");
        Ok(())
    })?;
    lab.await_health().map(drop)
}
