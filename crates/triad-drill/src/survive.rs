//! The survival table as scenarios: one for each row that a lab can produce, as text, so that it can be read, kept and
//! run again.

use std::fmt::Write;

use triad_check::survival::{Fault, Outcome, Prediction, Process, Survival, sentence, survival};
use triad_model::Design;

/// The fault begins so long after the load, in milliseconds.
const BEGINS_MS: u64 = 2_000;
/// What is watched beyond the predicted pause, in milliseconds.
const MARGIN_MS: u64 = 2_500;
/// How long a fault is watched that nobody but an operator mends, in milliseconds.
const STOP_MS: u64 = 3_000;
/// By when, after the fault has ended, all must be healthy, in seconds.
const HEAL_S: u64 = 30;

/// A row of the survival table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What dies, in the table's words.
    pub id: String,
    /// The text of its scenario, or why a lab cannot produce it.
    pub scenario: Result<String, &'static str>,
}

/// Every row of the survival table of `design`, which is found in `folder`.
pub fn rows(folder: &str, design: &Design) -> Vec<Row> {
    let row = |prediction: Prediction| Row { scenario: scenario(&prediction, folder, design), id: prediction.id };
    survival(design).into_iter().map(row).collect()
}

fn scenario(prediction: &Prediction, folder: &str, design: &Design) -> Result<String, &'static str> {
    let (begins, ends) = steps(&prediction.fault, design)?;
    let kinds = [
        Some(("30 reads/s", "reads", &prediction.reads)),
        design.database.as_ref().map(|_| ("10 writes/s", "writes", &prediction.writes)),
        prediction.files.as_ref().map(|files| ("10 files/s", "files", files)),
    ];
    let kinds: Vec<_> = kinds.into_iter().flatten().collect();
    let rates: Vec<&str> = kinds.iter().map(|(rate, ..)| *rate).collect();
    let mut text = String::new();
    for (_, kind, outcome) in &kinds {
        line(&mut text, format_args!("# {kind} {}.", sentence(outcome)));
    }
    line(&mut text, format_args!("design {folder}\nload {} over new connections", rates.join(", ")));
    for fault in begins {
        line(&mut text, format_args!("after {BEGINS_MS} ms {fault}"));
    }
    let watched_ms = kinds.iter().map(|(_, _, outcome)| watched_ms(outcome)).max().unwrap_or(STOP_MS);
    match ends {
        Some(end) => line(&mut text, format_args!("after {} ms {end}", BEGINS_MS + watched_ms)),
        None => line(&mut text, format_args!("within {watched_ms} ms reads succeed")),
    }
    line(&mut text, format_args!("within {HEAL_S} s all healthy\npromise 0 lost writes"));
    Ok(text)
}

fn watched_ms(outcome: &Outcome) -> u64 {
    match outcome.survival {
        Survival::Untouched | Survival::AtOnce => MARGIN_MS,
        Survival::Within(ms) => ms + MARGIN_MS,
        Survival::SomeFail | Survival::AllFail => STOP_MS,
    }
}

type Steps = (Vec<String>, Option<String>);

/// What begins `fault`, and what ends it.
fn steps(fault: &Fault, design: &Design) -> Result<Steps, &'static str> {
    let lasting = |begin: String, end: String| Ok((vec![begin], Some(end)));
    match fault {
        Fault::Server(server) => lasting(format!("kill server {server}"), format!("start server {server}")),
        Fault::Link(first, second) => {
            lasting(format!("cut {first} from {second}"), format!("join {first} to {second}"))
        }
        Fault::PrivateLink(server) => network(&format!("{server} from private"), &format!("{server} to private")),
        Fault::PublicLink(server) => network(&format!("{server} from public"), &format!("{server} to public")),
        Fault::PrivateNetwork => network("private", "private"),
        Fault::PublicNetwork => network("public", "public"),
        Fault::Process { process: Process::App, server } => {
            let instances = design.app.as_ref().map_or(0, |app| app.instances);
            Ok(((1..=instances).map(|number| format!("kill app-{number} on {server}")).collect(), None))
        }
        Fault::Process { process, server } => Ok((vec![format!("kill {} on {server}", name(*process))], None)),
        Fault::EtcdOnMost | Fault::DatabaseServers(_) => Err("several servers at once are for a scenario of their own"),
        Fault::Disk(_) => Err("nothing gives a destroyed database back to a running agent yet"),
        Fault::Certificate => Err("a certificate expires by the clock, which a lab shares with its host"),
    }
}

