//! Design to ruleset and to explanation: `tests/golden/DESIGN-SERVER.nft` and `.txt`, compared whole.
//!
//! `TRIAD_GOLDEN=write` rewrites them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use triad_firewall::Ruleset;
use triad_model::Design;

use crate::designs;

#[test]
fn every_servers_ruleset_and_explanation_are_as_recorded() {
    let mut expected = BTreeSet::new();
    for (file, text) in cases() {
        triad_golden::compare(folder().join(&file), &text);
        expected.insert(file);
    }
    let found: BTreeSet<String> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, expected, "a golden without a case compares nothing: delete it");
}

#[test]
fn a_design_without_a_firewall_has_no_ruleset() {
    let design = Design { firewall: None, ..designs::secured() };
    assert_eq!(Ruleset::of(&design, &designs::name("srv1")), None);
    assert_eq!(Ruleset::of(&designs::secured(), &designs::name("srv9")), None, "nor has a server it does not list");
}

/// File name and text of each golden.
fn cases() -> Vec<(String, String)> {
    let mut cases = Vec::new();
    for (design_name, design) in designs::all() {
        for server in &design.servers {
            let ruleset = Ruleset::of(&design, &server.name).expect("the design has a firewall");
            cases.push((format!("{design_name}-{}.nft", server.name), ruleset.render()));
            cases.push((format!("{design_name}-{}.txt", server.name), ruleset.explain()));
        }
    }
    cases
}

fn folder() -> PathBuf {
    PathBuf::from("tests/golden")
}
