//! Who can be picked, and how two loads compare.

use std::cmp::Ordering;

use super::Share;

/// Positions in `shares` that can be picked: active ones that are up and not `excluded`; where there is none, backups.
pub fn tier(shares: &[Share], excluded: impl Fn(usize) -> bool) -> impl Iterator<Item = usize> {
    let can = move |position: usize, backup| {
        let share: &Share = &shares[position];
        share.up && share.backup == backup && !excluded(position)
    };
    let backup = !(0..shares.len()).any(|position| can(position, false));
    (0..shares.len()).filter(move |position| can(*position, backup))
}

/// Compares the loads of two backends, each its requests in flight and its weight, relative to the weights.
pub fn compare((in_flight, weight): (u64, u64), (other_in_flight, other_weight): (u64, u64)) -> Ordering {
    let product = |in_flight, weight| u128::from(in_flight) * u128::from(weight);
    product(in_flight, other_weight).cmp(&product(other_in_flight, weight))
}

/// A share's weight; below one counts as one.
pub fn weight(share: &Share) -> u64 {
    share.weight.max(1).into()
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::{Share, compare, tier};

    /// A backend that is up.
    pub fn up(weight: u16) -> Share {
        Share { weight, backup: false, up: true }
    }

    /// Backends in any state.
    pub fn shares() -> impl Strategy<Value = Vec<Share>> {
        let share = (1u16..=256, any::<bool>(), any::<bool>());
        prop::collection::vec(share.prop_map(|(weight, backup, up)| Share { weight, backup, up }), 0..6)
    }

    /// Active backends that are up.
    pub fn all_up() -> impl Strategy<Value = Vec<Share>> {
        prop::collection::vec((1u16..=40).prop_map(up), 1..6)
    }

    /// Whether `pick` may be picked of `shares`, nobody being excluded.
    pub fn is_allowed(shares: &[Share], pick: Option<usize>) -> bool {
        let active_is_up = shares.iter().any(|share| share.up && !share.backup);
        match pick {
            Some(position) => shares[position].up && shares[position].backup != active_is_up,
            None => shares.iter().all(|share| !share.up),
        }
    }

    #[test]
    fn loads_are_relative_to_weights() {
        assert!(compare((1, 1), (1, 2)).is_gt());
        assert!(compare((2, 4), (1, 2)).is_eq());
        assert!(compare((0, 1), (0, 256)).is_eq());
        assert!(compare((u64::MAX, 256), (u64::MAX, 1)).is_lt());
    }

    #[test]
    fn backups_come_when_every_active_one_is_down_or_excluded() {
        let backup = Share { weight: 1, backup: true, up: true };
        let shares = [up(5), Share { up: false, ..up(1) }, backup];
        assert_eq!(tier(&shares, |_| false).collect::<Vec<_>>(), [0]);
        assert_eq!(tier(&shares, |position| position == 0).collect::<Vec<_>>(), [2]);
        assert_eq!(tier(&shares, |_| true).count(), 0);
    }
}
