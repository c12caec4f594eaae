//! Two servers: nobody decides who is the primary but the file, and an operator.

use std::time::Duration;

use triad_lab::LinkState;

use crate::harness::{Failure, LabUnderTest, eventually, succeed, triad};
use crate::{Case, ensure};

const SITE: &str = "https://www.foobar.com";
const HEAL_LIMIT: Duration = Duration::from_secs(30);

pub const CASES: &[Case] = &[("by_hand::a_replica_is_promoted_and_the_old_primary_follows", a_replica_is_promoted)];

/// `secured` without its third server: srv2 is the primary, srv1 its replica.
fn of_two(text: String) -> String {
    let changes = [
        ("[servers.srv3]\nprivate = \"10.77.0.13\"\n", ""),
        ("srv3 = { backup = true }", "srv1 = { backup = true }"),
        ("servers = [\"srv2\", \"srv3\"]", "servers = [\"srv2\", \"srv1\"]"),
        ("primary = \"srv3\"", "primary = \"srv2\""),
        ("replicas = [\"srv2\"]", "replicas = [\"srv1\"]"),
    ];
    changes.iter().fold(text, |text, (old, new)| text.replace(old, new))
}

fn promote(lab: &LabUnderTest, server: &str) -> Result<String, Failure> {
    let run = lab.directory().join("servers").join(server).join("run");
    succeed(triad().args(["promote", "--run"]).arg(run))
}

/// What `server` says of its database.
fn said(lab: &LabUnderTest, server: &str) -> Result<String, Failure> {
    Ok(lab.report(server)?["database"]["detail"].as_str().unwrap_or_default().to_owned())
}

fn until(lab: &LabUnderTest, server: &str, wanted: &str) -> Result<(), Failure> {
    let probe = || {
        let said = said(lab, server)?;
        if said.starts_with(wanted) { Ok(()) } else { Err(Failure(said)) }
    };
    eventually(&format!("{server} says {wanted:?}"), HEAL_LIMIT, probe).map(drop)
}

fn write(lab: &LabUnderTest, text: &str) -> Result<(), Failure> {
    let sign = format!("-o /dev/null --data-urlencode name=a --data-urlencode text={text} {SITE}/entries");
    eventually("a write", HEAL_LIMIT, || lab.curl(&sign)).map(drop)
}

fn rows(lab: &LabUnderTest, server: &str) -> Result<String, Failure> {
    let socket = lab.directory().join(format!("servers/{server}/run/database/mariadbd.sock"));
    let texts = "SELECT GROUP_CONCAT(text ORDER BY id) FROM foobar.entries";
    Ok(lab.run(server, &format!("mariadb --socket={} -N -e '{texts}'", socket.display()))?.trim().to_owned())
}

fn a_replica_is_promoted() -> Result<(), Failure> {
    let lab = LabUnderTest::up_changed("secured", "by-hand", of_two)?;
    lab.await_health()?;
    write(&lab, "before")?;
    for (server, why) in [("srv1", "srv2 is the primary, and its agent answers"), ("srv2", "the primary already")] {
        let Err(Failure(refused)) = promote(&lab, server) else { return Err(Failure("it was done".to_owned())) };
        ensure!(refused.contains(why), "{server}: {refused}");
    }

    lab.power(&["srv2"], false)?;
    let done = promote(&lab, "srv1")?;
    ensure!(done.starts_with("srv1 is the primary, and takes writes"), "{done}");
    write(&lab, "meanwhile")?;

    // The file that it comes back with names it as the primary.
    lab.power(&["srv2"], true)?;
    until(&lab, "srv2", "replicating from srv1")?;
    write(&lab, "afterwards")?;
    let all = rows(&lab, "srv1")?;
    ensure!(all.starts_with("before,meanwhile") && all.ends_with("afterwards"), "{all}");
    eventually("both have the same", HEAL_LIMIT, || {
        let copy = rows(&lab, "srv2")?;
        if copy == all { Ok(()) } else { Err(Failure(copy)) }
    })?;

    // It outlives agents, and is forgotten when the file says the same.
    for server in ["srv1", "srv2"] {
        lab.run(server, "pkill -9 -f 'triad [a]gent'")?;
    }
    until(&lab, "srv1", "primary; 1 replica acknowledges; srv1 was promoted by hand")?;
    let file = lab.directory().join("design/triad.toml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("\"srv2\"\nreplicas = [\"srv1\"]", "\"srv1\"\nreplicas = [\"srv2\"]"))?;
    for server in ["srv1", "srv2"] {
        lab.run(server, "pkill -9 -f 'triad [a]gent'")?;
    }
    let settled = || match said(&lab, "srv1")? {
        said if said == "primary; 1 replica acknowledges" => Ok(()),
        said => Err(Failure(said)),
    };
    eventually("srv1 to be the primary by the file", HEAL_LIMIT, settled)?;
    lab.await_health()?;
    write(&lab, "by-the-file")?;

    // One that was only cut off hears of it later, while it runs.
    lab.link("srv1", LinkState::Down)?;
    let done = promote(&lab, "srv2")?;
    ensure!(done.starts_with("srv2 is the primary"), "{done}");
    lab.link("srv1", LinkState::Up)?;
    until(&lab, "srv1", "replicating from srv2")?;
    write(&lab, "over-the-link")?;
    lab.await_health()?;
    lab.down()
}
