//! Numbers from a seed (SplitMix64, Steele et al. 2014).

/// A source of chance.
pub struct Chance(u64);

impl Chance {
    /// The one of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of 0 to `end`, without it.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether what happens `percent` times in a hundred does.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
