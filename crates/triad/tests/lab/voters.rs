//! Three servers vote on which database is the primary: what they agree on outlives any one of them.

use std::time::Duration;

use crate::harness::{Failure, LabUnderTest, eventually, succeed, triad};
use crate::{LabCase, ensure};

/// Whatever heals by itself, on a busy machine.
const HEAL_LIMIT: Duration = Duration::from_secs(30);

pub const CASES: &[LabCase] = &[
    ("what_is_agreed_upon_outlives_a_dead_voter", outlives_a_dead_voter),
    ("a_voter_that_lost_its_disk_votes_anew", a_voter_that_lost_its_disk),
    ("voters_that_lost_it_all_begin_anew", voters_that_lost_it_all),
    ("a_file_that_was_replaced_is_refused", a_file_that_was_replaced),
];

/// A voter that answers nothing, then one that is killed.
fn outlives_a_dead_voter(lab: &LabUnderTest) -> Result<(), Failure> {
    lab.await_health()?;
    let old = lab.pid("srv1", "etcd")?;
    lab.run("srv1", &format!("kill -STOP {old}"))?;
    let written = eventually("a write without srv1", HEAL_LIMIT, || etcdctl(lab, "put drilled yes"));
    let agreed = eventually("srv2 to hear of a majority", HEAL_LIMIT, || {
        let line = coordination(lab, "srv2")?;
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

/// Two of three disks are gone, and on one of those servers also what it remembered of the record: the one that would make
/// the first record of a new site. What users wrote is there afterwards.
fn voters_that_lost_it_all(lab: &LabUnderTest) -> Result<(), Failure> {
    const SITE: &str = "https://www.foobar.com";
    const ALL: [&str; 3] = ["srv1", "srv2", "srv3"];
    lab.await_health()?;
    lab.curl(&format!("-o /dev/null --data-urlencode name=kept --data-urlencode text=kept {SITE}/entries"))?;
    let of = |server: &str, part: &str| lab.directory().join("servers").join(server).join(part);
    let voters = |words: &[&str]| succeed(triad().arg("voters").args(words));
    let restore = |words: &[&str]| voters(&[&["restore", "--lab", lab.name()], words].concat());

    let copy = of("srv1", "snapshot.json").display().to_string();
    voters(&["snapshot", "--lab", lab.name(), &copy])?;
    let kept: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&copy)?)?;
    let record: serde_json::Value =
        serde_json::from_str(kept["values"]["triad/database/primary"].as_str().unwrap_or_default())?;
    let Err(Failure(refused)) = restore(&[]) else { return Err(Failure("a record was replaced".to_owned())) };
    ensure!(refused.contains("there is nothing to put back"), "{refused}");
    let forget = |server: &str| {
        let (state, run) = (of(server, "state").display().to_string(), of(server, "run").display().to_string());
        voters(&["forget", "--state", &state, "--run", &run])
    };
    let Err(Failure(refused)) = forget("srv2") else { return Err(Failure("it forgot while it voted".to_owned())) };
    ensure!(refused.contains("stop it first"), "{refused}");

    lab.power(&ALL, false)?;
    for server in ["srv1", "srv3"] {
        std::fs::remove_dir_all(of(server, "state/etcd"))?;
    }
    std::fs::remove_file(of("srv3", "state/database/record.json"))?;
    let forgotten = ALL.map(forget).into_iter().collect::<Result<Vec<_>, _>>()?;
    ensure!(forgotten[1].contains("votes anew") && forgotten[0].contains("nothing to forget"), "{forgotten:?}");
    lab.power(&ALL, true)?;

    let (shown, _) = eventually("the voters to have begun anew", HEAL_LIMIT, || restore(&["--dry-run"]))?;
    eventually("srv3 to begin no new site", HEAL_LIMIT, || {
        let known = lab.report("srv3")?["database"]["failover"].clone();
        ensure!(
            known["why"].as_str().is_some_and(|why| why.contains("remembers one: `triad voters restore`")),
            "{known}"
        );
        Ok(())
    })?;
    let epoch = record["epoch"].as_u64().unwrap_or_default();
    let primary = record["primary"].as_str().unwrap_or_default();
    ensure!(shown.starts_with(&format!("{primary} would be the primary, in epoch {epoch}")), "{shown}, not {record}");
    let said = restore(&["--from", &copy])?;
    ensure!(said.starts_with(&format!("{primary} is the primary, in epoch {epoch}")), "{said}");
    lab.await_health()?;
    let page = lab.curl(&format!("{SITE}/"))?;
    ensure!(page.contains("kept"), "what was written is gone: {page}");
    Ok(())
}

/// All servers of a lab read one file: what srv1 takes up makes stale what srv2 works from.
fn a_file_that_was_replaced(lab: &LabUnderTest) -> Result<(), Failure> {
    lab.await_health()?;
    let file = lab.directory().join("design/triad.toml");
    let log = lab.directory().join("servers/srv1/agent.log");
    let before = std::fs::read_to_string(&file)?;
    std::fs::write(&file, before.clone() + "# changed\n")?;
    let changed = lab.apply("srv1");
    let is_stale = |server| {
        let line = coordination(lab, server)?;
        ensure!(line["state"] == "degraded" && line.to_string().contains("copy it from there"), "{line}");
        Ok(())
    };
    let stale = eventually("srv2 to say that its file is stale", HEAL_LIMIT, || is_stale("srv2"));
    std::fs::write(&file, &before)?;
    let logged = std::fs::metadata(&log)?.len() as usize;
    let refused = lab.run("srv1", "kill -HUP $(pgrep -o -f 'triad agent')").and_then(|_| {
        eventually("srv1 to refuse the file", HEAL_LIMIT, || {
            let text = std::fs::read_to_string(&log)?;
            ensure!(text[logged..].contains("changes nothing: this file was generation"), "{}", &text[logged..]);
            Ok(())
        })
    });
    let back = lab.apply("srv1");
    stale?;
    refused?;
    let generation = |said: &str| said.split_whitespace().rev().nth(3).and_then(|word| word.parse::<u64>().ok());
    let (changed, back) = (changed?, back?);
    ensure!(generation(&changed).map(|number| number + 1) == generation(&back), "{changed}{back}");
    lab.await_health().map(drop)
}

/// How agreeing goes, as `server` says.
fn coordination(lab: &LabUnderTest, server: &str) -> Result<serde_json::Value, Failure> {
    let roles = lab.report(server)?["roles"].as_array().cloned().unwrap_or_default();
    Ok(roles.into_iter().find(|role| role["role"] == "coordination").unwrap_or_default())
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
