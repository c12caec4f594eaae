//! The agent without a lab: in a plain network namespace, as on a host of one's own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Failure, TRIAD, eventually, examples, succeed, text};
use crate::{Case, ensure};

pub const CASES: &[Case] =
    &[("standalone::an_agent_runs_a_server_without_a_lab", an_agent_runs_a_server_without_a_lab)];

/// A network namespace with the server's address, and an agent in it.
struct Host {
    folder: tempfile::TempDir,
    init: Child,
}

impl Host {
    fn start() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("triad-host-").tempdir_in("/var/tmp")?;
        install_design(folder.path())?;
        let script = format!(
            "ip link set lo up && ip address add 203.0.113.11/32 dev lo && \
             {{ {TRIAD} agent --server srv1 -c {0}/etc --state {0}/state --run {0}/run 2>{0}/agent.log; \
             echo $? >{0}/exit; }} & echo $! >{0}/started; exec sleep 1000",
            folder.path().display()
        );
        let init = Command::new("unshare")
            .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", &script])
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self { folder, init })
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a script in the host's namespaces.
    fn run(&self, script: &str) -> Result<String, Failure> {
        let children = succeed(Command::new("pgrep").args(["-P", &self.init.id().to_string()]))?;
        let target = children.lines().next().unwrap_or_default().to_owned();
        succeed(
            Command::new("nsenter").args(["--target", &target, "--net", "--pid", "--mount", "--", "sh", "-c", script]),
        )
    }

    /// `triad status` there: exit code and output.
    fn status(&self) -> Result<(Option<i32>, String), Failure> {
        let output = Command::new(TRIAD).args(["status", "--run"]).arg(self.path("run")).output()?;
        Ok((output.status.code(), text(&output.stdout) + &text(&output.stderr)))
    }

    fn exit_code(&self) -> Result<String, Failure> {
        let limit = Duration::from_secs(20);
        let (code, _) = eventually("the agent ended", limit, || Ok(std::fs::read_to_string(self.path("exit"))?))?;
        Ok(code.trim().to_owned())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The namespace's first process takes everything in it along.
        let _ = self.init.kill();
        let _ = self.init.wait();
    }
}

/// The `simple` design, as an operator would lay it down under /etc.
fn install_design(folder: &Path) -> Result<(), Failure> {
    succeed(Command::new("chmod").arg("0755").arg(folder))?;
    succeed(Command::new(TRIAD).args(["lab", "build"]).arg(examples().join("simple")))?;
    succeed(Command::new("cp").arg("-r").arg(examples().join("simple")).arg(folder.join("etc")))?;
    Ok(())
}

fn an_agent_runs_a_server_without_a_lab() -> Result<(), Failure> {
    let host = Host::start()?;
    eventually("status healthy", Duration::from_secs(30), || {
        let (code, said) = host.status()?;
        ensure!(code == Some(0), "exit code {code:?}: {said}{}", std::fs::read_to_string(host.path("agent.log"))?);
        Ok(())
    })?;
    let page = host.run("curl -sS --fail --max-time 5 -H 'Host: www.foobar.com' http://203.0.113.11/")?;
    ensure!(page.contains("served by srv1, instance 1"), "the page is {page}");
    let answer = host.run("dig +short www.foobar.com @203.0.113.11")?;
    ensure!(answer == "foobar.com.\n203.0.113.11\n", "the answer is {answer}");

    a_taken_port_stops_another_agent(&host)?;
    host.run("pkill -TERM -x triad")?;
    let code = host.exit_code()?;
    ensure!(code == "0", "the agent ended with {code}: {}", std::fs::read_to_string(host.path("agent.log"))?);
    let left = host.run("ps -eo comm= | grep -c -E 'mariadbd|guestbook|triad' || true")?;
    ensure!(left.trim() == "0", "{left} processes outlived the agent");
    let (code, said) = host.status()?;
    ensure!(code == Some(3), "status of nothing gave {code:?}: {said}");
    Ok(())
}

/// A second agent on the same host names the first, and has made nothing before it says so.
fn a_taken_port_stops_another_agent(host: &Host) -> Result<(), Failure> {
    let folder = host.folder.path().display();
    let second =
        format!("{TRIAD} agent --server srv1 -c {folder}/etc --state {folder}/state2 --run {folder}/run2 2>&1 || true");
    let said = host.run(&second)?;
    ensure!(said.contains("tcp port 80 of 203.0.113.11 is taken by triad (pid "), "it said: {said}");
    ensure!(!host.path("state2/database").exists(), "it made a database all the same");
    Ok(())
}
