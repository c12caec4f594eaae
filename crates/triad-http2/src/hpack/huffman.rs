//! The code for texts (RFC 7541 §5.2, appendix B).
//!
//! It is canonical: codes of one length count up in the order of their symbols, shorter ones first. So the lengths say all
//! of it, and both tables here are made of them when this is compiled.

use super::Error;

/// Bits of each symbol's code: every byte's, then the end's.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];
/// The symbol that never stands in a text; its first bits fill the last byte.
const END: usize = 256;
const LENGTH_MAX: usize = 30;
/// Codes up to this length are looked up; most of what texts are made of is.
const SHORT: usize = 8;

/// Every code, by its length.
struct Code {
    /// The symbols in the order of their codes.
    symbols: [u16; 257],
    /// Where those of a length begin in `symbols`.
    offset: [u16; LENGTH_MAX + 1],
    /// The first code of a length.
    first: [u32; LENGTH_MAX + 1],
    /// The code behind the last one of a length.
    limit: [u32; LENGTH_MAX + 1],
}

const CODE: Code = code();
/// Of each eight bits that begin with a short code, its symbol and its length; otherwise a length of 0.
static SHORT_CODES: [(u8, u8); 1 << SHORT] = short_codes();
static LONG_CODES: Code = CODE;

const fn code() -> Code {
    let mut code =
        Code { symbols: [0; 257], offset: [0; LENGTH_MAX + 1], first: [0; LENGTH_MAX + 1], limit: [0; LENGTH_MAX + 1] };
    let (mut next, mut count, mut length) = (0, 0, 1);
    while length <= LENGTH_MAX {
        next <<= 1;
        (code.first[length], code.offset[length]) = (next, count as u16);
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code.symbols[count] = symbol as u16;
                count += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.limit[length] = next;
        length += 1;
    }
    code
}

const fn short_codes() -> [(u8, u8); 1 << SHORT] {
    let mut table = [(0, 0); 1 << SHORT];
    let mut bits = 0;
    while bits < table.len() {
        let mut length = 1;
        while length <= SHORT {
            let start = (bits >> (SHORT - length)) as u32;
            if start >= CODE.first[length] && start < CODE.limit[length] {
                let at = CODE.offset[length] as usize + (start - CODE.first[length]) as usize;
                table[bits] = (CODE.symbols[at] as u8, length as u8);
                break;
            }
            length += 1;
        }
        bits += 1;
    }
    table
}

/// Puts the text of `bytes` behind `out`.
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    // The shortest code has five bits.
    out.reserve(bytes.len() * 8 / 5);
    // The next bits, the first one highest; zeros follow the `have` that are there.
    let (mut bits, mut have): (u64, u32) = (0, 0);
    let mut rest = bytes.iter();
    loop {
        while have <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - have);
            have += 8;
        }
        let (symbol, length) = SHORT_CODES[(bits >> 56) as usize];
        let (symbol, length) = match u32::from(length) {
            length if length > 0 && length <= have => (symbol, length),
            // Less than a byte is left, so that no code but the end's may have begun.
            _ if have < 8 => return if bits.leading_ones() == have { Ok(()) } else { Err(Error::Huffman) },
            _ => long(bits, have)?,
        };
        out.push(symbol);
        bits <<= length;
        have -= length;
    }
}

/// The code with more than [`SHORT`] bits that `bits` begin with, and its length.
fn long(bits: u64, have: u32) -> Result<(u8, u32), Error> {
    for length in SHORT as u32 + 1..=(LENGTH_MAX as u32).min(have) {
        let code = (bits >> (64 - length)) as u32;
        let at = length as usize;
        if code < LONG_CODES.limit[at] {
            let place = LONG_CODES.offset[at] as usize + (code - LONG_CODES.first[at]) as usize;
            let symbol = LONG_CODES.symbols[place];
            return if symbol as usize == END { Err(Error::Huffman) } else { Ok((symbol as u8, length)) };
        }
    }
    Err(Error::Huffman)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::{CODE, END, LENGTHS, decode};

    /// The code of `text`, as other implementations write it.
    pub fn encoded(text: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        text.iter().for_each(|byte| bits += &code(usize::from(*byte)));
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        bits.as_bytes().chunks(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | (bit - b'0'))).collect()
    }

    fn code(symbol: usize) -> String {
        let length = usize::from(LENGTHS[symbol]);
        let place = CODE.symbols.iter().position(|other| usize::from(*other) == symbol).expect("every symbol has one");
        let code = CODE.first[length] as usize + place - CODE.offset[length] as usize;
        format!("{code:0length$b}")
    }

    fn decoded(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(bytes, &mut out).ok().map(|()| out)
    }

    #[test]
    fn codes_are_those_of_appendix_b() {
        for (symbol, bits) in [
            (usize::from(b'0'), "00000"),
            (usize::from(b'a'), "00011"),
            (usize::from(b'z'), "1111011"),
            (usize::from(b'\\'), "1111111111111110000"),
            (0, "1111111111000"),
            (255, "11111111111111111111101110"),
            (10, "111111111111111111111111111100"),
            (END, "111111111111111111111111111111"),
        ] {
            assert_eq!(code(symbol), bits, "{symbol}");
        }
    }

    #[test]
    fn what_fills_the_last_byte_is_less_than_a_byte_of_ones() {
        assert_eq!(decoded(&[]), Some(vec![]));
        // `a` is 00011.
        assert_eq!(decoded(&[0b0001_1111]), Some(b"a".to_vec()));
        assert_eq!(decoded(&[0b0001_1110]), None, "a zero");
        assert_eq!(decoded(&[0b0001_1111, 0xff]), None, "a byte more");
        assert_eq!(decoded(&[0xff]), None, "a byte of nothing else");
        assert_eq!(decoded(&[0xff; 4]), None, "the end itself");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc]), None, "the end and what fills");
        assert_eq!(decoded(&[0xff, 0xc0]), None, "a code cut off");
    }

    proptest! {
        #[test]
        fn a_text_comes_back(text in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decoded(&encoded(&text)), Some(text));
        }

        #[test]
        fn bytes_have_one_meaning_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(text) = decoded(&bytes) {
                prop_assert_eq!(encoded(&text), bytes);
            }
        }
    }
}
