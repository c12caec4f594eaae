//! What a plan becomes and what is done next, compared whole with files under `tests/golden`.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use support::{design, name, plan};
use triad_database::{
    Account, DatabasePlan, Grant, Layout, Observed, Receiver, Replication, RunAs, Step, accounts, my_cnf, next_steps,
    process, report,
};
use triad_model::{Promotion, Secret};

const SERVICE: RunAs = RunAs { uid: 59_904, gid: 59_904 };
const ROOT: RunAs = RunAs { uid: 0, gid: 0 };
const ADDRESSES: [&str; 3] = ["10.77.0.11", "10.77.0.12", "10.77.0.13"];

fn golden(path: &str, text: &str) {
    triad_golden::compare(Path::new("tests/golden").join(path), text);
}

/// Where the file says who is the primary.
fn on(server: &str, run_as: RunAs) -> DatabasePlan {
    DatabasePlan { by_record: false, ..by_record(server, run_as) }
}

/// Where the cluster's record does.
fn by_record(server: &str, run_as: RunAs) -> DatabasePlan {
    plan(&design(&ADDRESSES, "srv2", &["srv3"]), server, Path::new("/srv/triad"), run_as)
}

#[test]
fn configuration_files() {
    let alone = design(&ADDRESSES[..1], "srv1", &[]);
    let cases = [
        ("primary", on("srv2", SERVICE)),
        ("replica", on("srv3", SERVICE)),
        ("alone", plan(&alone, "srv1", Path::new("/srv/triad"), SERVICE)),
        ("root_in_a_namespace", on("srv2", ROOT)),
        ("by_record", by_record("srv3", SERVICE)),
    ];
    for (case, plan) in cases {
        golden(&format!("my_cnf/{case}.cnf"), &my_cnf(&plan));
    }
}

#[test]
fn the_configuration_file_comes_first_and_no_secret_is_an_argument() {
    let spec = process(&on("srv2", SERVICE));
    assert_eq!(spec.args, ["--defaults-file=/srv/triad/config/my.cnf"]);
    assert_eq!(spec.environment, []);
}

#[test]
fn by_the_record_only_what_a_database_holds_is_looked_after() {
    let plan = by_record("srv2", SERVICE);
    let wanted = wanted(&plan);
    assert_eq!(wanted.len(), 1, "replicas' accounts change from moment to moment: {wanted:?}");
    let steps =
        |observed: &Observed| next_steps(observed, &plan, &wanted).iter().map(Step::to_string).collect::<Vec<_>>();
    let fresh = Observed::default();
    assert_eq!(
        steps(&fresh),
        ["create the schema guest_book", "give guestbook@% its password and 17 privileges on guest\\_book"]
    );
    assert!(steps(&Observed { read_only: true, ..fresh }).is_empty(), "a replica has what its primary has");
}

#[test]
fn a_server_without_the_role_has_no_plan() {
    let layout = Layout { data: "/d".into(), run: "/r".into(), config: "/c".into(), log: "/l".into() };
    let design = design(&ADDRESSES, "srv2", &["srv3"]);
    assert_eq!(DatabasePlan::of(&design, &name("srv1"), layout, SERVICE), None);
}

fn wanted(plan: &DatabasePlan) -> Vec<Account> {
    accounts(plan, &Secret::new("*APP"), &Secret::new("*REPLICATION"))
}

/// A primary as it should be.
fn primary() -> Observed {
    Observed {
        semi_sync_enabled: true,
        logged: "0-2-42".into(),
        schema: true,
        accounts: wanted(&on("srv2", SERVICE)),
        status: status(&[("rpl_semi_sync_master_clients", "1"), ("rpl_semi_sync_master_status", "ON")]),
        ..Observed::default()
    }
}

/// A replica as it should be.
fn replica() -> Observed {
    Observed {
        read_only: true,
        logged: "0-2-42".into(),
        applied: "0-2-42".into(),
        replication: Some(replicating()),
        ..Observed::default()
    }
}

fn replicating() -> Replication {
    Replication {
        host: "10.77.0.12".into(),
        port: 3306,
        user: "triad_replication".into(),
        using_gtid: "Slave_Pos".into(),
        receiver: Receiver::Running,
        applier: true,
        lag_s: Some(0),
        received: String::new(),
        receiver_error: (0, String::new()),
        applier_error: (0, String::new()),
    }
}

fn status(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}

fn a_replica(change: impl FnOnce(&mut Replication)) -> Observed {
    Observed { replication: Some(with(replicating(), change)), ..replica() }
}

fn compare(server: &str, cases: Vec<(&str, Observed)>) {
    let plan = on(server, SERVICE);
    compare_by(&plan, plan.role().as_str(), cases);
}

fn compare_by(plan: &DatabasePlan, role: &str, cases: Vec<(&str, Observed)>) {
    for (case, observed) in cases {
        let told = report(&observed, plan);
        let mut text = format!("{}: {}\n", told.state, told.detail);
        for step in next_steps(&observed, plan, &wanted(plan)) {
            text.push_str(&format!("- {step}\n"));
        }
        golden(&format!("steps/{role}_{case}.txt"), &text);
    }
}

