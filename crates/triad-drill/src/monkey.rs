//! Random faults: a scenario's text from a seed, so that what was found can be read, kept and run again.

use std::fmt::Write;

use triad_model::{Design, ServerName};

use crate::scenario::processes;

/// A fault begins every so often, in seconds: time for it, and for everything to become healthy again.
const SLOT_S: u64 = 20;
/// How long a fault lasts, in seconds.
const FAULT_S: std::ops::RangeInclusive<u64> = 1..=5;
/// By when, after a fault, all must be healthy, in seconds.
const HEAL_S: u64 = 14;

/// The text of a scenario that breaks `design` (found in `folder`) at random for `minutes`. The same seed gives the
/// same text.
pub fn monkey(seed: u64, minutes: u64, folder: &str, design: &Design) -> String {
    let mut random = Random(seed);
    let mut text =
        format!("# Random faults, seed {seed}.\ndesign {folder}\nload 20 reads/s, 10 writes/s over new connections\n");
    for slot in 0..(minutes * 60 / SLOT_S).max(1) {
        let begin_s = slot * SLOT_S + 1;
        let (fault, end) = fault(&mut random, design);
        line(&mut text, format_args!("after {begin_s} s {fault}"));
        if let Some(end) = end {
            let lasts_s = FAULT_S.start() + random.below(FAULT_S.end() - FAULT_S.start() + 1);
            line(&mut text, format_args!("after {} s {end}", begin_s + lasts_s));
        }
        line(&mut text, format_args!("within {HEAL_S} s all healthy"));
    }
    text.push_str("promise 0 lost writes\n");
    text
}

/// A fault, and what ends it.
fn fault(random: &mut Random, design: &Design) -> (String, Option<String>) {
    let server = random.choose(&design.servers).name.clone();
    let process = random.choose(&processes(design, &server)).clone();
    let others: Vec<&ServerName> =
        design.servers.iter().map(|other| &other.name).filter(|name| **name != server).collect();
    let other = if others.is_empty() { &server } else { *random.choose(&others) };
    let ended = |begin: String, end: String| (begin, Some(end));
    match random.below(if others.is_empty() { 5 } else { 7 }) {
        0 | 1 => (format!("kill {process} on {server}"), None),
        2 => (format!("restart {process} on {server}"), None),
        3 => ended(format!("pause {process} on {server}"), format!("resume {process} on {server}")),
        4 => ended(format!("kill server {server}"), format!("start server {server}")),
        5 => ended(format!("cut {server}"), format!("join {server}")),
        _ => {
            let way = if random.below(2) == 0 { "" } else { " one way" };
            ended(format!("cut {server} from {other}{way}"), format!("join {server} to {other}"))
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a string takes all");
}

/// SplitMix64 (Steele, Lea and Flood, 2014): a few lines, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = self.below(items.len() as u64);
        &items[usize::try_from(index).expect("an index of a slice")]
    }
}

#[cfg(test)]
mod tests {
    use triad_model::Design;

    use super::monkey;
    use crate::parse::parse;

    fn design() -> Design {
        let text = r#"{"site": {"domain": "foobar.com", "hosts": ["foobar.com"]},
            "servers": [{"name": "a", "public": ["203.0.113.11"], "private": "10.0.0.1"},
                        {"name": "b", "public": [], "private": "10.0.0.2"}],
            "dns": {"servers": ["a"], "ttl_s": 30}, "web": {"servers": ["a", "b"], "root": null}}"#;
        serde_json::from_str(text).expect("a design")
    }

    #[test]
    fn every_seed_gives_a_scenario_that_fits_the_design() {
        for seed in 0..200 {
            let text = monkey(seed, 10, ".", &design());
            let scenario = parse("monkey", &text).unwrap_or_else(|mistakes| panic!("{mistakes:?} in\n{text}"));
            assert_eq!(scenario.mistakes(&design()), [], "{text}");
            assert_eq!(text, monkey(seed, 10, ".", &design()));
        }
        assert_ne!(monkey(1, 10, ".", &design()), monkey(2, 10, ".", &design()));
    }
}
