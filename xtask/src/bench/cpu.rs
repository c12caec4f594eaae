//! CPU time of processes, from `/proc/PID/stat` (see `proc_pid_stat(5)`).

use std::collections::HashMap;
use std::fs;

use anyhow::Context;

/// Length of a tick: the kernel tells user space 100 a second, whatever it runs at itself.
const TICK_US: u64 = 10_000;

struct Stat {
    parent: u32,
    /// User and system time.
    ticks: u64,
}

/// CPU time that `root` and its living descendants have used, in microseconds.
pub fn tree_us(root: u32) -> anyhow::Result<u64> {
    let stats = stats()?;
    let ticks: u64 = descendants(root, &stats).iter().filter_map(|pid| stats.get(pid)).map(|stat| stat.ticks).sum();
    Ok(ticks * TICK_US)
}

/// `root` and its living descendants.
pub fn tree(root: u32) -> anyhow::Result<Vec<u32>> {
    Ok(descendants(root, &stats()?))
}

fn descendants(root: u32, stats: &HashMap<u32, Stat>) -> Vec<u32> {
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len() {
        let parent = tree[next];
        tree.extend(stats.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

fn stats() -> anyhow::Result<HashMap<u32, Stat>> {
    let mut stats = HashMap::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end between the listing and the reading.
        let text = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        stats.extend(parse(&text).map(|stat| (pid, stat)));
    }
    Ok(stats)
}

fn parse(text: &str) -> Option<Stat> {
    // The name is in parentheses and may hold anything; what follows its last one starts with the third field.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat { parent: field(4)?.try_into().ok()?, ticks: field(14)? + field(15)? })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Stat, descendants, parse};

    #[test]
    fn a_name_may_hold_anything() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 0 0 0 150 25 3 4 20 0 1 0 100 1000 10";
        let stat = parse(text).expect("a stat line");
        assert_eq!((stat.parent, stat.ticks), (7, 175));
        assert!(parse("42 (a").is_none());
    }

    #[test]
    fn a_tree_is_a_process_with_its_children_and_theirs() {
        let stat = |parent| Stat { parent, ticks: 0 };
        let stats = HashMap::from([(1, stat(0)), (2, stat(1)), (3, stat(2)), (4, stat(1)), (5, stat(3))]);
        assert_eq!(descendants(2, &stats), [2, 3, 5]);
    }
}
