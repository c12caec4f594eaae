//! Fields in, blocks out (RFC 7541 §6).
//!
//! What repeats becomes one byte: a field that comes for the second time is kept in the table. What never repeats, such as
//! a request's id, would only throw out what does, so it never gets there. Texts are not put in Huffman's code: of what
//! does not repeat it would save a fifth, and cost more than all the rest here.

use super::Kind;
use super::integer;
use super::statics::STATIC_COUNT;
use super::table::Table;
use crate::limits::HEADER_TABLE_BYTES;

/// Places of each index into the table, by hashes; a power of two, and about as many as there are entries.
const PLACES: usize = 128;
/// Part of the table that one entry may take.
const ENTRY_SHARE: usize = 4;
/// The indices of `:status` with a value (RFC 7541 appendix A).
const STATUSES: [(u16, u8); 7] = [(200, 8), (204, 9), (206, 10), (304, 11), (400, 12), (404, 13), (500, 14)];
/// Never to be kept, here or further on: what it is worth to guess (RFC 7541 §7.1.3).
const SECRET: &[u8] = b"set-cookie";

/// The sending end of a connection's compression.
#[derive(Debug)]
pub(crate) struct Encoder {
    table: Table,
    /// To be told at the start of the next block: the smallest size since the last one, and the one that holds.
    resize: Option<(usize, usize)>,
    /// By the hash of name and value, the number of an entry.
    fields: Box<[Place; PLACES]>,
    /// By the hash of the name, the number of the last entry with it.
    names: Box<[Place; PLACES]>,
    /// Hashes of fields that came once.
    once: Box<[u32; PLACES]>,
    /// The name at hand, in lower case.
    name: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    hash: u32,
    number: u32,
}

impl Encoder {
    /// At a connection's start.
    pub fn new() -> Self {
        Self {
            table: Table::new(HEADER_TABLE_BYTES),
            resize: None,
            fields: Box::new([Place::default(); PLACES]),
            names: Box::new([Place::default(); PLACES]),
            once: Box::new([0; PLACES]),
            name: Vec::new(),
        }
    }

    /// The other end's table has room for `size` bytes; ours never has more than by default.
    pub fn resize(&mut self, size: usize) {
        let size = size.min(HEADER_TABLE_BYTES);
        let smallest = self.resize.map_or(self.table.size_max(), |(smallest, _)| smallest).min(size);
        self.resize = Some((smallest, size));
    }

    /// Begins a block.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        let Some((smallest, size)) = self.resize.take() else { return };
        if smallest < size {
            integer::encode(out, 0x20, 5, smallest);
            self.table.set_size_max(smallest);
        }
        integer::encode(out, 0x20, 5, size);
        self.table.set_size_max(size);
    }

    /// Writes `:status`, which has three digits.
    pub fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        match STATUSES.iter().find(|(known, _)| *known == status) {
            Some((_, index)) => out.push(0x80 | index),
            None => {
                let digit = |power: u16| b'0' + (status / power % 10) as u8;
                out.extend_from_slice(&[STATUSES[0].1, 3, digit(100), digit(10), digit(1)]);
            }
        }
    }

    /// Writes a field whose name is a token, in any case, and whose value fits.
    pub fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.name.clear();
        self.name.extend_from_slice(name);
        self.name.make_ascii_lowercase();
        let name_hash = hash(&self.name, 0);
        let field_hash = hash(value, name_hash);
        if let Some(back) = self.field_back(field_hash, value) {
            return integer::encode(out, 0x80, 7, STATIC_COUNT + 1 + back);
        }
        let (first, prefix) = match self.is_to_be_kept(field_hash, value) {
            true => (0x40, 6),
            false if self.name == SECRET => (0x10, 4),
            false => (0x00, 4),
        };
        let index = static_index(&self.name).or_else(|| self.name_index(name_hash));
        integer::encode(out, first, prefix, index.unwrap_or(0));
        if index.is_none() {
            text(&self.name, out);
        }
        text(value, out);
        if prefix == 6 {
            self.table.add(&self.name, value, Kind::Other, true);
            let number = self.table.added();
            self.fields[place(field_hash)] = Place { hash: field_hash, number };
            self.names[place(name_hash)] = Place { hash: name_hash, number };
        }
    }

    /// Where the very field stands in the table.
    fn field_back(&self, hash: u32, value: &[u8]) -> Option<usize> {
        let Place { hash: known, number } = self.fields[place(hash)];
        let back = self.table.back(number).filter(|_| known == hash)?;
        let held = self.table.get(back)?;
        (held.value == value && held.name == self.name).then_some(back)
    }

    /// The index of an entry with this name.
    fn name_index(&self, hash: u32) -> Option<usize> {
        let Place { hash: known, number } = self.names[place(hash)];
        let back = self.table.back(number).filter(|_| known == hash)?;
        (self.table.get(back)?.name == self.name).then_some(STATIC_COUNT + 1 + back)
    }

    /// Whether the field came before and is worth its place.
    fn is_to_be_kept(&mut self, hash: u32, value: &[u8]) -> bool {
        let came = std::mem::replace(&mut self.once[place(hash)], hash) == hash;
        let fits = self.name.len() + value.len() <= self.table.size_max() / ENTRY_SHARE;
        came && fits && self.name != SECRET
    }
}

