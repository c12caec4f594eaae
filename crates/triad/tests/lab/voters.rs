//! Three servers vote on which database is the primary: what they agree on outlives any one of them.

use std::time::Duration;

use crate::harness::{Failure, LabUnderTest, eventually};
use crate::{LabCase, ensure};

/// Whatever heals by itself, on a busy machine.
const HEAL_LIMIT: Duration = Duration::from_secs(30);

pub const CASES: &[LabCase] = &[
    ("what_is_agreed_upon_outlives_a_dead_voter", outlives_a_dead_voter),
    ("a_voter_that_lost_its_disk_votes_anew", a_voter_that_lost_its_disk),
];

/// A voter that answers nothing, then one that is killed.
fn outlives_a_dead_voter(lab: &LabUnderTest) -> Result<(), Failure> {
    lab.await_health()?;
    let old = lab.pid("srv1", "etcd")?;
    lab.run("srv1", &format!("kill -STOP {old}"))?;
    let written = eventually("a write without srv1", HEAL_LIMIT, || etcdctl(lab, "put drilled yes"));
    let agreed = eventually("srv2 to hear of a majority", HEAL_LIMIT, || {
        let report = lab.report("srv2")?;
        let roles = report["roles"].as_array().cloned().unwrap_or_default();
        let line = roles.iter().find(|role| role["role"] == "coordination").cloned().unwrap_or_default();
        if line["state"] == "healthy" { Ok(()) } else { Err(Failure(line.to_string())) }
    });
    lab.run("srv1", &format!("kill -9 {old}"))?;
    written?;
    agreed?;
    eventually("etcd to be started again", HEAL_LIMIT, || match lab.pid("srv1", "etcd")? {
        pid if pid == old => Err(Failure(format!("it is still {pid}"))),
        _ => Ok(()),
    })?;
    lab.await_health()?;
    ensure!(etcdctl(lab, "get --print-value-only drilled")?.trim() == "yes", "the write is gone");
    Ok(())
}

/// All that etcd had is gone, and all that its agent remembered of it.
fn a_voter_that_lost_its_disk(lab: &LabUnderTest) -> Result<(), Failure> {
    lab.await_health()?;
    let before = member_id(lab)?;
    let folder = lab.directory().join("servers/srv1/state/etcd");
    std::fs::remove_dir_all(&folder)?;
    lab.run("srv1", "pkill -9 -f 'triad [a]gent'")?;
    eventually("srv1 to vote anew", HEAL_LIMIT, || match member_id(lab)? {
        id if id == before => Err(Failure(format!("it is still {id}"))),
        _ => Ok(()),
    })?;
    lab.await_health()?;
    let remembered = std::fs::read_to_string(folder.join("voting"))?;
    ensure!(remembered.contains("member"), "it remembers {remembered}");
    Ok(())
}

/// The number under which the voters list srv1, once it has started.
fn member_id(lab: &LabUnderTest) -> Result<String, Failure> {
    let members = etcdctl(lab, "member list")?;
    let line = members.lines().find(|line| line.contains(", started, srv1,"));
    let id = line.and_then(|line| line.split(',').next());
    id.map(str::to_owned).ok_or_else(|| Failure(format!("srv1 is not listed: {members}")))
}

/// Asks srv2's etcd, as an operator would.
fn etcdctl(lab: &LabUnderTest, command: &str) -> Result<String, Failure> {
    let folder = lab.directory().join("servers/srv2/state/etcd");
    let file = |name: &str| folder.join(name).display().to_string();
    let [authority, certificate, key] = ["authority.pem", "server.pem", "server.key"].map(file);
    let identity = format!("--cacert {authority} --cert {certificate} --key {key}");
    lab.run("srv2", &format!("ETCDCTL_API=3 etcdctl --endpoints https://10.77.0.12:2379 {identity} {command}"))
}
