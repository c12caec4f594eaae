//! Packets: four bytes of head (length, number), then so much payload. A payload of [`FULL`] bytes goes on in the next.

/// Bytes of a head.
pub const HEAD_BYTES: usize = 4;
/// The length that says that more follows.
pub const FULL: usize = 0xff_ffff;

/// A packet's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of its payload.
    pub length: usize,
    /// 0 for the first of a command; each later one, of either side, counts up.
    pub number: u8,
}

impl Head {
    /// The head at the beginning of `bytes`; `None` if that is not all of one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, number, ..] = *bytes else { return None };
        Some(Self { length: u32::from_le_bytes([a, b, c, 0]) as usize, number })
    }
}

/// Commands, by their first byte.
pub mod command {
    pub const QUIT: u8 = 0x01;
    pub const INIT_DB: u8 = 0x02;
    pub const QUERY: u8 = 0x03;
    pub const PING: u8 = 0x0e;
    pub const STMT_PREPARE: u8 = 0x16;
    pub const STMT_EXECUTE: u8 = 0x17;
    pub const STMT_SEND_LONG_DATA: u8 = 0x18;
    pub const STMT_CLOSE: u8 = 0x19;
    pub const STMT_RESET: u8 = 0x1a;
    pub const SET_OPTION: u8 = 0x1b;
    pub const RESET_CONNECTION: u8 = 0x1f;
}

/// `payload` as a packet with `number`. Longer ones than one packet are not written here.
pub fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() < FULL, "short messages only");
    let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
    [&[a, b, c, number], payload].concat()
}

/// Reads fields off a payload.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `count` bytes, up to eight.
    pub fn number(&mut self, count: usize) -> Option<u64> {
        let mut all = [0; 8];
        all.get_mut(..count)?.copy_from_slice(self.bytes(count)?);
        Some(u64::from_le_bytes(all))
    }

    /// A number that says its own length.
    pub fn length_encoded(&mut self) -> Option<u64> {
        match self.number(1)? {
            short @ 0..=0xfa => Some(short),
            0xfc => self.number(2),
            0xfd => self.number(3),
            0xfe => self.number(8),
            _ => None,
        }
    }

    /// Up to a zero, which is taken too.
    pub fn until_zero(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.bytes(end)?;
        self.bytes(1)?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, Head, packet};

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let written = packet(3, b"select");
        assert_eq!(Head::parse(&written), Some(Head { length: 6, number: 3 }));
        assert_eq!((Head::parse(&written[..3]), &written[4..]), (None, &b"select"[..]));
    }

    #[test]
    fn numbers_say_their_length() {
        let mut fields = Fields(b"\x07\xfc\x01\x02\xfd\x01\x00\x01\xfe\x01\0\0\0\0\0\0\x80\xffab\0c");
        let numbers: Vec<_> = (0..5).map(|_| fields.length_encoded()).collect();
        assert_eq!(numbers, [Some(7), Some(0x201), Some(0x10001), Some(0x8000_0000_0000_0001), None]);
        assert_eq!((fields.until_zero(), fields.until_zero(), fields.number(2)), (Some(&b"ab"[..]), None, None));
    }
}
