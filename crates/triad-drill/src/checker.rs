//! What became of the writes: what users were told against what each database holds.
//!
//! Every write carries an id of its own, so the rows are a set. An acknowledged write must be in it once, on every
//! node; one whose request never left must not be there; one of unknown fate may be there or not, but not twice, and
//! on all nodes alike. A row that nobody attempted is invented.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use triad_model::ServerName;

use crate::sample::{Fate, Kind, Sample};

/// Numbers that are listed of each kind of finding, at most.
const LISTED_MAX: usize = 10;

/// What one database holds of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeRows {
    /// The server.
    pub server: ServerName,
    /// The rows' ids, as stored, in any order.
    pub ids: Vec<String>,
    /// Its position in the order of transactions, `@@gtid_current_pos`.
    pub gtid: String,
    /// `CHECKSUM TABLE` of the entries.
    pub checksum: String,
}

/// What comparing shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WriteCheck {
    /// Writes that were attempted.
    pub attempted: u64,
    /// Those that users were told are stored.
    pub acknowledged: u64,
    /// Those that nothing certain was said of.
    pub unknown: u64,
    /// Of these, how many are there.
    pub unknown_stored: u64,
    /// Acknowledged writes that at least one node lacks.
    pub lost: u64,
    /// Writes that some node has more than once.
    pub duplicated: u64,
    /// Rows on some node that were never attempted, or whose request never left.
    pub invented: u64,
    /// In what nodes differ, as clauses; empty if they are equal.
    pub differences: Vec<String>,
    /// The first of what was found, each as a clause.
    pub findings: Vec<String>,
}

impl WriteCheck {
    /// Whether every acknowledged write is there once, nothing else is, and all nodes are equal.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.invented == 0 && self.differences.is_empty()
    }
}

/// The id that write `number` of the run `run` stores.
pub(crate) fn id(run: &str, number: u32) -> String {
    format!("{}{number}", id_prefix(run))
}

/// The id of what `sample` stores; `None` if it only reads.
fn id_of(run: &str, sample: &Sample) -> Option<String> {
    match sample.kind {
        Kind::Writes => Some(id(run, sample.number)),
        Kind::Statements => Some(format!("{}{}", statement_prefix(run), sample.number)),
        Kind::Reads | Kind::Files | Kind::Lists => None,
    }
}

/// What the ids of the run's statements begin with; the statement's number follows.
pub(crate) fn statement_prefix(run: &str) -> String {
    format!("{}s", id_prefix(run))
}

/// What the ids of the run `run` begin with.
pub(crate) fn id_prefix(run: &str) -> String {
    format!("drill-{run}-")
}

/// Compares the writes among `samples` of the run `run` with what `nodes` hold.
pub fn check_writes(run: &str, samples: &[Sample], nodes: &[NodeRows]) -> WriteCheck {
    let fates: BTreeMap<String, Fate> =
        samples.iter().filter_map(|sample| Some((id_of(run, sample)?, sample.outcome.fate()))).collect();
    let having = |fate: Fate| fates.iter().filter(move |(_, other)| **other == fate).map(|(id, _)| id);
    let mut check = WriteCheck {
        attempted: fates.len() as u64,
        acknowledged: having(Fate::Acknowledged).count() as u64,
        unknown: having(Fate::Unknown).count() as u64,
        differences: differences(nodes),
        ..WriteCheck::default()
    };
    let [mut lost, mut duplicated, mut invented, mut unknown_stored] = [const { BTreeSet::<&str>::new() }; 4];
    for node in nodes {
        let counts = counts(&node.ids);
        lost.extend(having(Fate::Acknowledged).map(String::as_str).filter(|id| !counts.contains_key(id)));
        duplicated.extend(counts.iter().filter(|(_, count)| **count > 1).map(|(id, _)| *id));
        invented.extend(counts.keys().filter(|id| matches!(fates.get(**id), None | Some(Fate::Never))));
        unknown_stored.extend(counts.keys().filter(|id| fates.get(**id) == Some(&Fate::Unknown)));
    }
    check.unknown_stored = unknown_stored.len() as u64;
    for (what, ids, count) in [
        ("acknowledged and not there", lost, &mut check.lost),
        ("there more than once", duplicated, &mut check.duplicated),
        ("there and never sent", invented, &mut check.invented),
    ] {
        *count = ids.len() as u64;
        check.findings.extend(ids.iter().take(LISTED_MAX).map(|id| format!("{id} is {what}{}", holders(id, nodes))));
    }
    check
}