fn text(text: &[u8], out: &mut Vec<u8>) {
    integer::encode(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

fn place(hash: u32) -> usize {
    hash as usize % PLACES
}

/// Good enough for texts: a collision costs a few bytes.
fn hash(text: &[u8], seed: u32) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = (u64::from(seed) ^ text.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    // What is behind the last word, with some of that word, where there is one.
    let rest = match text.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    hash = (hash.rotate_left(5) ^ rest).wrapping_mul(FACTOR);
    (hash >> 32) as u32
}

/// The index of a name of answers in the static table.
fn static_index(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"accept-ranges" => 18,
        b"access-control-allow-origin" => 20,
        b"age" => 21,
        b"allow" => 22,
        b"cache-control" => 24,
        b"content-disposition" => 25,
        b"content-encoding" => 26,
        b"content-language" => 27,
        b"content-length" => 28,
        b"content-location" => 29,
        b"content-range" => 30,
        b"content-type" => 31,
        b"date" => 33,
        b"etag" => 34,
        b"expires" => 36,
        b"last-modified" => 44,
        b"link" => 45,
        b"location" => 46,
        b"refresh" => 52,
        b"retry-after" => 53,
        b"server" => 54,
        b"set-cookie" => 55,
        b"strict-transport-security" => 56,
        b"vary" => 59,
        b"via" => 60,
        b"www-authenticate" => 61,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Decoder;
    use super::super::statics::STATIC;
    use super::{Encoder, static_index};

    type List = Vec<(String, String)>;

    fn block(encoder: &mut Encoder, list: &List) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        list.iter().for_each(|(name, value)| encoder.field(name.as_bytes(), value.as_bytes(), &mut out));
        out
    }

    fn list(decoder: &mut Decoder, block: &[u8]) -> List {
        let mut list = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let decoded = decoder.decode(block, |field| {
            list.push((text(field.name), text(field.value)));
            true
        });
        assert_eq!(decoded, Ok(()));
        list
    }

    fn field(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn what_repeats_becomes_one_byte_and_nothing_else_is_kept() {
        let mut encoder = Encoder::new();
        let server = || field("server", "nginx");
        let one = |id: usize| vec![field("X-Request-Id", &format!("{id:036}")), server(), field("set-cookie", "a=1")];
        let lengths: Vec<_> = (0..4).map(|id| block(&mut encoder, &one(id)).len()).collect();
        // The name of the id and its value; `nginx`, which is known from the third time on; the cookie.
        let (id, cookie) = (1 + 13 + 37, 2 + 4);
        assert_eq!(lengths, [id + 8 + cookie, id + 7 + cookie, id + 1 + cookie, id + 1 + cookie]);
    }

    #[test]
    fn known_names_have_the_index_of_the_table() {
        for (at, known) in STATIC.iter().enumerate() {
            assert!(static_index(known.name).is_none_or(|index| STATIC[index - 1].name == known.name), "{at}");
        }
        assert_eq!(STATIC.iter().filter(|known| static_index(known.name).is_some()).count(), 26);
    }

    #[test]
    fn statuses_are_written() {
        for (status, bytes) in [(200, &[0x88][..]), (500, &[0x8e]), (431, &[0x08, 3, b'4', b'3', b'1'])] {
            let mut out = Vec::new();
            Encoder::new().status(status, &mut out);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn a_smaller_table_is_told_and_kept() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let fields = vec![field("x-a", "1"), field("x-b", "2")];
        for _ in 0..3 {
            assert_eq!(list(&mut decoder, &block(&mut encoder, &fields)), fields);
        }
        encoder.resize(0);
        encoder.resize(1 << 20);
        let told = block(&mut encoder, &fields);
        assert_eq!(told[..4], [0x20, 0x3f, 0xe1, 0x1f], "nothing, then what it is by default");
        assert_eq!(list(&mut decoder, &told), fields);
        encoder.resize(40);
        for _ in 0..3 {
            assert_eq!(list(&mut decoder, &block(&mut encoder, &fields)), fields);
        }
    }

    proptest! {
        #[test]
        fn fields_come_back_in_lower_case(
            blocks in proptest::collection::vec(
                (proptest::collection::vec(("[a-cA-C]{1,3}|server|Set-Cookie|accept|x-[a-z]{60}", "[a-c]{0,2}|[ -~]{0,200}"), 0..20),
                 proptest::option::weighted(0.1, 0usize..5000)),
                0..20,
            ),
        ) {
            let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
            for (fields, size) in blocks {
                size.into_iter().for_each(|size| encoder.resize(size));
                let lower: List = fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
                prop_assert_eq!(list(&mut decoder, &block(&mut encoder, &fields)), lower);
            }
        }
    }
}
