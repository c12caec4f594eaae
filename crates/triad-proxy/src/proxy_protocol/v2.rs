//! Version 2: a fixed part, then a block of addresses and TLVs.

use std::net::{IpAddr, SocketAddr};

use super::{Ends, Header, OneFamily, Refusal};

/// How every header of this version begins: what no HTTP and no TLS begins with.
pub const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before the block.
pub const FIXED_BYTES: usize = 16;
/// Bytes of the longest block that is read: addresses, and TLVs with room for a client's certificate.
pub const BLOCK_BYTES_MAX: usize = 4096;

/// Version 2 and the command LOCAL, or PROXY.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Family and transport of TCP.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// Bytes of two addresses and ports.
const BLOCK4_BYTES: u16 = 12;
const BLOCK6_BYTES: u16 = 36;
/// Bytes of two paths of UNIX sockets.
const BLOCK_UNIX_BYTES: usize = 216;
/// The type of the TLV with a checksum.
const CRC32C: u8 = 0x03;

/// What a block holds.
#[derive(Clone, Copy)]
enum Block {
    /// Nothing that counts.
    Ignored,
    Tcp4,
    Tcp6,
    /// Addresses of other kinds, in so many bytes, then TLVs.
    Other(usize),
}

/// The header at the start of `bytes`, which begin like one; `None` while some of it is missing.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, Refusal> {
    let Some([.., command, family, high, low]) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let kind = block(*command, *family)?;
    let block_bytes = usize::from(u16::from_be_bytes([*high, *low]));
    if block_bytes > BLOCK_BYTES_MAX {
        return Err(Refusal("a block that is too long"));
    }
    let length = FIXED_BYTES + block_bytes;
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    Ok(Some(Header { ends: ends(kind, header)?, length }))
}

fn block(command: u8, family: u8) -> Result<Block, Refusal> {
    match command {
        // Whatever else it says.
        LOCAL => return Ok(Block::Ignored),
        PROXY => {}
        _ => return Err(Refusal("a version other than 2, or an unknown command")),
    }
    match (family >> 4, family & 0xf) {
        _ if family == TCP4 => Ok(Block::Tcp4),
        _ if family == TCP6 => Ok(Block::Tcp6),
        // Unspecified, so that nobody can say where the addresses end.
        (0, 0..=2) | (1..=3, 0) => Ok(Block::Ignored),
        (1, 2) => Ok(Block::Other(BLOCK4_BYTES.into())),
        (2, 2) => Ok(Block::Other(BLOCK6_BYTES.into())),
        (3, 1 | 2) => Ok(Block::Other(BLOCK_UNIX_BYTES)),
        _ => Err(Refusal("an unknown family or transport")),
    }
}

fn ends(kind: Block, header: &[u8]) -> Result<Option<Ends>, Refusal> {
    let block = &header[FIXED_BYTES..];
    let (ends, tlvs) = match kind {
        Block::Ignored => return Ok(None),
        Block::Tcp4 => split::<4>(block).map(|(ends, tlvs)| (Some(ends), tlvs)),
        Block::Tcp6 => split::<16>(block).map(|(ends, tlvs)| (Some(ends), tlvs)),
        Block::Other(bytes) => block.get(bytes..).map(|tlvs| (None, tlvs)),
    }
    .ok_or(Refusal("a block that is too short"))?;
    check(header, header.len() - tlvs.len())?;
    Ok(ends)
}

/// Ends with addresses of `N` bytes, and what follows them.
fn split<const N: usize>(block: &[u8]) -> Option<(Ends, &[u8])>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let ([a, b, c, d], rest) = rest.split_first_chunk::<4>()?;
    let source = SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes([*a, *b]));
    let destination = SocketAddr::new(IpAddr::from(*destination), u16::from_be_bytes([*c, *d]));
    Some((Ends { source, destination }, rest))
}