fn counts(ids: &[String]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for id in ids {
        *counts.entry(id.as_str()).or_default() += 1;
    }
    counts
}

/// ` (on srv2: 1, on srv3: 0)`
fn holders(id: &str, nodes: &[NodeRows]) -> String {
    let count = |node: &NodeRows| node.ids.iter().filter(|other| *other == id).count();
    let parts: Vec<String> = nodes.iter().map(|node| format!("on {}: {}", node.server, count(node))).collect();
    format!(" ({})", parts.join(", "))
}

fn differences(nodes: &[NodeRows]) -> Vec<String> {
    let Some((first, rest)) = nodes.split_first() else { return Vec::new() };
    let mut differences = Vec::new();
    for node in rest {
        for (what, a, b) in [("position", &first.gtid, &node.gtid), ("checksum", &first.checksum, &node.checksum)] {
            if a != b {
                differences.push(format!("{what}: {a} on {}, {b} on {}", first.server, node.server));
            }
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use triad_model::ServerName;

    use super::{NodeRows, WriteCheck, check_writes, id};
    use crate::sample::{Kind, Outcome, Sample};

    /// Writes 1 to 4: two acknowledged, one unknown, one that never left.
    fn samples() -> Vec<Sample> {
        let outcomes = [Outcome::Ok, Outcome::Ok, Outcome::Status(503), Outcome::Unconnected];
        let sample = |(number, outcome)| Sample {
            kind: Kind::Writes,
            number,
            due_us: 0,
            took_us: 1,
            outcome,
            server: None,
            seen: Vec::new(),
        };
        (1..).zip(outcomes).map(sample).collect()
    }

    fn node(server: &str, numbers: &[u32]) -> NodeRows {
        let mut numbers = numbers.to_vec();
        let ids: Vec<String> = numbers.iter().map(|number| id("r", *number)).collect();
        numbers.sort_unstable();
        let server = ServerName::new(server).expect("a name");
        NodeRows { server, ids, gtid: "0-3-9".to_owned(), checksum: format!("{numbers:?}") }
    }

    fn check(first: &[u32], second: &[u32]) -> WriteCheck {
        check_writes("r", &samples(), &[node("srv3", first), node("srv2", second)])
    }

    #[test]
    fn what_was_acknowledged_is_there_and_the_unknown_may_be() {
        for stored in [&[1, 2][..], &[2, 3, 1]] {
            let check = check(stored, stored);
            assert!(check.is_clean(), "{check:?}");
            assert_eq!((check.attempted, check.acknowledged, check.unknown), (4, 2, 1));
            assert_eq!(check.unknown_stored, stored.len() as u64 - 2);
        }
    }

    #[test]
    fn a_lost_write_is_found() {
        let everywhere = check(&[1], &[1]);
        assert_eq!((everywhere.lost, everywhere.is_clean()), (1, false));
        assert_eq!(everywhere.findings, ["drill-r-2 is acknowledged and not there (on srv3: 0, on srv2: 0)"]);
        let on_one_node = check(&[1], &[1, 2]);
        assert_eq!(on_one_node.lost, 1);
        assert_eq!(on_one_node.differences, ["checksum: [1] on srv3, [1, 2] on srv2"]);
    }

    #[test]
    fn a_duplicated_write_is_found() {
        let check = check(&[1, 2, 2], &[1, 2, 2]);
        assert_eq!((check.duplicated, check.lost, check.is_clean()), (1, 0, false));
    }

    #[test]
    fn an_invented_write_is_found() {
        assert_eq!(check(&[1, 2, 4], &[1, 2, 4]).invented, 1, "its request never left");
        let stranger = check(&[1, 2, 77], &[1, 2, 77]);
        assert_eq!((stranger.invented, stranger.is_clean()), (1, false), "nobody attempted it");
    }

    #[test]
    fn nodes_that_differ_are_found() {
        let mut behind = node("srv2", &[1, 2]);
        behind.gtid = "0-3-8".to_owned();
        let check = check_writes("r", &samples(), &[node("srv3", &[1, 2]), behind]);
        assert_eq!(check.differences, ["position: 0-3-9 on srv3, 0-3-8 on srv2"]);
    }
}
