//! Labs that are brought up twice, beside each other, by an ordinary user, interrupted and killed.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::designs::{Traces, sign_the_guestbook};
use crate::harness::{Failure, LabUnderTest, TRIAD, eventually, examples, labs, succeed, text, triad};
use crate::{Case, ensure};

pub const CASES: &[Case] = &[
    ("lifecycle::up_twice_and_beside_another", up_twice_and_beside_another),
    ("lifecycle::kill_9_leaves_nothing_running_and_down_cleans", kill_9_leaves_nothing_running_and_down_cleans),
    ("lifecycle::an_interrupted_up_leaves_nothing", an_interrupted_up_leaves_nothing),
    ("lifecycle::an_ordinary_user_needs_no_root", an_ordinary_user_needs_no_root),
    ("lifecycle::a_wrong_file_starts_nothing", a_wrong_file_starts_nothing),
];

fn up_twice_and_beside_another() -> Result<(), Failure> {
    let before = Traces::take()?;
    let first = LabUnderTest::up_as("simple", "first")?;
    let again = succeed(triad().args(["lab", "up", "--name", "first"]).arg(examples().join("simple")))?;
    ensure!(again.contains("lab first is up already"), "the second up said: {again}");
    let second = LabUnderTest::up_as("simple", "second")?;
    sign_the_guestbook(&first, "http")?;
    let entries = second.curl("http://www.foobar.com/entries.json")?;
    ensure!(entries.trim() == "[]", "the labs share data: {entries}");
    drop(first);
    second.curl("http://www.foobar.com/up")?;
    drop(second);
    before.compare(&Traces::take()?)
}

fn kill_9_leaves_nothing_running_and_down_cleans() -> Result<(), Failure> {
    let before = Traces::take()?;
    let lab = LabUnderTest::up_as("simple", "killed")?;
    succeed(Command::new("pkill").args(["-9", "-f", "triad lab-holder.*/killed"]))?;
    eventually("the lab's processes gone", Duration::from_secs(5), || {
        let now = Traces::take()?;
        ensure!(now.compare_processes(&before), "some still run");
        Ok(())
    })?;
    drop(lab);
    before.compare(&Traces::take()?)
}

fn an_interrupted_up_leaves_nothing() -> Result<(), Failure> {
    let before = Traces::take()?;
    let mut up = triad();
    up.args(["lab", "up", "--yes", "--name", "interrupted"]).arg(examples().join("simple"));
    let child = up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    eventually("the lab begun", Duration::from_secs(60), || {
        ensure!(labs().join("interrupted/servers").exists(), "no server has a folder yet");
        Ok(())
    })?;
    succeed(Command::new("kill").args(["-INT", &child.id().to_string()]))?;
    let output = child.wait_with_output()?;
    ensure!(!output.status.success(), "an interrupted up must fail");
    let said = text(&output.stderr);
    ensure!(said.contains("interrupted"), "it said: {said}");
    before.compare(&Traces::take()?)
}

fn an_ordinary_user_needs_no_root() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    succeed(Command::new("chmod").arg("0777").arg(folder.path()))?;
    // The user must be able to read the binary and the design wherever this checkout is.
    let binary = folder.path().join("triad");
    std::fs::copy(TRIAD, &binary)?;
    let design = folder.path().join("secured");
    succeed(triad().args(["lab", "build"]).arg(examples().join("secured")))?;
    succeed(Command::new("cp").arg("-r").arg(examples().join("secured")).arg(&design))?;
    let file = design.join("triad.toml");
    let without_build: Vec<String> =
        std::fs::read_to_string(&file)?.lines().filter(|line| !line.starts_with("build")).map(str::to_owned).collect();
    std::fs::write(&file, without_build.join("\n"))?;

    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&binary);
        command.env("TRIAD_LAB_DIR", folder.path().join("labs")).env("HOME", folder.path()).current_dir(folder.path());
        command
    };
    let up = succeed(as_nobody().args(["lab", "up", "--name", "user"]).arg(&design));
    let page = up.and_then(|_| {
        succeed(as_nobody().args([
            "lab",
            "exec",
            "client",
            "--",
            "curl",
            "-sS",
            "--fail",
            "https://www.foobar.com/whoami",
        ]))
    });
    succeed(as_nobody().args(["lab", "down", "--name", "user"]))?;
    let page = page?;
    ensure!(page.contains(r#""server":"srv2""#), "the page said {page}");
    Ok(())
}

fn a_wrong_file_starts_nothing() -> Result<(), Failure> {
    let before = Traces::take()?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("triad.toml"), "schema = 1\n[site]\ndomain = \"foobar.com\"\n[balanser]\n")?;
    let output = triad().args(["lab", "up"]).arg(folder.path()).output()?;
    let said = text(&output.stderr);
    ensure!(output.status.code() == Some(2), "exit code {:?}: {said}", output.status.code());
    ensure!(said.contains("balancer"), "it suggests no name: {said}");
    before.compare(&Traces::take()?)
}