/// Reads over the TLVs of `header`, which begin at `at`. If one is a checksum, it must be right.
fn check(header: &[u8], mut at: usize) -> Result<(), Refusal> {
    let mut checksum = None;
    while at < header.len() {
        let [kind, high, low, value @ ..] = &header[at..] else { return Err(Refusal("a TLV that is cut")) };
        let bytes = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(value) = value.get(..bytes) else { return Err(Refusal("a TLV that is cut")) };
        if *kind == CRC32C && checksum.replace((at + 3, value)).is_some() {
            return Err(Refusal("two checksums"));
        }
        at += 3 + bytes;
    }
    let Some((at, told)) = checksum else { return Ok(()) };
    let Ok(told) = <[u8; 4]>::try_from(told) else { return Err(Refusal("a checksum of another size")) };
    let computed = crc32c([&header[..at], &[0; 4], &header[at + 4..]].into_iter().flatten());
    if computed == u32::from_be_bytes(told) { Ok(()) } else { Err(Refusal("a wrong checksum")) }
}

/// CRC-32C (RFC 4960 appendix B), bit by bit: at most one header a connection.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let shift = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
    !bytes.fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shift))
}

/// Appends the header of a connection between `ends`; without them, one that speaks of nobody.
pub fn write(out: &mut Vec<u8>, ends: Option<&Ends>) {
    out.extend_from_slice(SIGNATURE);
    let (source_port, destination_port) = match ends.map(Ends::one_family) {
        None => return out.extend_from_slice(&[LOCAL, 0, 0, 0]),
        Some(OneFamily::V4(source, destination)) => {
            write_fixed(out, TCP4, BLOCK4_BYTES);
            out.extend_from_slice(&[source.ip().octets(), destination.ip().octets()].concat());
            (source.port(), destination.port())
        }
        Some(OneFamily::V6(source, destination)) => {
            write_fixed(out, TCP6, BLOCK6_BYTES);
            out.extend_from_slice(&[source.ip().octets(), destination.ip().octets()].concat());
            (source.port(), destination.port())
        }
    };
    out.extend_from_slice(&source_port.to_be_bytes());
    out.extend_from_slice(&destination_port.to_be_bytes());
}

