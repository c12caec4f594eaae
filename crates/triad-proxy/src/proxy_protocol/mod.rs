//! The PROXY protocol (HAProxy's proxy-protocol.txt of 2020/03/05), versions 1 and 2, without I/O: a connection begins
//! with a header that says whom it is for.
//!
//! Invariants: what follows a header is not looked at; the outcome is the same wherever the bytes are cut; what does not
//! match the specification to the byte is refused.

pub mod v1;
pub mod v2;

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of the longest header that is read.
pub const HEADER_BYTES_MAX: usize = v2::FIXED_BYTES + v2::BLOCK_BYTES_MAX;

/// The two ends of the connection that a forwarder speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// Where the client connected to.
    pub destination: SocketAddr,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// `None`: the sender speaks for itself, or of ends that have no place here; those of its own connection count.
    pub ends: Option<Ends>,
    /// Its length in bytes.
    pub length: usize,
}

/// What is wrong with bytes that are no header, as a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

/// The header at the start of `bytes`; `None` while some of it is missing.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, Refusal> {
    if may_begin(bytes, v2::SIGNATURE) {
        v2::read(bytes)
    } else if may_begin(bytes, v1::SIGNATURE) {
        v1::read(bytes)
    } else {
        Err(Refusal("no PROXY header"))
    }
}

/// Whether `bytes` begin with `signature`, as far as they are there.
fn may_begin(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(have, want)| have == want)
}

/// Both ends in one family, as every header has them.
enum OneFamily {
    V4(SocketAddrV4, SocketAddrV4),
    V6(SocketAddrV6, SocketAddrV6),
}

impl Ends {
    /// IPv4 if both are, else IPv6, an IPv4 address mapped into it.
    fn one_family(&self) -> OneFamily {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        match (canonical(self.source), canonical(self.destination)) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => OneFamily::V4(source, destination),
            (source, destination) => OneFamily::V6(mapped(source), mapped(destination)),
        }
    }
}

fn mapped(end: SocketAddr) -> SocketAddrV6 {
    let address = match end.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    SocketAddrV6::new(address, end.port(), 0, 0)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::{Ends, Header, Refusal, read, v1, v2};

    fn canonical(ends: Ends) -> [SocketAddr; 2] {
        [ends.source, ends.destination].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()))
    }

    /// What comes of `bytes` as a receiver sees them that always gets `step` more.
    fn arriving(bytes: &[u8], step: usize) -> Result<Option<Header>, Refusal> {
        let lengths = (0..bytes.len()).step_by(step).chain([bytes.len()]);
        lengths.map(|length| read(&bytes[..length])).find(|read| *read != Ok(None)).unwrap_or(Ok(None))
    }

    #[test]
    fn what_is_no_header_is_known_by_its_first_bytes() {
        let cases =
            [&b"GET / HTTP/1.1\r\n"[..], b"PRI", b"PROXY\r\n", b"proxy ", b"\x16\x03\x01", b"\r\n\r\nG", b" PROXY"];
        for bytes in cases {
            assert_eq!(read(bytes), Err(Refusal("no PROXY header")), "{bytes:?}");
        }
        for bytes in [&b""[..], b"P", b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"] {
            assert_eq!(read(bytes), Ok(None), "{bytes:?}");
        }
    }

    fn ends() -> impl Strategy<Value = Ends> {
        any::<(SocketAddr, SocketAddr)>().prop_map(|(source, destination)| Ends { source, destination })
    }

    /// A header, or something like one: written by us, with bytes changed and bytes behind it.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let written = (prop::option::of(ends()), any::<bool>(), prop::collection::vec(any::<u8>(), 0..300));
        let changes = prop::collection::vec((0usize..60, any::<u8>()), 0..3);
        (written, changes).prop_map(|((ends, text, behind), changes)| {
            let mut bytes = Vec::new();
            if text {
                v1::write(&mut bytes, ends.as_ref())
            } else {
                v2::write(&mut bytes, ends.as_ref())
            }
            bytes.extend(behind);
            changes.into_iter().for_each(|(at, byte)| _ = bytes.get_mut(at).map(|place| *place = byte));
            bytes
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_it_was(ends in prop::option::of(ends()), behind in any::<Vec<u8>>()) {
            for write in [v1::write, v2::write] {
                let mut bytes = Vec::new();
                write(&mut bytes, ends.as_ref());
                let length = bytes.len();
                bytes.extend(&behind);
                let header = read(&bytes).expect("a header").expect("whole");
                prop_assert_eq!(header.length, length);
                prop_assert_eq!(header.ends.map(canonical), ends.map(canonical));
            }
        }

        #[test]
        fn wherever_bytes_are_cut_the_outcome_is_the_same(bytes in nearly(), step in 1usize..40) {
            let whole = read(&bytes);
            prop_assert_eq!(arriving(&bytes, step), whole);
            if let Ok(Some(header)) = whole {
                prop_assert!(header.length <= bytes.len());
                prop_assert_eq!(read(&bytes[..header.length]), whole, "what follows is not looked at");
                prop_assert_eq!(read(&bytes[..header.length - 1]), Ok(None));
            }
        }

        #[test]
        fn arbitrary_bytes_have_an_outcome(bytes in any::<Vec<u8>>(), signature in 0usize..3) {
            let bytes = [[&b""[..], v1::SIGNATURE, v2::SIGNATURE][signature], &bytes].concat();
            prop_assert_eq!(arriving(&bytes, 1), read(&bytes));
        }
    }
}
