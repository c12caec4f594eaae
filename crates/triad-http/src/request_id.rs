//! Request ids: one per request, the same on every hop, in headers, logs and error pages.

use std::cell::RefCell;

use http::HeaderValue;

/// A request's id: 128 random bits as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId([u8; 2 * ID_BYTES]);

/// Ids that one call to the kernel pays for.
const BATCH: usize = 256;
/// Bytes of an id.
const ID_BYTES: usize = 16;

/// Random bytes that no id has used yet.
struct Randomness {
    bytes: [u8; BATCH * ID_BYTES],
    used: usize,
}

thread_local! {
    static RANDOMNESS: RefCell<Randomness> =
        const { RefCell::new(Randomness { bytes: [0; BATCH * ID_BYTES], used: BATCH * ID_BYTES }) };
}

impl RequestId {
    /// A new id.
    pub fn new() -> Self {
        Self::from_bytes(RANDOMNESS.with_borrow_mut(Randomness::take))
    }

    /// The id in a field of a trusted peer; `None` if it is not one of ours.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let digits = <[u8; 2 * ID_BYTES]>::try_from(value).ok()?;
        let well_formed = digits.iter().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(c));
        well_formed.then_some(Self(digits))
    }

    /// As the value of `X-Request-Id`.
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("hexadecimal digits are visible ASCII")
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }

    fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 2 * ID_BYTES];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Self(text)
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl Randomness {
    fn take(&mut self) -> [u8; ID_BYTES] {
        if self.used == self.bytes.len() {
            getrandom::fill(&mut self.bytes).expect("the kernel's random number generator works");
            self.used = 0;
        }
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&self.bytes[self.used..self.used + ID_BYTES]);
        self.used += ID_BYTES;
        id
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{BATCH, RequestId};

    #[test]
    fn ids_differ_across_batches_and_parse_back() {
        let ids: Vec<RequestId> = (0..3 * BATCH).map(|_| RequestId::new()).collect();
        let distinct: HashSet<&str> = ids.iter().map(RequestId::as_str).collect();
        assert_eq!(distinct.len(), ids.len());
        assert_eq!(RequestId::parse(ids[0].as_str().as_bytes()), Some(ids[0]));
    }

    #[test]
    fn what_is_not_an_id_of_ours_is_refused() {
        for bad in ["", "abc", "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdeg"] {
            assert_eq!(RequestId::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