fn network(cut: &str, join: &str) -> Result<Steps, &'static str> {
    Ok((vec![format!("cut {cut} network")], Some(format!("join {join} network"))))
}

fn name(process: Process) -> &'static str {
    match process {
        Process::Edge => "edge",
        Process::Dns => "dns",
        Process::App | Process::Instance => "app-1",
        Process::Primary | Process::Replica => "mariadbd",
        Process::Agent => "agent",
        Process::Etcd => "etcd",
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use triad_check::survival::survival;
    use triad_model::{Design, Server, ServerName};

    use super::rows;
    use crate::parse::parse;
    use crate::predict::predictions;

    /// Two servers with everything, the second passive.
    fn design() -> Design {
        let text = r#"{"site": {"domain": "foobar.com", "hosts": ["foobar.com"]},
            "servers": [{"name": "a", "public": ["203.0.113.11"], "private": "10.0.0.1"},
                        {"name": "b", "public": ["203.0.113.12"], "private": "10.0.0.2"}],
            "dns": {"servers": ["a", "b"], "ttl_s": 30},
            "balancer": {"servers": ["a"], "algorithm": "roundrobin",
                "backends": [{"server": "a", "weight": 1, "backup": false}, {"server": "b", "weight": 1, "backup": true}],
                "health": {"path": "/up", "interval_ms": 500, "timeout_ms": 500, "rise": 2, "fall": 2}},
            "web": {"servers": ["a", "b"], "root": "public"},
            "app": {"servers": ["a", "b"], "build": null, "directory": "app", "command": "x", "instances": 2,
                "health": "/up", "environment": {}},
            "database": {"primary": "b", "replicas": ["a"], "name": "foobar", "user": "foobar"}}"#;
        serde_json::from_str(text).expect("a design")
    }

    #[test]
    fn every_row_is_a_scenario_whose_prediction_is_the_rows() {
        assert_eq!(not_drilled(&design()), 2, "the disks of a and b");
        let mut third = design();
        let name = ServerName::new("c").expect("a name");
        third.servers.push(Server { name, public: Vec::new(), private: "10.0.0.3".parse().ok() });
        assert!(third.fails_over());
        assert_eq!(not_drilled(&third), 4, "the disks, both databases at once, and two voters at once");
    }

    #[test]
    fn what_comes_while_a_process_may_still_be_away_is_not_predicted() {
        let predicted = |then_ms: u32| {
            let text = format!(
                "design x.toml\nload 20 reads/s over new connections\nafter 3 s kill mariadbd on b\nafter {then_ms} ms kill agent on a\n\
                 promise 0 lost writes\n"
            );
            let scenario = parse("two", &text).expect("a scenario");
            predictions(&scenario, &design()).iter().map(Option::is_some).collect::<Vec<_>>()
        };
        assert_eq!((predicted(3_400), predicted(5_000)), (vec![true, false], vec![true, true]));
    }

    /// Rows of `design` that no scenario is made of; the others are right.
    fn not_drilled(design: &Design) -> usize {
        let rows = rows(".", design);
        let table = survival(design);
        assert_eq!(rows.len(), table.len());
        let mut drilled = 0;
        for (row, expected) in rows.iter().zip(table) {
            let Ok(text) = &row.scenario else { continue };
            let scenario = parse(&row.id, text).unwrap_or_else(|mistakes| panic!("{mistakes:?} in\n{text}"));
            assert_eq!(scenario.mistakes(design), [], "{text}");
            let predicted: Vec<_> = predictions(&scenario, design).into_iter().flatten().collect();
            assert_eq!(predicted, [expected], "{text}");
            drilled += 1;
        }
        rows.len() - drilled
    }
}
