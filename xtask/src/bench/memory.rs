//! Memory of processes, from `/proc/PID/smaps_rollup` (see `proc_pid_smaps(5)`).

use std::fs;
use std::ops::Sub;

use anyhow::Context;

use super::cpu;

/// User memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Resident.
    pub rss: i64,
    /// Resident, with what processes share divided among them.
    pub pss: i64,
}

impl Sub for Memory {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { rss: self.rss - other.rss, pss: self.pss - other.pss }
    }
}

/// What `root` and its living descendants hold.
pub fn tree(root: u32) -> anyhow::Result<Memory> {
    let mut sum = Memory::default();
    for pid in cpu::tree(root)? {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let Memory { rss, pss } = parse(&text).with_context(|| format!("{path} was not understood"))?;
        sum = Memory { rss: sum.rss + rss, pss: sum.pss + pss };
    }
    Ok(sum)
}

fn parse(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<i64>().ok()? * 1024)
    };
    Some(Memory { rss: field("Rss")?, pss: field("Pss")? })
}

#[cfg(test)]
mod tests {
    use super::{Memory, parse};

    #[test]
    fn a_rollup_is_read() {
        let text =
            "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:        884 kB\nPss:        385 kB\nPss_Dirty:   68 kB\n";
        assert_eq!(parse(text), Some(Memory { rss: 884 * 1024, pss: 385 * 1024 }));
        assert_eq!(parse("Rss: 884 kB\n"), None);
    }
}
