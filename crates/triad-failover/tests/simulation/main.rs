//! Random histories of crashes, restarts, pauses, partitions, one-way losses, slow disks, lost and late messages, against
//! a model of semi-synchronous replication. Time is an integer, chance a seed: a failing seed replays.
//!
//! `TRIAD_HISTORIES=100000 cargo test -p triad-failover` runs so many; `TRIAD_SEED=7` runs that one and tells it.

mod chance;
mod database;
mod mutants;
mod store;
mod world;

use std::ops::Range;

use triad_failover::decide;
use world::{Counts, Rule, World};

/// Histories, when nobody says otherwise.
const HISTORIES: u64 = 900;
/// Histories in which a wrong rule must be caught.
const MUTANT_HISTORIES: u64 = 1_000;
/// Databases and witnesses.
const SHAPES: [(usize, usize); 3] = [(2, 1), (3, 0), (3, 2)];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn world(seed: u64, rule: Rule) -> World {
    let (databases, witnesses) = SHAPES[(seed % SHAPES.len() as u64) as usize];
    World::new(seed, databases, witnesses, rule)
}

fn failures(rule: Rule, seeds: Range<u64>) -> impl Iterator<Item = String> {
    seeds.filter_map(move |seed| Some(format!("seed {seed}: {}", world(seed, rule).run().err()?)))
}

#[test]
fn no_acknowledged_write_is_lost_there_is_one_primary_and_faults_end() {
    if let Some(seed) = number("TRIAD_SEED") {
        let mut world = world(seed, decide).told();
        let outcome = world.run();
        println!("{}{outcome:?}", world.story());
    }
    let mut sum = Counts::default();
    for seed in 0..number("TRIAD_HISTORIES").unwrap_or(HISTORIES) {
        let mut world = world(seed, decide);
        assert_eq!(world.run(), Ok(()), "seed {seed}");
        sum.add(&world.counts);
    }
    println!("{sum:?}");
    // They are about something.
    let Counts { acknowledged, failovers, faults, degraded, reseeded, truncated, handed_over } = sum;
    assert!(acknowledged > 100_000 && faults > 5_000 && failovers > 500, "{sum:?}");
    assert!(handed_over > 50, "{sum:?}");
    assert!(degraded > 1_000 && truncated > 500 && reseeded > 0, "{sum:?}");
}

/// Each safety rule, broken on purpose, costs a write or makes a second primary: the simulation sees it.
#[test]
fn a_broken_rule_is_caught() {
    let harm = |failure: &String| !failure.contains("not well again");
    for (name, first, rule) in mutants::ALL {
        let caught = failures(*rule, *first..first + MUTANT_HISTORIES).find(harm);
        assert!(caught.is_some(), "nobody noticed that it {name}");
    }
}

#[test]
fn the_primarys_server_dies_and_comes_back() {
    for (file, databases, witnesses) in [("three-databases.txt", 3, 0), ("two-and-a-witness.txt", 2, 1)] {
        let mut world = World::new(1, databases, witnesses, decide).told();
        world.run_without(0, 60).expect("it holds");
        triad_golden::compare(format!("tests/golden/{file}"), world.story());
    }
}