fn write_fixed(out: &mut Vec<u8>, family: u8, block_bytes: u16) {
    out.extend_from_slice(&[PROXY, family]);
    out.extend_from_slice(&block_bytes.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES_MAX, Ends, FIXED_BYTES, SIGNATURE, crc32c, write};
    use crate::proxy_protocol::{HEADER_BYTES_MAX, Header, Refusal, read};

    /// From 203.0.113.9, port 51442, to 203.0.113.80, port 443.
    const BLOCK: [u8; 12] = [203, 0, 113, 9, 203, 0, 113, 80, 0xc8, 0xf2, 0x01, 0xbb];

    fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[command, family], &length, block].concat()
    }

    fn ends(source: &str, destination: &str) -> Option<Ends> {
        let parse = |text: &str| text.parse().expect("an address");
        Some(Ends { source: parse(source), destination: parse(destination) })
    }

    fn whole(ends: Option<Ends>, bytes: &[u8]) -> Result<Option<Header>, Refusal> {
        Ok(Some(Header { ends, length: bytes.len() }))
    }

    #[test]
    fn addresses_of_tcp_are_taken() {
        let told = ends("203.0.113.9:51442", "203.0.113.80:443");
        let plain = header(0x21, 0x11, &BLOCK);
        assert_eq!(read(&plain), whole(told, &plain));
        let long = header(0x21, 0x11, &[&BLOCK[..], &[4, 0, 1, 9, 0xe0, 0, 0]].concat());
        assert_eq!(read(&long), whole(told, &long));
        let mut block = [0; 36];
        (block[0], block[15], block[31], block[33], block[35]) = (0x20, 7, 1, 1, 2);
        let six = header(0x21, 0x21, &block);
        assert_eq!(read(&six), whole(ends("[2000::7]:1", "[::1]:2"), &six));
    }

    #[test]
    fn what_speaks_of_nobody_is_read_over() {
        let unix = [0; 216];
        let cases: [(u8, u8, &[u8]); 10] = [
            (0x20, 0x00, b""),
            (0x20, 0x11, &BLOCK),
            (0x20, 0xff, b"anything"),
            (0x21, 0x00, b""),
            (0x21, 0x00, b"anything"),
            (0x21, 0x10, &BLOCK),
            (0x21, 0x12, &BLOCK),
            (0x21, 0x22, &unix[..36]),
            (0x21, 0x31, &unix),
            (0x21, 0x32, &unix),
        ];
        for (command, family, block) in cases {
            let bytes = header(command, family, block);
            assert_eq!(read(&bytes), whole(None, &bytes), "{command:x} {family:x}");
        }
    }

    #[test]
    fn what_the_specification_does_not_know_is_refused() {
        let with = |tlvs: &[u8]| [&BLOCK[..], tlvs].concat();
        let (unknown, family) = ("a version other than 2, or an unknown command", "an unknown family or transport");
        let (short, cut) = ("a block that is too short", "a TLV that is cut");
        let cases: [(u8, u8, Vec<u8>, &str); 15] = [
            (0x22, 0x11, BLOCK.to_vec(), unknown),
            (0x11, 0x11, BLOCK.to_vec(), unknown),
            (0x31, 0x11, BLOCK.to_vec(), unknown),
            (0x21, 0x13, BLOCK.to_vec(), family),
            (0x21, 0x03, BLOCK.to_vec(), family),
            (0x21, 0x41, BLOCK.to_vec(), family),
            (0x21, 0x11, BLOCK[..11].to_vec(), short),
            (0x21, 0x12, BLOCK[..11].to_vec(), short),
            (0x21, 0x21, vec![0; 35], short),
            (0x21, 0x31, vec![0; 215], short),
            (0x21, 0x11, with(&[4]), cut),
            (0x21, 0x11, with(&[4, 0, 2, 9]), cut),
            (0x21, 0x11, with(&[3, 0, 3, 9, 9, 9]), "a checksum of another size"),
            (0x21, 0x11, with(&[3, 0, 0, 3, 0, 0]), "two checksums"),
            (0x21, 0x11, vec![0; BLOCK_BYTES_MAX + 1], "a block that is too long"),
        ];
        for (command, family, block, why) in cases {
            assert_eq!(read(&header(command, family, &block)), Err(Refusal(why)), "{command:x} {family:x}: {why}");
        }
    }

    /// The checksum was computed by another program.
    #[test]
    fn a_checksum_must_be_right() {
        let block = [&BLOCK[..], &[4, 0, 3, 0, 0, 0, 3, 0, 4, 0x2b, 0xe7, 0x11, 0xc9]].concat();
        let good = header(0x21, 0x11, &block);
        assert_eq!(read(&good), whole(ends("203.0.113.9:51442", "203.0.113.80:443"), &good));
        let (addresses, padding) = (FIXED_BYTES..28, 31..34);
        for at in addresses.chain(padding).chain(good.len() - 4..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(read(&bad), Err(Refusal("a wrong checksum")), "byte {at}");
        }
    }

    /// The examples of RFC 3720 section B.4, and the check value of the algorithm's catalogue entry.
    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(crc32c([0; 32].iter()), 0x8a91_36aa);
        assert_eq!(crc32c([0xff; 32].iter()), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283);
    }

    #[test]
    fn a_header_is_bounded() {
        let mut longest = header(0x21, 0x11, &[&BLOCK[..], &[4, 0x0f, 0xf1], &[0; 0x0ff1]].concat());
        assert_eq!(longest.len(), HEADER_BYTES_MAX);
        assert!(matches!(read(&longest), Ok(Some(_))));
        assert_eq!(read(&longest[..HEADER_BYTES_MAX - 1]), Ok(None));
        longest[15] = 1;
        assert_eq!(read(&longest[..16]), Err(Refusal("a block that is too long")), "as soon as it is known");
    }

    #[test]
    fn what_is_written() {
        let written = |ends: Option<Ends>| {
            let mut out = Vec::new();
            write(&mut out, ends.as_ref());
            out
        };
        assert_eq!(written(ends("203.0.113.9:51442", "203.0.113.80:443")), header(0x21, 0x11, &BLOCK));
        assert_eq!(written(None), header(0x20, 0x00, b""));
        let mut block = [0; 36];
        (block[0], block[15], block[35]) = (0x20, 7, 2);
        block[26..32].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
        assert_eq!(written(ends("[2000::7]:0", "127.0.0.1:2")), header(0x21, 0x21, &block));
    }
}
