//! Blocks in, fields out (RFC 7541 §3, §6).

use super::statics::{STATIC, STATIC_COUNT, Static};
use super::table::{Held, Table};
use super::{Error, Kind, huffman, integer};
use crate::limits::HEADER_TABLE_BYTES;

/// A field as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub kind: Kind,
    /// Whether it can be passed on ([`Kind::fits`]).
    pub fits: bool,
    pub name: &'a [u8],
    pub value: &'a [u8],
}

/// The receiving end of a connection's compression.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    /// Texts that came in Huffman's code.
    name: Vec<u8>,
    value: Vec<u8>,
}

/// A field that comes as text.
struct Literal<'a> {
    /// The index of its name, or zero.
    index: usize,
    name: Text<'a>,
    value: Text<'a>,
}

#[derive(Clone, Copy)]
struct Text<'a> {
    bytes: &'a [u8],
    huffman: bool,
}

impl Decoder {
    /// At a connection's start.
    pub fn new() -> Self {
        Self { table: Table::new(HEADER_TABLE_BYTES), name: Vec::new(), value: Vec::new() }
    }

    /// Decodes a whole block. `take` gets its fields in their order; false from it ends the work.
    pub fn decode(&mut self, mut block: &[u8], mut take: impl FnMut(Field<'_>) -> bool) -> Result<(), Error> {
        let mut may_resize = true;
        while let Some(first) = block.first() {
            let is_wanted = match first {
                0x80.. => {
                    let Held { name, value, kind, fits } = self.get(integer::decode(&mut block, 7)?)?;
                    take(Field { kind, fits, name, value })
                }
                0x40.. => self.literal(&mut block, 6, &mut take)?,
                0x20.. if may_resize => {
                    self.resize(integer::decode(&mut block, 5)?)?;
                    continue;
                }
                0x20.. => return Err(Error::Size),
                _ => self.literal(&mut block, 4, &mut take)?,
            };
            if !is_wanted {
                return Err(Error::Unwanted);
            }
            may_resize = false;
        }
        Ok(())
    }

    /// Gives back memory that one large field took.
    pub fn trim(&mut self) {
        for text in [&mut self.name, &mut self.value] {
            if text.capacity() > HEADER_TABLE_BYTES {
                *text = Vec::new();
            }
        }
    }

    /// RFC 7541 §4.2: ours is never asked to be smaller or larger than it is by default, so any size up to that is right.
    fn resize(&mut self, size: usize) -> Result<(), Error> {
        if size > HEADER_TABLE_BYTES {
            return Err(Error::Size);
        }
        self.table.set_size_max(size);
        Ok(())
    }

    fn get(&self, index: usize) -> Result<Held<'_>, Error> {
        match index {
            0 => Err(Error::Index),
            1..=STATIC_COUNT => {
                let Static { name, value, kind, fits } = STATIC[index - 1];
                Ok(Held { name, value, kind, fits })
            }
            _ => self.table.get(index - STATIC_COUNT - 1).ok_or(Error::Index),
        }
    }

    /// Takes a field that comes as text, and keeps it if it has to (RFC 7541 §6.2); whether it was wanted.
    fn literal(
        &mut self,
        block: &mut &[u8],
        prefix: u32,
        take: &mut impl FnMut(Field<'_>) -> bool,
    ) -> Result<bool, Error> {
        let keep = prefix == 6;
        let index = integer::decode(block, prefix)?;
        let name = if index == 0 { text(block)? } else { Text { bytes: &[], huffman: false } };
        let Literal { index, name, value } = Literal { index, name, value: text(block)? };
        self.name.clear();
        self.value.clear();
        let name = plain(name, &mut self.name)?;
        let value = plain(value, &mut self.value)?;
        let (name, kind) = match index {
            0 => (name, Kind::of(name)),
            1..=STATIC_COUNT => (STATIC[index - 1].name, STATIC[index - 1].kind),
            _ => {
                let back = index - STATIC_COUNT - 1;
                let Held { name, kind, .. } = self.table.get(back).ok_or(Error::Index)?;
                let fits = kind.fits(value);
                let wanted = take(Field { kind, fits, name, value });
                if keep {
                    self.table.add_with_name_of(back, value, fits);
                }
                return Ok(wanted);
            }
        };
        let fits = kind.fits(value);
        if keep {
            self.table.add(name, value, kind, fits);
        }
        Ok(take(Field { kind, fits, name, value }))
    }
}

/// Takes a text from the start of `block` (RFC 7541 §5.2).
fn text<'a>(block: &mut &'a [u8]) -> Result<Text<'a>, Error> {
    let huffman = block.first().ok_or(Error::CutOff)? & 0x80 != 0;
    let length = integer::decode(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(Error::CutOff)?;
    *block = rest;
    Ok(Text { bytes, huffman })
}