#[test]
fn what_who_was_promoted_by_hand_and_who_was_the_primary_do_next() {
    let design = design(&ADDRESSES, "srv2", &["srv3"]);
    let promotion = Promotion { number: 1, primary: name("srv3"), instead_of: name("srv2") };
    let promoted = |server| on(server, SERVICE).promoted(&design, &promotion).expect("a database");
    let ahead = |seen: &mut Replication| seen.received = "0-2-45".into();
    let ended = |seen: &mut Replication| {
        ahead(seen);
        seen.receiver = Receiver::Stopped;
    };
    let broken = (1062, "Could not execute Write_rows: Duplicate entry '7'".to_owned());
    compare_by(
        &promoted("srv3"),
        "promoted",
        vec![
            ("receives", a_replica(ahead)),
            ("applies", a_replica(ended)),
            ("has_applied", Observed { applied: "0-2-45".into(), ..a_replica(ended) }),
            (
                "cannot_apply",
                a_replica(|seen| {
                    ended(seen);
                    (seen.applier, seen.applier_error) = (false, broken);
                }),
            ),
            (
                "applies_no_more",
                a_replica(|seen| {
                    ended(seen);
                    seen.applier = false;
                }),
            ),
            ("is_free", Observed { replication: None, ..replica() }),
        ],
    );
    let was_primary = Observed { applied: String::new(), ..primary() };
    let follows = |seen: &mut Replication| seen.host = "10.77.0.13".into();
    compare_by(
        &promoted("srv2"),
        "demoted",
        vec![("is_back", was_primary), ("follows", Observed { read_only: true, ..a_replica(follows) })],
    );
}

#[test]
fn what_a_primary_does_next() {
    let anonymous =
        Account { user: String::new(), host: "localhost".into(), password_hash: Secret::new(""), grants: Vec::new() };
    let gone = Account { user: "triad_replication".into(), host: "10.77.0.14".into(), ..anonymous.clone() };
    let off = |clients| status(&[("rpl_semi_sync_master_clients", clients), ("rpl_semi_sync_master_status", "OFF")]);
    compare(
        "srv2",
        vec![
            ("fresh", Observed { read_only: true, ..Observed::default() }),
            ("as_planned", primary()),
            ("restarted", Observed { read_only: true, semi_sync_enabled: false, status: off("0"), ..primary() }),
            ("replica_attached", Observed { semi_sync_enabled: false, status: off("1"), ..primary() }),
            ("replica_left", Observed { status: off("0"), ..primary() }),
            ("replica_stuck", Observed { stuck_replicas: 1, status: off("0"), ..primary() }),
            ("replica_catches_up", Observed { status: off("1"), ..primary() }),
            ("other_password", with(primary(), |seen| seen.accounts[0].password_hash = Secret::new("*OLD"))),
            ("more_privileges", with(primary(), |seen| seen.accounts[0].grants.push(everything()))),
            ("unwanted_accounts", with(primary(), |seen| seen.accounts.extend([anonymous, gone]))),
            (
                "was_a_replica",
                Observed { replication: a_replica(|seen| seen.host = "10.77.0.13".into()).replication, ..primary() },
            ),
        ],
    );
}

fn everything() -> Grant {
    Grant { schema: None, privileges: ["SUPER".to_owned()].into() }
}

#[test]
fn what_a_replica_does_next() {
    let refused = (1045, "error connecting to master: Access denied".to_owned());
    let away = (2003, "error connecting to master: Can't connect".to_owned());
    let purged = (1236, "Got fatal error 1236 from master: the requested position is purged".to_owned());
    let duplicate = (1062, "Could not execute Write_rows: Duplicate entry '7'".to_owned());
    let stopped = |seen: &mut Replication| {
        (seen.receiver, seen.applier, seen.lag_s) = (Receiver::Stopped, false, None);
    };
    let connecting = |seen: &mut Replication| (seen.receiver, seen.lag_s) = (Receiver::Connecting, None);
    compare(
        "srv3",
        vec![
            ("seeded", Observed { replication: None, seed_position: Some("0-2-7".into()), ..replica() }),
            ("seeded_at_the_beginning", Observed { replication: None, seed_position: Some("".into()), ..replica() }),
            ("as_planned", replica()),
            ("writable", Observed { read_only: false, ..replica() }),
            ("waits_for_acknowledgement", Observed { semi_sync_enabled: true, ..replica() }),
            ("restarted", a_replica(stopped)),
            ("crashed_in_ddl", Observed { logged: "0-2-43".into(), ..a_replica(stopped) }),
            ("wrote_itself", Observed { logged: "0-3-43".into(), ..a_replica(stopped) }),
            ("behind", a_replica(|seen| seen.lag_s = Some(25))),
            ("of_another_primary", a_replica(|seen| seen.host = "10.77.0.11".into())),
            ("without_gtid", a_replica(|seen| seen.using_gtid = "No".into())),
            ("connecting", a_replica(connecting)),
            ("primary_away", with(a_replica(connecting), |seen| error(seen).receiver_error = away)),
            ("password_refused", with(a_replica(connecting), |seen| error(seen).receiver_error = refused)),
            (
                "position_purged",
                with(a_replica(stopped), |seen| {
                    error(seen).applier = true;
                    error(seen).receiver_error = purged;
                }),
            ),
            (
                "apply_failed",
                with(a_replica(|seen| seen.applier = false), |seen| {
                    error(seen).applier_error = duplicate;
                }),
            ),
            ("data_of_its_own", Observed { replication: None, ..replica() }),
        ],
    );
}

fn error(seen: &mut Observed) -> &mut Replication {
    seen.replication.as_mut().expect("it replicates")
}
