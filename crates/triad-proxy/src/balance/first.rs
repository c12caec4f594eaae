//! First: the first backend with room gets the request, so that what is not needed stays idle and can be switched off.

use super::Share;
use super::tier::tier;

/// Picks in the order of the file.
#[derive(Clone, Debug)]
pub struct First {
    shares: Vec<Share>,
    /// The most requests in flight of each.
    max_connections: Vec<u64>,
}

impl First {
    /// Over `backends`, whose positions it returns, each with the most requests it may have in flight. Weights do not
    /// matter.
    pub fn new(backends: &[(Share, u64)]) -> Self {
        let (shares, max_connections) = backends.iter().copied().unzip();
        Self { shares, max_connections }
    }

    /// The first position with room, passing over those that `excluded` names; `None` if nobody has, as well as if
    /// nobody is up. Backups do not take what active ones have no room for.
    pub fn pick(&self, in_flight: impl Fn(usize) -> u64, excluded: impl Fn(usize) -> bool) -> Option<usize> {
        tier(&self.shares, excluded).find(|position| in_flight(*position) < self.max_connections[*position])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tier::tests::{is_allowed, shares, up};
    use super::{First, Share};

    #[test]
    fn one_is_filled_before_the_next_is_used() {
        let balance = First::new(&[(up(1), 2), (up(256), 1)]);
        let mut loads = [0u64; 2];
        let mut picked = Vec::new();
        while let Some(pick) = balance.pick(|position| loads[position], |_| false) {
            loads[pick] += 1;
            picked.push(pick);
        }
        assert_eq!(picked, [0, 0, 1]);
        loads[0] -= 1;
        assert_eq!(balance.pick(|position| loads[position], |_| false), Some(0), "whoever has room again comes first");
        assert_eq!(balance.pick(|_| 0, |position| position == 0), Some(1), "a retry goes elsewhere");
    }

    #[test]
    fn a_full_active_backend_does_not_wake_the_backup() {
        let backup = Share { weight: 1, backup: true, up: true };
        let balance = First::new(&[(up(1), 1), (backup, 1)]);
        assert_eq!(balance.pick(|position| [1, 0][position], |_| false), None);
        assert_eq!(balance.pick(|_| 0, |position| position == 0), Some(1));
    }

    proptest! {
        #[test]
        fn all_before_the_one_picked_are_full_or_not_allowed(
            shares in shares(), loads in prop::array::uniform6(0u64..4), rooms in prop::array::uniform6(1u64..4),
        ) {
            let backends: Vec<(Share, u64)> = shares.iter().copied().zip(rooms).collect();
            let pick = First::new(&backends).pick(|position| loads[position], |_| false);
            let end = pick.unwrap_or(shares.len());
            prop_assert!((0..end).all(|before| !is_allowed(&shares, Some(before)) || loads[before] >= rooms[before]));
            prop_assert!(pick.is_none_or(|pick| is_allowed(&shares, Some(pick)) && loads[pick] < rooms[pick]));
        }
    }
}
