//! The database of the `secured` design takes over by itself, and is handed over.

use std::time::Duration;

use crate::harness::{Failure, LabUnderTest, eventually, succeed, triad};
use crate::{LabCase, ensure};

const SITE: &str = "https://www.foobar.com";
/// Whatever heals by itself. How fast it does is what drills measure; here a busy machine must not fail a case.
const HEAL_LIMIT: Duration = Duration::from_secs(30);

pub const CASES: &[LabCase] = &[
    ("the_replica_takes_over_with_every_acknowledged_write", the_replica_takes_over),
    ("an_operator_hands_the_database_over", an_operator_hands_over),
    ("the_databases_are_started_anew_one_after_the_other", the_databases_are_started_anew),
    ("writes_go_on_without_the_primarys_agent", writes_go_on_without_the_primarys_agent),
];

/// What `server` knows of who is the primary.
fn record(lab: &LabUnderTest, server: &str) -> Result<serde_json::Value, Failure> {
    Ok(lab.report(server)?["database"]["failover"].clone())
}

fn primary(lab: &LabUnderTest) -> Result<String, Failure> {
    let known = [record(lab, "srv2"), record(lab, "srv3")].into_iter().flatten();
    let newest = known.max_by_key(|record| record["version"].as_u64());
    let name = newest.as_ref().and_then(|record| record["primary"].as_str());
    name.map(str::to_owned).ok_or_else(|| Failure(format!("nobody says who is the primary: {newest:?}")))
}

/// Waits until both have every acknowledged write, by the record.
fn is_whole(lab: &LabUnderTest) -> Result<(), Failure> {
    let probe = || {
        let record = record(lab, "srv2")?;
        ensure!(record["in_sync"].as_array().map(Vec::len) == Some(2), "in sync are: {record}");
        Ok(())
    };
    eventually("both in sync", HEAL_LIMIT, probe).map(drop)
}

fn switchover(lab: &LabUnderTest, arguments: &[&str]) -> Result<String, Failure> {
    succeed(triad().args(["switchover", "--lab", lab.name()]).args(arguments))
}

fn an_operator_hands_over(lab: &LabUnderTest) -> Result<(), Failure> {
    is_whole(lab)?;
    let from = primary(lab)?;
    let to = if from == "srv3" { "srv2" } else { "srv3" };
    for (wrong, why) in [(from.as_str(), "is the primary already"), ("srv1", "is not in sync")] {
        let Err(Failure(said)) = switchover(lab, &[wrong]) else { return Err(Failure("it was done".to_owned())) };
        ensure!(said.contains(why), "{wrong}: {said}");
    }
    let said = switchover(lab, &["--dry-run"])?;
    ensure!(said == format!("{to} would take over from {from}; nothing is changed\n"), "{said}");
    ensure!(primary(lab)? == from, "it was done");

    let relayed = |what: &str| -> Result<u64, Failure> {
        let of =
            |server: &str| Ok::<_, Failure>(lab.report(server)?["edge"]["relay"][what].as_u64().unwrap_or_default());
        Ok(of("srv2")? + of("srv3")?)
    };
    let sign = || lab.curl(&format!("-o /dev/null --data-urlencode name=a --data-urlencode text=b {SITE}/entries"));
    sign()?;
    let pooled = || if relayed("open")? > 0 { Ok(()) } else { Err(Failure("none is open".to_owned())) };
    eventually("the application keeps its connections", HEAL_LIMIT, pooled)?;
    let (carried, cut) = (relayed("carried")?, relayed("cut")?);
    let said = switchover(lab, &[to])?;
    ensure!(said.starts_with(&format!("{to} is the primary, {from} its replica; writes were held for ")), "{said}");
    sign()?;
    let carries = || {
        let now = (relayed("carried")?, relayed("cut")?);
        ensure!(now.0 > carried && now.1 == cut, "carried, cut: {carried}, {cut}, now {now:?}");
        Ok(())
    };
    eventually("its connections are carried over", HEAL_LIMIT, carries)?;
    lab.await_health()?;
    is_whole(lab)?;
    let table = succeed(triad().args(["status", "database", "--lab", lab.name()]))?;
    ensure!(table.contains(&format!("{to}    primary  healthy")), "{table}");
    ensure!(table.contains("a majority vouches for it"), "{table}");
    Ok(())
}

fn the_databases_are_started_anew(lab: &LabUnderTest) -> Result<(), Failure> {
    is_whole(lab)?;
    let pids = || Ok::<_, Failure>([lab.pid("srv2", "mariadbd")?, lab.pid("srv3", "mariadbd")?]);
    let before = pids()?;
    let said = succeed(triad().args(["restart", "database", "--lab", lab.name()]))?;
    ensure!(said.matches("is started anew, and has every write again").count() == 2, "{said}");
    let after = pids()?;
    ensure!(before[0] != after[0] && before[1] != after[1], "{before:?} are {after:?}");
    lab.await_health().map(drop)
}

fn writes_go_on_without_the_primarys_agent(lab: &LabUnderTest) -> Result<(), Failure> {
    is_whole(lab)?;
    if primary(lab)? == "srv2" {
        switchover(lab, &["srv3"])?;
        is_whole(lab)?;
    }
    // mariadbd dies with it, and nobody says so: its heartbeats stop.
    lab.run("srv3", "pkill -9 -f 'triad [a]gent'")?;
    let sign = format!("-o /dev/null --data-urlencode name=c --data-urlencode text=d {SITE}/entries");
    eventually("a write", HEAL_LIMIT, || lab.curl(&sign))?;
    lab.await_health()?;
    // Who is the primary now is open: the replica took over, or the agent was back before.
    is_whole(lab)
}

fn the_replica_takes_over(lab: &LabUnderTest) -> Result<(), Failure> {
    is_whole(lab)?;
    let before = primary(lab)?;
    let post = |name: &str| {
        format!(
            "curl -s -o /dev/null -w '%{{http_code}}\\n' --max-time 8 --data-urlencode name={name} --data-urlencode text=x {SITE}/entries"
        )
    };
    let script = format!("for i in $(seq 40); do echo $i $({}); done", post("write-$i"));
    let writer = std::thread::scope(|scope| -> Result<String, Failure> {
        let writer = scope.spawn(|| lab.run("client", &script));
        let killed = lab.kill_process(&before, "mariadbd");
        let written = writer.join().map_err(|_| Failure("the writer panicked".to_owned()))??;
        killed?;
        Ok(written)
    })?;
    lab.await_health()?;
    ensure!(primary(lab)? != before, "{before} is the primary still");
    let entries = lab.curl(&format!("'{SITE}/entries.json?limit=1000'"))?;
    let acknowledged: Vec<&str> = writer.lines().filter_map(|line| line.strip_suffix(" 303")).collect();
    ensure!(!acknowledged.is_empty(), "nothing was written:\n{writer}");
    for number in &acknowledged {
        ensure!(
            entries.contains(&format!(r#""name":"write-{number}""#)),
            "write-{number} was acknowledged and is lost"
        );
    }
    is_whole(lab)?;
    // The old primary has the same.
    let count = "SELECT COUNT(*) FROM foobar.entries";
    let socket = |server: &str| lab.directory().join(format!("servers/{server}/run/database/mariadbd.sock"));
    let rows =
        |server: &str| lab.run(server, &format!("mariadb --socket={} -N -e '{count}'", socket(server).display()));
    eventually("both equal", HEAL_LIMIT, || {
        let (primary, replica) = (rows("srv3")?, rows("srv2")?);
        ensure!(primary == replica, "{primary} on srv3, {replica} on srv2");
        Ok(())
    })
    .map(drop)
}
