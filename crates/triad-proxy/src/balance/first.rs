//! First: the first backend of the file that can take the request. With bounds on the requests in flight, as few
//! backends work as are needed, and the last ones can be switched off; HAProxy's algorithm of that name.

use super::Share;
use super::tier::tier;

/// Picks in the order of the file.
#[derive(Clone, Debug)]
pub struct First {
    shares: Vec<Share>,
}

impl First {
    /// Over `shares`, whose positions it returns.
    pub fn new(shares: Vec<Share>) -> Self {
        Self { shares }
    }

    /// The first position, passing over those that `excluded` names.
    pub fn pick(&self, excluded: impl Fn(usize) -> bool) -> Option<usize> {
        tier(&self.shares, excluded).next()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tier::tests::{is_allowed, shares, up};
    use super::First;

    #[test]
    fn the_next_comes_only_when_the_first_cannot() {
        let balance = First::new(vec![up(1), up(256), up(1)]);
        assert_eq!(balance.pick(|_| false), Some(0));
        assert_eq!(balance.pick(|position| position == 0), Some(1));
        assert_eq!(balance.pick(|_| true), None);
    }

    proptest! {
        #[test]
        fn nobody_before_the_pick_may_be_picked(shares in shares()) {
            let pick = First::new(shares.clone()).pick(|_| false);
            prop_assert!(is_allowed(&shares, pick));
            let before = 0..pick.unwrap_or(0);
            prop_assert!(before.into_iter().all(|position| !is_allowed(&shares, Some(position))));
        }
    }
}
