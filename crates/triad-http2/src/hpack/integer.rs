//! Numbers (RFC 7541 §5.1).

use super::Error;

/// Bits that the bytes behind the first may tell: no length or index that is allowed has more.
const BITS_MAX: u32 = 21;

/// Takes a number from the start of `bytes`, in the last `prefix` bits of the first byte and, if they are all ones, in
/// those that follow.
pub(super) fn decode(bytes: &mut &[u8], prefix: u32) -> Result<usize, Error> {
    let (first, mut rest) = bytes.split_first().ok_or(Error::CutOff)?;
    let most = (1 << prefix) - 1;
    let mut number = usize::from(*first) & most;
    if number == most {
        let mut shift = 0;
        loop {
            let (byte, behind) = rest.split_first().ok_or(Error::CutOff)?;
            rest = behind;
            if shift >= BITS_MAX {
                return Err(Error::Overflow);
            }
            number += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *bytes = rest;
    Ok(number)
}

/// Writes `number` behind the bits of `first` that are not its `prefix` last ones.
pub(super) fn encode(out: &mut Vec<u8>, first: u8, prefix: u32, number: usize) {
    let most = (1 << prefix) - 1;
    if number < most {
        return out.push(first | number as u8);
    }
    out.push(first | most as u8);
    let mut rest = number - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Error, decode, encode};

    fn encoded(prefix: u32, number: usize) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, 0, prefix, number);
        out
    }

    /// RFC 7541 appendix C.1.
    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(encoded(5, 10), [0b01010]);
        assert_eq!(encoded(5, 1337), [0b11111, 0b1001_1010, 0b1010]);
        assert_eq!(encoded(8, 42), [42]);
    }

    #[test]
    fn what_is_cut_off_or_too_large_is_no_number() {
        let number = |mut bytes: &[u8]| decode(&mut bytes, 5);
        assert_eq!(number(&[]), Err(Error::CutOff));
        assert_eq!(number(&[0x1f]), Err(Error::CutOff));
        assert_eq!(number(&[0x1f, 0x80]), Err(Error::CutOff));
        assert_eq!(number(&[0x1f, 0xff, 0xff, 0x7f]), Ok(31 + (1 << 21) - 1));
        assert_eq!(number(&[0x1f, 0x80, 0x80, 0x80, 0x00]), Err(Error::Overflow), "even of zeros");
        assert_eq!(number(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Err(Error::Overflow));
    }

    proptest! {
        #[test]
        fn a_number_comes_back(prefix in 1u32..=8, number in 0usize..1 << 21, first in any::<u8>(), more in any::<u8>()) {
            let first = if prefix == 8 { 0 } else { first >> prefix << prefix };
            let mut out = Vec::new();
            encode(&mut out, first, prefix, number);
            out.push(more);
            let mut bytes = out.as_slice();
            prop_assert_eq!(decode(&mut bytes, prefix), Ok(number));
            prop_assert_eq!(bytes, [more]);
        }
    }
}
