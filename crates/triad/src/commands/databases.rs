//! What `triad status database` prints.

use triad_api::DesignReport;
use triad_model::{DatabaseReport, DatabaseRole, FailoverReport, FailoverTimes, ServerName};

use crate::print;

const HEADING: [&str; 8] = ["SERVER", "ROLE", "STATE", "POSITION", "BEHIND", "LAG S", "IN SYNC", "WHAT"];

/// The databases of `report`, with their servers.
pub fn of(report: &DesignReport) -> impl Iterator<Item = (&ServerName, &DatabaseReport)> {
    report.servers.iter().filter_map(|answer| Some((&answer.server, answer.report.as_ref()?.database.as_ref()?)))
}

/// A table of them, and what they agree on.
pub fn text(databases: &[(&ServerName, &DatabaseReport)]) -> String {
    let mut table = vec![HEADING.map(str::to_owned).to_vec()];
    table.extend(databases.iter().map(|(server, database)| row(server, database)));
    let newest = databases.iter().filter_map(|(_, database)| database.failover.as_ref()).max_by_key(|it| it.version);
    print::table(&table) + &newest.map(agreed).unwrap_or_default() + &last(databases)
}

fn row(server: &ServerName, database: &DatabaseReport) -> Vec<String> {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let failover = database.failover.as_ref();
    let in_sync = failover.map(|it| if it.in_sync.contains(server) { "yes" } else { "no" });
    let role = match database.role {
        DatabaseRole::Primary => "primary",
        DatabaseRole::Replica => "replica",
    };
    let what = failover.map_or_else(|| database.detail.clone(), |it| format!("{}; {}", database.detail, it.why));
    vec![
        server.to_string(),
        role.to_owned(),
        database.state.as_str().to_owned(),
        failover.map_or_else(|| database.gtid.clone(), |it| number(it.position)),
        number(failover.and_then(|it| it.behind)),
        number(database.lag_s),
        in_sync.unwrap_or("-").to_owned(),
        what,
    ]
}

fn agreed(newest: &FailoverReport) -> String {
    let FailoverReport { epoch, version, confirmed, .. } = newest;
    let by = if *confirmed { "a majority vouches for it" } else { "NO MAJORITY vouches for it now: nobody takes over" };
    format!("epoch {epoch}, version {version} of the record; {by}\n")
}

/// The last failover, by the server with the newest.
fn last(databases: &[(&ServerName, &DatabaseReport)]) -> String {
    let all = databases.iter().filter_map(|(server, it)| Some((server, it.failover.as_ref()?.last.as_ref()?)));
    let Some((server, times)) = all.max_by_key(|(_, times)| times.from_epoch) else { return String::new() };
    let FailoverTimes { from_epoch, agreed_ms, fenced_ms, drained_ms, claimed_ms, opened_ms } = times;
    format!(
        "{server} took over after epoch {from_epoch}: from when the primary looked dead, agreed {agreed_ms} ms, \
         nobody acknowledges {fenced_ms} ms, applied {drained_ms} ms, in the record {claimed_ms} ms, takes writes \
         {opened_ms} ms\n"
    )
}