fn plain<'a>(text: Text<'a>, memory: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
    if !text.huffman {
        return Ok(text.bytes);
    }
    huffman::decode(text.bytes, memory)?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::super::huffman::tests::encoded;
    use super::super::integer;
    use super::{Decoder, Error};

    fn fields(decoder: &mut Decoder, block: &[u8]) -> Result<String, Error> {
        let mut text = String::new();
        decoder.decode(block, |field| {
            let text_of = |bytes| String::from_utf8_lossy(bytes).into_owned();
            writeln!(text, "{}: {}", text_of(field.name), text_of(field.value)).is_ok()
        })?;
        Ok(text)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let digit = |digit: u8| (digit as char).to_digit(16).expect("a digit") as u8;
        digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    /// RFC 7541 appendix C.2 to C.4.
    #[test]
    fn the_examples_of_the_rfc() {
        let first = ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n";
        let second = format!("{first}cache-control: no-cache\n");
        let third =
            ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\n";
        for blocks in [
            // In plain text, and in Huffman's code.
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
        ] {
            let mut decoder = Decoder::new();
            for (block, expected) in blocks.into_iter().zip([first, &second, third]) {
                assert_eq!(fields(&mut decoder, &bytes(block)).as_deref(), Ok(expected), "{block}");
            }
        }
        for (block, expected) in [
            ("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header\n"),
            ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path\n"),
            ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret\n"),
            ("82", ":method: GET\n"),
        ] {
            assert_eq!(fields(&mut Decoder::new(), &bytes(block)).as_deref(), Ok(expected), "{block}");
        }
    }

    /// RFC 7541 appendix C.5: a table of 256 bytes that throws entries out.
    #[test]
    fn the_examples_of_the_rfc_with_a_small_table() {
        let mut decoder = Decoder::new();
        assert_eq!(fields(&mut decoder, &bytes("3fe101")).as_deref(), Ok(""), "256 bytes");
        for (block, expected) in [
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 \
                 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
                 location: https://www.example.com\n",
            ),
            (
                "4803 3330 37c1 c0bf",
                ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
                 location: https://www.example.com\n",
            ),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 \
                 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 \
                 3630 303b 2076 6572 7369 6f6e 3d31",
                ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\n\
                 location: https://www.example.com\ncontent-encoding: gzip\n\
                 set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n",
            ),
        ] {
            assert_eq!(fields(&mut decoder, &bytes(block)).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_has_no_meaning_is_an_error() {
        for (block, error, why) in [
            ("80", Error::Index, "index zero"),
            ("be", Error::Index, "an empty table"),
            ("c0", Error::Index, "beyond the table"),
            ("7f00 00", Error::Index, "a name beyond the table"),
            ("3fe21f", Error::Size, "a table of 4097 bytes"),
            ("8220", Error::Size, "a size behind a field"),
            ("ffff ffff ff0f", Error::Overflow, "an index too large"),
            ("00ff ffff ffff 0f", Error::Overflow, "a length too large"),
            ("0005 61", Error::CutOff, "a name cut off"),
            ("0001 6105 61", Error::CutOff, "a value cut off"),
            ("40", Error::CutOff, "nothing behind it"),
            ("0081 ff00", Error::Huffman, "no code"),
        ] {
            assert_eq!(fields(&mut Decoder::new(), &bytes(block)), Err(error), "{why}");
        }
        let mut decoder = Decoder::new();
        assert_eq!(
            fields(&mut decoder, &bytes("203fe11f82")).as_deref(),
            Ok(":method: GET\n"),
            "two sizes, then a field"
        );
        assert_eq!(decoder.decode(&[0x82], |_| false), Err(Error::Unwanted));
    }

    proptest! {
        #[test]
        fn anything_is_fields_or_an_error(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = fields(&mut Decoder::new(), &block);
        }

        /// However they are written, the same fields come out, and name and value are told apart.
        #[test]
        fn texts_come_back(
            list in proptest::collection::vec(("[a-z-]{1,20}", "[ -~]{0,60}", 0usize..3, any::<bool>()), 0..20),
        ) {
            let (mut block, mut expected) = (Vec::new(), String::new());
            for (name, value, representation, huffman) in list {
                block.push([0x00, 0x10, 0x40][representation]);
                for text in [&name, &value] {
                    let (flag, bytes) =
                        if huffman { (0x80, encoded(text.as_bytes())) } else { (0, text.as_bytes().to_vec()) };
                    integer::encode(&mut block, flag, 7, bytes.len());
                    block.extend(bytes);
                }
                expected += &format!("{name}: {value}\n");
            }
            prop_assert_eq!(fields(&mut Decoder::new(), &block), Ok(expected));
        }
    }
}
